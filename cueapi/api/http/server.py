"""Hypercorn on a socket that was bound at the start. Each override says which behaviour or speed it buys."""

import json
import logging
import socket
from contextlib import suppress
from functools import partial
from typing import cast
from uuid import uuid4

import h11
import structlog
import trio
from attrs import frozen
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import TrioSingleTask, WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState, LifespanState
from quart_trio import QuartTrio

from cueapi.api.http.app import SECURITY
from cueapi.api.http.connections import Connections
from cueapi.api.http.idle_timer import FIRST_BYTE_WITHIN, GRACE, KEPT_ALIVE, IdleTimer
from cueapi.api.http.listening import Acceptor
from cueapi.api.http.strict_http import StrictConnection
from cueapi.net.shortage import Shortages

MALFORMED = {
    400: ("bad_request", "Malformed HTTP request."),
    431: ("bad_request", "The headers of the request are too large."),
    501: ("bad_request", "Unknown transfer coding."),
}
"""Answers to malformed requests, by the status that h11 proposes."""

SLICE, TAKEN_WITHIN = 256 * 1024, 20.0
"""Bytes of an answer, and the seconds within which a client must read them."""

log = structlog.get_logger("cueapi.api")


@frozen
class Server:
    """The API as a sibling, which `hypercorn.trio.serve` is not. Ends when cancelled, after the requests under way."""

    app: QuartTrio
    socket: socket.socket
    connections: Connections
    shortages: Shortages

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve."""
        context = WorkerContext(None)
        async with trio.open_nursery() as nursery:
            scope = await nursery.start(self._serve, context, name="api: serve")
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                await context.terminated.set()
                scope.deadline = trio.current_time() + GRACE

    async def _serve(self, context: WorkerContext, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        # Shielded, with the deadline that `run` sets: a stop lets answers finish that are being sent.
        with trio.CancelScope(shield=True) as scope:
            # A copy: closing a listener closes its socket, and after a restart the sibling needs it again.
            async with trio.SocketListener(trio.socket.from_stdlib_socket(self.socket.dup())) as listener:
                async with trio.open_nursery() as connections, trio.open_nursery() as accepting:
                    talk = partial(_talk, ASGIWrapper(self.app), _config(), context, self.connections)
                    acceptor = Acceptor(self.connections, self.shortages, talk)
                    accepting.start_soon(acceptor.run, listener, connections, name="api: accept")
                    task_status.started(scope)
                    await context.terminated.wait()
                    accepting.cancel_scope.cancel(reason="the server ends")


async def _talk(
    app: AppWrapper, config: Config, context: WorkerContext, connections: Connections, stream: trio.SocketStream
) -> None:
    """Serve one connection until it ends or fails."""
    try:
        handler = ConnectionHandler(app, config, context, ConnectionState(LifespanState()), stream)
        handler.idle.mark = partial(connections.mark, stream)
        await handler.run()
    except* Exception as group:
        # Whatever a client's bytes do to the protocol ends this connection, and must not reach another one.
        log.warning("connection_failed", error=", ".join(type(error).__name__ for error in group.exceptions))


class PlainHttp(H11Protocol):
    """HTTP/1.1 and nothing else. What it overrides is for behaviour only; each says which."""

    async def _check_protocol(self, _request: h11.Request) -> None:
        """Ignore a request for HTTP/2, which Hypercorn's own would switch to."""

    async def _create_stream(self, request: h11.Request) -> None:
        """Ignore a request for a WebSocket."""
        kept = [(name, value) for name, value in request.headers if name != b"upgrade"]
        if len(kept) < len(request.headers):
            request = h11.Request(method=request.method, target=request.target, headers=kept)
        await super()._create_stream(request)

    async def _send_error_response(self, status_code: int) -> None:
        """Answer in the contract's form; Hypercorn's own has no body and no headers of ours."""
        code, message = MALFORMED.get(status_code, MALFORMED[400])
        error = {"code": code, "message": message, "status": status_code}
        body = json.dumps({"error": error, "detail": {"error": error}}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            (b"x-request-id", uuid4().hex.encode()),
            *((name.lower().encode(), value.encode()) for name, value in SECURITY.items()),
        ]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())


class ConnectionHandler(TCPServer):
    """
    One connection.

    Overridden for behaviour: it speaks only HTTP/1.1, gives up a client that sends nothing or does not read its
    answers, and its idle timer ends with it. For speed, too: head and body of an answer leave in one write (see
    OneRequest for the gain).
    """

    def __init__(
        self, app: AppWrapper, config: Config, context: WorkerContext, state: ConnectionState, stream: trio.SocketStream
    ) -> None:
        # The casts: Hypercorn's annotations name its own classes; without TLS it accepts a plain stream, too.
        super().__init__(app, config, context, state, cast(trio.SSLStream[trio.SocketStream], stream))
        self.idle = IdleTimer(context, self._initiate_server_close, FIRST_BYTE_WITHIN)
        self.idle_task = cast(TrioSingleTask, self.idle)
        self._head = b""

    async def run(self) -> None:
        """Serve requests until either side ends the connection."""
        try:
            async with TaskGroup() as self._task_group:
                self.protocol = cast(ProtocolWrapper, self._make_protocol())
                await self.idle.restart(self._task_group, None)
                await self._read_data()
        except* OSError:
            pass  # The client is gone.
        finally:
            await self._close()

    def _make_protocol(self) -> PlainHttp:
        ours = cast(trio.SocketStream, self.stream).socket
        protocol = PlainHttp(
            self.app,
            self.config,
            self.context,
            self._task_group,
            ConnectionState(LifespanState()),
            ssl=False,
            client=ours.getpeername()[:2],
            server=ours.getsockname()[:2],
            send=self.protocol_send,
        )
        protocol.connection = StrictConnection(
            h11.SERVER, max_incomplete_event_size=self.config.h11_max_incomplete_size
        )
        return protocol

    async def protocol_send(self, event: Event) -> None:
        """Send what the protocol says; the head of an answer waits for what always follows it."""
        if not isinstance(event, RawData):
            await super().protocol_send(event)
        elif not self._head and event.data.startswith(b"HTTP/1.1 ") and not event.data.startswith(b"HTTP/1.1 1"):
            self._head = event.data
        elif data := self._head + event.data:
            self._head = b""
            if not await self._write(data):
                await self.protocol.handle(Closed())

    async def _write(self, data: bytes) -> bool:
        """Send while the client reads. Hypercorn waits for one that does not, and a drain would wait with it."""
        try:
            async with self.send_lock:
                for begin in range(0, len(data), SLICE):
                    with trio.fail_after(TAKEN_WITHIN):
                        await self.stream.send_all(data[begin : begin + SLICE])
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            self._hang_up()
            return False
        except BaseException:
            self._hang_up()  # An unknown part of it was sent.
            raise
        return True

    def _hang_up(self) -> None:
        cast(trio.SocketStream, self.stream).socket.close()

    async def _read_data(self) -> None:
        """End the timer with the connection; Hypercorn's own would wait for its time, and hold the socket."""
        with suppress(trio.ClosedResourceError):
            await trio.lowlevel.wait_readable(cast(trio.SocketStream, self.stream).socket)
        self.idle.patience = KEPT_ALIVE
        await super()._read_data()
        self.idle.end()


def _config() -> Config:
    config = Config()
    config.include_server_header = False
    config.keep_alive_max_requests = 1_000_000
    config.max_app_queue_size = 10
    config.errorlog = logging.getLogger("hypercorn.error")
    config.accesslog = None
    return config
