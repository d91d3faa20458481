"""The contract of `/v1`, called in this process: a request is handed to the app without a socket."""

import json
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import unquote

import trio
from attrs import field, frozen
from quart import current_app, g, request

from cueapi.dashboard.sessions import BrowserSession, SignedOut
from cueapi.domain.errors import Refusal
from cueapi.domain.ids import is_cue_id
from cueapi.off_loop import off_loop

Message = dict[str, Any]

CONFIRMED = {"X-Confirm-Destructive": "true"}
"""A page has asked before what cannot be undone."""


ON_PAGES = {
    "account_held": "The account is held, so nothing was fired: release it first, above.",
    "idempotency_key_in_use": "What this form was sent for first is still being done: look again in a moment.",
    "idempotency_key_reused": "This form was sent before, with other values: load its page again.",
}
"""Refusals whose messages speak of what a program can send, as a page says them."""


def cue_path(cue_id: str) -> str:
    """The contract's path of a cue; refuses what is no id, since it could name another path, or have a query."""
    if not is_cue_id(cue_id):
        raise Refusal("cue_not_found", "There is no such cue.")
    return f"/v1/cues/{cue_id}"


class ContractRefused(Exception):
    """The contract has refused an action, for no field of its form: the failure is the page."""

    def __init__(self, answer: "ContractAnswer") -> None:
        super().__init__(answer.message)
        self.answer = answer


@frozen
class ContractAnswer:
    """What the contract answered: a status and a JSON object."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str] = field(factory=dict)

    @property
    def ok(self) -> bool:
        """Whether it was done."""
        return self.status < 400

    def require(self) -> None:
        """Raise ContractRefused where it was not done; SignedOut where the session has ended meanwhile."""
        if self.status == 401:
            raise SignedOut
        if not self.ok:
            raise ContractRefused(self)

    @property
    def code(self) -> str:
        """Why it was refused, for programs; empty where it was not."""
        return str(self.body.get("error", {}).get("code", ""))

    @property
    def message(self) -> str:
        """Why it was refused, for people at a page; empty where it was not."""
        return ON_PAGES.get(self.code) or str(self.body.get("error", {}).get("message", ""))

    @property
    def fields(self) -> dict[str, str]:
        """What is wrong with which field of the body (`callback.url`), where the refusal says so."""
        details = self.body.get("error", {}).get("details", [])
        found = [(str(one["field"]).removeprefix("body."), str(one["message"])) for one in details]
        return dict(reversed(found))


@frozen
class Contract:
    """
    Hands requests to the app that answers the present one.

    Who asks stands under *caller_key* in the ASGI scope, where no request of the network can write: neither a key nor
    a cookie is needed, and the limits of the account hold.
    """

    caller_key: str

    async def call(
        self,
        session: BrowserSession,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> ContractAnswer:
        """
        What `/v1` answers to the user of *session*. *path* begins with `/v1` and may have a query.

        It takes as long as the route does; a caller that must not wait bounds it.
        """
        content = b"" if body is None else (await off_loop(json.dumps, body, size=_arrived())).encode()
        exchange = _Exchange(content)
        scope = {**self._scope(method, path, content, headers or {}), self.caller_key: session}
        # A context of its own: what the call notes in `g` (its begin, its limit) is not the page's.
        app: Any = current_app
        async with app.app_context():
            await app.asgi_app(scope, exchange.receive, exchange.send)
        return await off_loop(exchange.answer, size=exchange.size)

    def _scope(self, method: str, path: str, content: bytes, headers: Mapping[str, str]) -> Message:
        plain, _, query = path.partition("?")
        named = {"content-type": "application/json", "content-length": str(len(content)), **headers}
        if (request_id := g.get("request_id")) is not None:
            # One action is one line of thought in the log: page and call share their id.
            named.setdefault("x-request-id", request_id)
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(plain),
            "raw_path": plain.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in named.items()],
            "client": (g.get("address", "unknown"), 0),
            "server": None,
            "extensions": {},
        }


def _arrived() -> int:
    """The bytes of the page's form: what it asks of the contract is not much longer."""
    return int(cast(Any, request.body).arrived)


@frozen
class _Exchange:
    """One request and its answer, as messages of ASGI."""

    content: bytes
    _sent: list[bool] = field(factory=list)
    _parts: list[Message] = field(factory=list)

    async def receive(self) -> Message:
        """The whole body at first; then nothing, since this client does not hang up."""
        if not self._sent:
            self._sent.append(True)
            return {"type": "http.request", "body": self.content, "more_body": False}
        await trio.sleep_forever()
        raise AssertionError("unreachable")

    async def send(self, message: Message) -> None:
        """Keep what is answered."""
        self._parts.append(message)

    @property
    def size(self) -> int:
        """The bytes of the answer's body."""
        return sum(len(part.get("body", b"")) for part in self._parts)

    def answer(self) -> ContractAnswer:
        """The answer, which is JSON as every one of the contract."""
        start = next(part for part in self._parts if part["type"] == "http.response.start")
        content = b"".join(part.get("body", b"") for part in self._parts if part["type"] == "http.response.body")
        headers = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        value = json.loads(content) if content else {}
        return ContractAnswer(start["status"], value if isinstance(value, dict) else {"items": value}, headers)
