"""
One request in Quart. Quart's own class for it is replaced: it would answer while the client still sends.

Hooks, contexts and sessions are Quart's own (no session is kept, since no secret key is set): each costs a few
hundredths of a request, so they are not overridden.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias, cast

import trio
from quart import Request
from quart.routing import QuartRule
from quart.utils import encode_headers
from quart.wrappers.response import DataBody
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers import TrioRequest
from werkzeug.routing import IntegerConverter, PathConverter

from cueapi.api.http.incoming import TAKING_BODIES, IncomingBody

Foreign: TypeAlias = Any
"""What Quart hands through and we do not look at."""

LINGER, LINGER_BYTES = 2.0, 8 * 1024 * 1024
"""
Seconds and bytes for which an answer waits for the rest of a body that is not read: many clients read no answer before
they have sent everything, and fail with a broken connection if it is closed earlier.
"""

PART = 256 * 1024
"""Bytes of a long answer that go out at once."""

BODIES = "bodies"
"""The extension of the app that is the budget of all bodies."""


ROOT = "root"
"""The extension of the app that is the path of BASE_URL, without a slash at its end; empty where it has none."""


def below(root: str, scope: Foreign) -> Foreign:
    """*scope* with its path as it is below *root*: a proxy may have taken the root away, or not."""
    if root and (scope["path"] == root or scope["path"].startswith(f"{root}/")):
        return {**scope, "path": scope["path"][len(root) :] or "/"}
    return scope


class MatchingRule(QuartRule):
    """
    A rule by which paths are matched and from which none is built.

    Compiling what would build them is most of the time that making the app takes: 6 ms for its routes in place of 73.
    """

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        return _build_nothing


def _build_nothing(*_: object) -> tuple[str, str]:
    raise LookupError("no URL is built from a route")


class AsciiInteger(IntegerConverter):
    """A whole number in a path, in ASCII digits: Python would read those of every script."""

    regex = "[0-9]+"


class Rest(PathConverter):
    """All that follows in a path. Werkzeug's own begins with no slash, as the names of workers may."""

    regex, part_isolating = ".+?", False


class IncomingRequest(TrioRequest):
    """Quart's request with a body of ours, which Quart makes with MAX_CONTENT_LENGTH: the most that any route takes."""

    body_class = IncomingBody  # type: ignore[assignment] # Quart's own reads a body in other ways, too; we do not


class OneRequest(TrioASGIHTTPConnection):
    """
    One request. Its answer waits for the end of the body, within limits.

    What that buys is behaviour: a client that is refused in the middle of its body can read the refusal, a body is
    kept within its bounds only, and a client that hangs up before it is answered ends its request.

    A whole answer leaves as one message here and in one write of the server's. That buys speed: measured without both,
    10 % fewer answers a second on a trivial route, 22 % fewer of GET /v1/cues/{id}, on a busy machine.
    """

    answered = False

    def __init__(self, app: Foreign, scope: Foreign) -> None:
        super().__init__(app, below(app.extensions[ROOT], scope))
        self.received = trio.Event()
        """The whole body has come, or more than is waited for."""

    def _create_request_from_scope(self, send: Foreign) -> Request:
        """A request whose body is counted; where nothing reads it, it is not held either."""
        request = super()._create_request_from_scope(send)
        body = cast(IncomingBody, request.body)
        body.budget = self.app.extensions[BODIES]
        if request.method not in TAKING_BODIES:
            body.drop()
        return request

    async def handle_messages(self, nursery: trio.Nursery, request: Request, receive: Foreign) -> None:  # type: ignore[override] # as QuartTrio's own, which adds the nursery
        """Receive the body; a client that hangs up before it is answered ends the request."""
        body = cast(IncomingBody, request.body)
        while (message := await receive())["type"] == "http.request":
            body.add(message["body"])
            if not message["more_body"]:
                body.complete()
            if body.whole or body.arrived > LINGER_BYTES:
                self.received.set()
        # Hypercorn also reports a hang-up once it has our answer and is about to close: if we were cancelled then, it
        # would never do so, and the connection would stay open.
        if not self.answered:
            nursery.cancel_scope.cancel(reason="the client hung up")

    async def handle_request(self, nursery: trio.Nursery, request: Request, send: Foreign) -> None:  # type: ignore[override] # likewise
        """Answer, as soon as the body has come; the server bounds how long a client may take to read the answer."""
        try:
            response = await self.app.handle_request(request)
        finally:
            cast(IncomingBody, request.body).drop()
        # Checked first: a wait costs a checkpoint even where it is over.
        if not self.received.is_set():
            with trio.move_on_after(LINGER):
                await self.received.wait()
        # A stream is answered when it has ended: until then a client that hangs up ends it.
        self.answered = not isinstance(response.response, AsyncIterator)
        await self._send_response(send, response)
        nursery.cancel_scope.cancel(reason="answered")

    async def _send_response(self, send: Callable[[Foreign], Awaitable[None]], response: Foreign) -> None:
        """
        Send the body of an answer and its end as one message, where Quart sends two; a stream part by part.

        So is a long body: each layer on its way copies what it is given, at once.
        """
        body = response.response
        start = {"type": "http.response.start", "status": response.status_code}
        if isinstance(body, DataBody) and body.begin == 0 and body.end == len(body.data):
            await send(start | {"headers": encode_headers(response.headers)})
            last = max(len(body.data) - 1, 0) // PART * PART
            for begin in range(0, last, PART):
                await send({"type": "http.response.body", "body": body.data[begin : begin + PART], "more_body": True})
            await send({"type": "http.response.body", "body": body.data[last:], "more_body": False})
        elif isinstance(body, AsyncIterator):
            await send(start | {"headers": encode_headers(response.headers)})
            # The server waits for a client that reads slowly, so that one part is held and not all.
            async with response.response as parts:
                async for part in parts:
                    await send({"type": "http.response.body", "body": part, "more_body": True})
            self.answered = True
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await super()._send_response(send, response)
