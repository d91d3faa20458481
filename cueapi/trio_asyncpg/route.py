"""The ways to a PostgreSQL server: TCP or a Unix socket, with TLS or without, as libpq's sslmode means it."""

import socket
import ssl
import struct
import sys
from typing import TypeAlias

import trio
from asyncpg.connect_utils import SSLMode, SSLNegotiation, _ConnectionParameters
from attrs import evolve, frozen

SSL_REQUEST = struct.pack("!ll", 8, 80877103)

if sys.platform == "darwin":
    KEEP_IDLE = socket.TCP_KEEPALIVE
else:
    KEEP_IDLE = socket.TCP_KEEPIDLE

# A dead server is noticed within 20 s, also while no query is under way.
KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, KEEP_IDLE, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    # Milliseconds; while something sent is unanswered Linux sends no keep-alives.
    *([(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000)] if sys.platform == "linux" else []),
)

Address: TypeAlias = str | tuple[str, int]
Encrypted: TypeAlias = trio.SSLStream[trio.SocketStream]
Stream: TypeAlias = trio.SocketStream | Encrypted


class TlsFailed(ConnectionError):
    """The server has no TLS, or the handshake with it failed."""


@frozen
class Route:
    """One way to a server: where it is, the name in its certificate, and whether TLS is spoken."""

    address: Address
    name: str
    tls: ssl.SSLContext | None = None
    at_once: bool = False  # TLS from the first byte on, without asking for it

    def pinned_to(self, peer: trio.socket.SocketType) -> "Route":
        """The same way to the very server that *peer* reached: a name may have many addresses."""
        if isinstance(self.address, str):
            return self
        host, port = peer.getpeername()[:2]
        return evolve(self, address=(host, port))

    async def dial(self) -> Stream:
        """Open a stream to the server."""
        if isinstance(self.address, str):
            return await trio.open_unix_socket(self.address)
        try:
            stream = await trio.open_tcp_stream(*self.address)
        except RuntimeError as error:  # the system gives no thread for the look-up of the name
            raise ConnectionError(f"{self.name} cannot be looked up: {error}") from error
        try:
            for option in KEEP_ALIVE:
                stream.socket.setsockopt(*option)
            if self.tls is None:
                return stream
            return await self._encrypt(stream, self.tls)
        except BaseException:
            stream.socket.close()
            raise

    async def _encrypt(self, stream: trio.SocketStream, tls: ssl.SSLContext) -> Encrypted:
        if not self.at_once:
            await self._ask_for_tls(stream)
        encrypted = trio.SSLStream(stream, tls, server_hostname=self.name, https_compatible=True)
        try:
            await encrypted.do_handshake()
        except trio.BrokenResourceError as error:
            raise TlsFailed(f"no TLS with {self.address}: {error.__cause__ or error}") from error
        return encrypted

    async def _ask_for_tls(self, stream: trio.SocketStream) -> None:
        try:
            await stream.send_all(SSL_REQUEST)
            # One byte and no more: what was slipped in behind it must reach the handshake, and spoil it.
            answer = await stream.receive_some(1)
        except trio.BrokenResourceError as error:
            raise ConnectionError(f"{self.address} hung up when asked for TLS") from error
        if answer == b"N":
            raise TlsFailed(f"the server at {self.address} has no TLS")
        if answer != b"S":  # an error, too: what is said before TLS is not to be trusted
            raise ConnectionError(f"{self.address} did not answer whether it has TLS")


def routes(address: Address, parameters: _ConnectionParameters) -> list[Route]:
    """The ways to *address* that its sslmode allows, the preferred one first."""
    if isinstance(address, str):
        return [Route(address, address)]
    plain = Route(address, address[0])
    if not parameters.ssl:
        return [plain]
    at_once = parameters.ssl_negotiation is SSLNegotiation.direct
    encrypted = evolve(plain, tls=parameters.ssl, at_once=at_once)
    match parameters.sslmode:
        case SSLMode.allow:
            return [plain, encrypted]
        case SSLMode.prefer:
            return [encrypted, plain]
        case _:
            return [encrypted]


def socket_of(stream: Stream) -> trio.socket.SocketType:
    """The socket at the bottom of *stream*."""
    return (stream.transport_stream if isinstance(stream, trio.SSLStream) else stream).socket
