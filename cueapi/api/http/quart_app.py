"""
Quart without what no request of ours needs; measured, each of these was paid for by every answer.

No hooks of blueprints (the gate is asked directly), no cookie sessions, no teardown functions, and an answer that is
there as a whole goes out as a whole.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeAlias

import trio
from quart import Quart, Request, Response
from quart.ctx import RequestContext
from quart.sessions import NullSession, SecureCookieSessionInterface
from quart.wrappers.base import BaseRequestWebsocket
from quart.wrappers.response import DataBody
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection

Foreign: TypeAlias = Any
"""What Quart hands through and we do not look at."""


class RequestHooks(Protocol):
    """What every request passes, on its way in and out."""

    async def enter(self, request: Request) -> Response | None:
        """An answer ends the request before its handler."""
        ...

    async def leave(self, request: Request, response: Response) -> Response:
        """The answer as it goes out."""
        ...


class NoSessions(SecureCookieSessionInterface):
    """No cookie is ever read or set."""

    async def open_session(self, _app: Quart, _request: BaseRequestWebsocket) -> NullSession:
        """One for all: nothing can be written to it."""
        return _NO_SESSION


_NO_SESSION = NullSession()


LINGER, LINGER_BYTES = 2.0, 8 * 1024 * 1024
"""
Seconds and bytes for which an answer waits for the rest of a body that nobody reads: many clients read no answer before
they have said all, and find the connection broken if it is closed under them.
"""


class OneRequest(TrioASGIHTTPConnection):
    """
    One request. Sends an answer's body and its end as one message, and the headers that are always the same.

    A client that still sends while it is answered is heard out: else its connection would be closed under it.
    """

    app: "SlimQuart"
    answered = False

    def __init__(self, app: Foreign, scope: Foreign) -> None:
        super().__init__(app, scope)
        self.heard = trio.Event()
        """The client has said all, or more than anybody listens to."""

    async def handle_messages(self, nursery: trio.Nursery, request: Request, receive: Foreign) -> None:  # type: ignore[override] # as QuartTrio's own, which adds the nursery
        """Take the body in; a client that hangs up before it is answered ends the request."""
        size = 0
        while (message := await receive())["type"] == "http.request":
            # What is too large is not kept.
            request.body.append(message["body"])
            size += len(message["body"])
            if not message["more_body"]:
                request.body.set_complete()
            if not message["more_body"] or size > LINGER_BYTES:
                self.heard.set()
        # Hypercorn also says so when it has our answer and is about to close: cut off then, it would never do it, and
        # the connection would stay open and deaf.
        if not self.answered:
            nursery.cancel_scope.cancel(reason="the client hung up")

    async def handle_request(self, nursery: trio.Nursery, request: Request, send: Foreign) -> None:  # type: ignore[override] # likewise
        """Answer, as soon as the client has said all."""
        response = await self.app.handle_request(request)
        # Asked first, since even a wait that is over costs a turn.
        if not self.heard.is_set():
            with trio.move_on_after(LINGER):
                await self.heard.wait()
        self.answered = True
        await self._send_response(send, response)
        nursery.cancel_scope.cancel(reason="answered")

    async def _send_response(self, send: Callable[[Foreign], Awaitable[None]], response: Foreign) -> None:
        body = response.response
        if not (isinstance(body, DataBody) and body.begin == 0 and body.end == len(body.data)):
            response.headers.extend([(name.decode(), value.decode()) for name, value in self.app.always])
            await super()._send_response(send, response)
            return
        headers = [(name.lower().encode(), value.encode()) for name, value in response.headers]
        if response.status_code == 204:  # RFC 9110, 8.6: of no content, no length
            headers = [(name, value) for name, value in headers if name not in {b"content-length", b"content-type"}]
        headers += self.app.always
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": body.data, "more_body": False})


class SlimQuart(QuartTrio):
    """An app that asks its *gate* before and after each request."""

    asgi_http_class = OneRequest
    session_interface = NoSessions()
    gate: RequestHooks
    always: Sequence[tuple[bytes, bytes]] = ()

    async def preprocess_request(self, context: RequestContext | None = None) -> Response | None:
        """What the gate says to the request."""
        assert context is not None
        return await self.gate.enter(context.request)

    async def process_response(self, response: Foreign, context: RequestContext | None = None) -> Response:
        """What the gate makes of the answer."""
        assert context is not None
        return await self.gate.leave(context.request, response)

    async def do_teardown_request(self, _error: BaseException | None, _context: RequestContext | None = None) -> None:
        """Nothing is left behind by a request."""

    async def do_teardown_appcontext(self, _error: BaseException | None) -> None:
        """Nor by its context."""
