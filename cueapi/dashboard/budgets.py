"""Budgets: how much of each is used, and the form that sets one."""

from typing import Any
from urllib.parse import quote

from attrs import frozen
from quart import Blueprint, Response

from cueapi.dashboard.contract import Contract, ContractAnswer, cue_path
from cueapi.dashboard.forms import Form
from cueapi.dashboard.rendering import Rendering
from cueapi.dashboard.sent_requests import contract_command
from cueapi.dashboard.sessions import BrowserSession, BrowserSessions
from cueapi.domain.ids import is_cue_id
from cueapi.storage.dashboard import budgets
from cueapi.storage.dashboard.budgets import BUDGETS, ShownBudget
from cueapi.storage.dashboard.reading import PageReader

PATH = "/ui/account/budgets"

FIELDS = ("scope", "per", "max_runs", "max_cost", "on_limit", "warn_at")

EMPTY = {"scope": "account", "per": "day", "max_runs": "", "max_cost": "", "on_limit": "skip", "warn_at": "0.8"}
"""The form of a new budget."""

NUMBERS = {"max_runs": int, "max_cost": float, "warn_at": float}

FAILURES = {401, 429, 503}
"""Statuses that are no matter of what was typed."""


@frozen
class BudgetsPage:
    """`/ui/account/budgets`."""

    pages: Rendering
    sessions: BrowserSessions
    contract: Contract
    reader: PageReader

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("budgets", __name__, url_prefix="/account/budgets")
        routes.get("")(self.show)
        routes.post("")(self.set)
        routes.post("/delete")(self.delete)
        return routes

    async def show(self) -> Response:
        """The page."""
        return await self._page(await self.sessions.require(), 200, EMPTY, {})

    async def set(self) -> Response:
        """Set a budget; what is refused stands beside its field, and what was typed is kept."""
        session, form = await self.sessions.require_post()
        typed = {name: form.text(name) for name in FIELDS}
        body, problems = _body(typed)
        if problems:
            return await self._page(session, 422, typed, problems)
        done = await self._set(session, typed["scope"], body)
        if done.status in FAILURES:
            done.require()
        if not done.ok:
            problems = {name.rpartition(".")[2]: text for name, text in done.fields.items()}
            return await self._page(session, done.status, typed, problems or {"scope": done.message})
        return self.pages.back(PATH, f"Set the budget of {typed['scope']}.")

    async def _set(self, session: BrowserSession, scope: str, body: dict[str, Any]) -> ContractAnswer:
        if is_cue_id(scope.removeprefix("cue:")):
            path = cue_path(scope.removeprefix("cue:"))
            return await self.contract.call(session, "PATCH", path, {"budget": body})
        given = {name: value for name, value in body.items() if value is not None}
        return await self.contract.call(session, "PUT", f"/v1/budgets/{quote(scope, safe=':')}", given)

    async def delete(self) -> Response:
        """Delete a budget."""
        session, form = await self.sessions.require_post()
        scope = form.text("scope")
        (await self._delete(session, form)).require()
        return self.pages.back(PATH, f"Deleted the budget of {scope}.")

    async def _delete(self, session: BrowserSession, form: Form) -> ContractAnswer:
        scope = form.text("scope")
        if scope.startswith("cue:"):
            path = cue_path(scope.removeprefix("cue:"))
            return await self.contract.call(session, "PATCH", path, {"budget": None})
        return await self.contract.call(session, "DELETE", f"/v1/budgets/{quote(scope, safe=':')}")

    async def _page(
        self, session: BrowserSession, status: int, typed: dict[str, str], problems: dict[str, str]
    ) -> Response:
        found = await budgets.read(self.reader, session.user)
        command = contract_command(
            self.sessions.base_url, "PUT", "/v1/budgets/account", {"per": "day", "max_runs": 100}
        )
        return self.pages.render(
            "budgets", session, status, budgets=found[:BUDGETS], has_more=len(found) > BUDGETS, typed=typed,
            problems=problems, part=used_part, command=command,
        )  # fmt: skip


def used_part(budget: ShownBudget) -> float:
    """How much of a budget is used, by the limit that is nearer; 1: all of it."""
    parts = [
        used / most
        for used, most in (
            (budget.budget_used_runs, budget.budget_max_runs),
            (budget.budget_used_cost, budget.budget_max_cost),
        )
        if most
    ]
    return min(max(parts, default=0.0), 1.0)


def _body(typed: dict[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The body of the contract, and by field what is no number."""
    body: dict[str, Any] = {"per": typed["per"], "on_limit": typed["on_limit"]}
    problems = {}
    for name, kind in NUMBERS.items():
        try:
            body[name] = kind(typed[name]) if typed[name] else None
        except ValueError:
            problems[name] = "must be a whole number" if kind is int else "must be a number"
    if body.get("warn_at") is None:
        body.pop("warn_at", None)
    return body, problems
