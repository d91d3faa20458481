"""Budgets of groups and of the account: set, list, delete."""

from attrs import frozen
from quart import Blueprint, Response, g

from cueapi.api.http.acting import REASON, act, act_of_body
from cueapi.api.http.body import read
from cueapi.api.http.operations import operation
from cueapi.api.http.parameters import Text, page_limit
from cueapi.api.models.rendering import answer
from cueapi.api.models.requests.bodies import ReasonBody
from cueapi.api.models.requests.budgets import ScopeBudgetBody
from cueapi.api.models.responses import budgets as responses
from cueapi.domain.budget import SCOPE, merged_budget
from cueapi.domain.errors import Invalid, Problem, Refusal
from cueapi.storage import budgets
from cueapi.storage.database import Database
from cueapi.wakeups.hub import WakeupHub

LIMIT = page_limit(50)
CURSOR = Text("cursor", "`next_cursor` of the page before: where the list goes on.")


@frozen
class Budgets:
    """`/v1/budgets`."""

    database: Database
    hub: WakeupHub

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("budgets", __name__, url_prefix="/v1/budgets")
        routes.get("")(self.list)
        routes.get("/<scope>")(self.show)
        routes.put("/<scope>")(self.set)
        routes.delete("/<scope>")(self.delete)
        return routes

    @operation(
        responses.BudgetList, parameters=(LIMIT, CURSOR), refuses=("invalid_filter",), scope="read", in_groups=True
    )
    async def list(self) -> Response:
        """List the budgets of the account and of its groups, with what is used of them."""
        limit, after = LIMIT.read(), CURSOR.read()
        if after is not None and not SCOPE.fullmatch(after):
            raise Refusal("invalid_filter", "The cursor is damaged; begin at the first page.")
        rows = await budgets.listed(self.database, user=g.account.id, after=after, limit=limit + 1, scopes=_scopes())
        shown, has_more = rows[:limit], len(rows) > limit
        next_cursor = shown[-1].scope if has_more else None
        return answer({"budgets": [*map(_shown, shown)], "has_more": has_more, "next_cursor": next_cursor})

    @operation(responses.ScopeBudget, refuses=("budget_not_found",), scope="read", in_groups=True)
    async def show(self, scope: str) -> Response:
        """Show a budget, and what is used of it."""
        row = await budgets.show(self.database, user=g.account.id, scope=scope) if _is_known(scope) else None
        if row is None:
            raise _not_found()
        return answer(_shown(row))

    @operation(responses.ScopeBudget, scope="write", in_groups=True, body=ScopeBudgetBody, parameters=(REASON,))
    async def set(self, scope: str) -> Response:
        """
        Set the budget of the account or of a group.

        Executions count from then on; what an earlier budget of the scope has counted in its period stays. At a limit
        times are `missed`, until the next period begins (UTC).
        """
        if not SCOPE.fullmatch(scope):
            raise Invalid(Problem("path.scope", "must be account, or group: and the name of a group"))
        g.account.grant.check_named(_group_of(scope), "the group of a budget")
        body = await read(ScopeBudgetBody)
        given = {name: value for name, value in body.given().items() if value is not None}
        why = act(given.pop("reason", None))
        budget = merged_budget({}, given, path="body")
        assert budget is not None
        row = await budgets.put(self.database, user=g.account.id, scope=scope, budget=budget, act=why)
        self.hub.notice_ready(row.alerts)  # With lower limits more of them may be used up.
        return answer(_shown(row))

    @operation(
        None,
        scope="write",
        in_groups=True,
        status=204,
        body=ReasonBody,
        parameters=(REASON,),
        refuses=("budget_not_found",),
    )
    async def delete(self, scope: str) -> Response:
        """Delete a budget."""
        why, known = await act_of_body(), _is_known(scope)
        if not known or not await budgets.delete(self.database, user=g.account.id, scope=scope, act=why):
            raise _not_found()
        return Response(b"", 204)


def _scopes() -> list[str] | None:
    """The scopes that exist for the key that asks; None: all."""
    groups = g.account.grant.groups
    return None if groups is None else [f"group:{group}" for group in groups]


def _is_known(scope: str) -> bool:
    """Whether there may be a budget of that *scope*, for the key that asks."""
    return SCOPE.fullmatch(scope) is not None and bool(g.account.grant.knows(_group_of(scope)))


def _group_of(scope: str) -> str | None:
    """The group of a budget; None for the account's own, which a group may have as its name."""
    return None if scope == "account" else scope.removeprefix("group:")


def _shown(row: budgets.BudgetColumns) -> dict[str, object]:
    return responses.ScopeBudget.render(row)


def _not_found() -> Refusal:
    return Refusal("budget_not_found", "There is no budget of this scope: account, or group: and the name of a group.")
