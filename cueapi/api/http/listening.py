"""The socket that the API listens on, and what becomes of each new connection, also where something runs short."""

import json
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio
from attrs import define, field

from cueapi.api.http.app import SECURITY
from cueapi.api.http.connections import Connections
from cueapi.net.shortage import Shortages, shortage_in

SHORTAGE_PAUSE = 0.1
"""Seconds after which a connection is accepted that nothing was left for."""

REFUSED_WITHIN, REFUSED_AT_ONCE = 1.0, 32
"""Seconds that a refused client has to read why, and how many may: each has a descriptor. More are just closed."""


class CannotListen(Exception):
    """The address cannot be listened on; the message is one line."""


class NoSuchHost(CannotListen):
    """HOST is no address of this machine, and no later attempt will find it to be one."""


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens on *host* and *port*; port 0 takes a free one."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, proto)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(1024)
    except (OSError, UnicodeError) as error:
        # UnicodeError: of what is no host name, such as `a..b`.
        why = getattr(error, "strerror", None) or error
        hopeless = isinstance(error, socket.gaierror | UnicodeError) and error.args[0] != socket.EAI_AGAIN
        raise (NoSuchHost if hopeless else CannotListen)(
            f"Cannot listen on {host} port {port}: {why}. HOST and PORT choose another address."
        ) from error
    bound.setblocking(False)
    return bound


@define(eq=False)
class Acceptor:
    """Accepts connections within the bounds of *connections*, and has *talk* serve each. It never stops to accept."""

    connections: Connections
    shortages: Shortages
    talk: Callable[[trio.SocketStream], Awaitable[None]]
    _refusing: int = field(init=False, default=0)

    async def run(self, listener: trio.SocketListener, nursery: trio.Nursery) -> None:
        """Accept until cancelled; what is served outlives that in *nursery*."""
        while True:
            stream = await self._next(listener)
            if self._admits(stream):
                nursery.start_soon(self._serve, stream, name="api: connection")
            elif self._refusing < REFUSED_AT_ONCE:
                self._refusing += 1
                nursery.start_soon(self._refuse, stream, name="api: refuse")
            else:
                stream.socket.close()

    async def _next(self, listener: trio.SocketListener) -> trio.SocketStream:
        """The next connection. Without a descriptor for it the longest idle one is closed: nothing is left waiting."""
        while True:
            try:
                return await listener.accept()
            except OSError as error:
                if (reason := shortage_in(error)) is None:
                    raise
                self.shortages.note(reason)
                self.connections.make_room()
                await trio.sleep(SHORTAGE_PAUSE)

    def _admits(self, stream: trio.SocketStream) -> bool:
        try:
            return self.connections.admit(stream)
        except OSError:
            return False  # Its client is gone.

    async def _serve(self, stream: trio.SocketStream) -> None:
        try:
            await self.talk(stream)
        finally:
            self.connections.leave(stream)
            stream.socket.close()

    async def _refuse(self, stream: trio.SocketStream) -> None:
        """Say why. A client that is closed upon while it still sends would not read it."""
        try:
            with trio.move_on_after(REFUSED_WITHIN), suppress(trio.BrokenResourceError):
                await stream.send_all(REFUSAL)
                await stream.send_eof()
                while await stream.receive_some():
                    pass
        finally:
            self._refusing -= 1
            stream.socket.close()


def _refusal() -> bytes:
    error = {"code": "overloaded", "message": "Too many connections. Try again in a few seconds.", "status": 503}
    body = json.dumps({"error": error}).encode()
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
        "retry-after": "5",
        **SECURITY,
    }
    lines = "".join(f"{name.lower()}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 503 \r\n{lines}\r\n".encode() + body


REFUSAL = _refusal()
