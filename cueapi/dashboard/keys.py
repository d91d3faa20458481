"""Keys of the account: what each may do and when it was last used; make, rename, rotate and end them."""

from collections.abc import Mapping
from datetime import timedelta
from secrets import token_hex
from urllib.parse import quote

from attrs import frozen
from quart import Blueprint, Response

from cueapi.dashboard.contract import Contract, ContractAnswer
from cueapi.dashboard.forms import Form, once
from cueapi.dashboard.rendering import Rendering
from cueapi.dashboard.sessions import BrowserSession, BrowserSessions
from cueapi.domain.clock import iso
from cueapi.domain.errors import Invalid, Problem
from cueapi.domain.scope import SCOPES
from cueapi.storage import api_keys
from cueapi.storage.clock import Clock
from cueapi.storage.dashboard.reading import PageReader

PATH = "/ui/account/keys"

SCOPE_WORDS = {
    "read": "see cues, executions and alerts",
    "fire": "fire cues by hand and replay executions",
    "work": "claim executions and report their outcomes",
    "write": "create, change and delete cues, and verify outcomes",
    "admin": "keys, secrets, channels and the account",
}
"""What each scope allows, for people."""

DAYS = {"": "never", "7": "in 7 days", "30": "in 30 days", "90": "in 90 days", "365": "in a year"}
"""When a new key may end: days, and how that is said."""

OVERLAPS = {"0": "at once", "3600": "in an hour", "86400": "in a day", "604800": "in 7 days"}
"""When the former text of a rotated key may end: seconds, and how that is said."""

REPEATED = "The key was {} by the first click, which has shown its text. If you have not seen it: rotate the key."

WHOLE_PAGE = {401, 429, 503}
"""Refusals that are no fault of a form."""


@frozen
class KeysPage:
    """`/ui/account/keys`."""

    pages: Rendering
    sessions: BrowserSessions
    contract: Contract
    clock: Clock

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("keys", __name__, url_prefix="/account/keys")
        routes.get("")(self.show)
        routes.post("")(self.make)
        routes.post("/<key_id>/rename")(self.rename)
        routes.post("/<key_id>/rotate")(self.rotate)
        routes.post("/<key_id>/end")(self.end)
        return routes

    async def show(self) -> Response:
        """The page."""
        return await self._page(await self.sessions.require(), 200)

    async def make(self) -> Response:
        """A new key, shown once; what is refused stands beside its field."""
        session, form = await self.sessions.require_post()
        answer = await self.contract.call(session, "POST", "/v1/keys", self._body(form), once(form))
        if answer.ok:
            return self._made(session, answer, "made")
        if answer.status in WHOLE_PAGE:
            answer.require()
        problems = {name.partition(".")[0]: text for name, text in answer.fields.items()}
        return await self._page(session, answer.status, form, problems or {"name": answer.message})

    def _body(self, form: Form) -> dict[str, object]:
        typed = dict.fromkeys(form.all("scopes"))
        # In their order; the contract refuses one that there is not.
        scopes = sorted(typed, key=lambda scope: [*SCOPES, scope].index(scope))
        body: dict[str, object] = {"name": form.text("name"), "scopes": scopes}
        groups = [group for group in form.text("groups").replace(",", " ").split() if group]
        if groups:
            body["groups"] = groups
        if days := _one_of(form, "days", DAYS):
            body["expires_at"] = iso(self.clock.now() + timedelta(days=int(days)))
        return body

    async def rename(self, key_id: str) -> Response:
        """Another name."""
        session, form = await self.sessions.require_post()
        answer = await self.contract.call(session, "PATCH", _contract_path(key_id), {"name": form.text("name")})
        answer.require()
        return self.pages.back(PATH, f"The key is called {answer.body['name']} from now on.")

    async def rotate(self, key_id: str) -> Response:
        """Another text, shown once."""
        session, form = await self.sessions.require_post()
        body = {"overlap_seconds": int(_one_of(form, "overlap", OVERLAPS) or 0)}
        answer = await self.contract.call(session, "POST", f"{_contract_path(key_id)}/rotate", body, once(form))
        answer.require()
        return self._made(session, answer, "rotated")

    async def end(self, key_id: str) -> Response:
        """No program opens the account with it any more."""
        session, _ = await self.sessions.require_post()
        (await self.contract.call(session, "DELETE", _contract_path(key_id))).require()
        return self.pages.back(PATH, "The key has ended, on every daemon.")

    def _made(self, session: BrowserSession, answer: ContractAnswer, how: str) -> Response:
        if "api_key" not in answer.body:
            return self.pages.back(PATH, REPEATED.format(how))
        return self.pages.render("key_made", session, key=answer.body, how=how, path=PATH)

    async def _page(
        self,
        session: BrowserSession,
        status: int,
        typed: Form | None = None,
        problems: dict[str, str] | None = None,
    ) -> Response:
        keys = await api_keys.listed(PageReader(self.sessions.database), user=session.user)
        return self.pages.render(
            "keys", session, status, keys=keys, typed=typed or Form({}), problems=problems or {}, path=PATH,
            scopes=SCOPE_WORDS, days=DAYS, overlaps=OVERLAPS, most=api_keys.MOST, nonce=token_hex(16),
        )  # fmt: skip


def _one_of(form: Form, name: str, known: Mapping[str, str]) -> str:
    """What was chosen of *known*; empty where nothing was. Refuses anything else, so that no key lives too long."""
    chosen = form.text(name)
    if chosen and chosen not in known:
        raise Invalid(Problem(name, f"must be one of {', '.join(filter(None, known))}"))
    return chosen


def _contract_path(key_id: str) -> str:
    return f"/v1/keys/{quote(key_id, safe='')}"
