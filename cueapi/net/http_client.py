"""HTTP/1.1 on one connection to one checked address. Knows h11 and TLS, knows nothing of deliveries."""

import errno
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress

import h11
import httpx
import trio
from attrs import define, field, frozen

from cueapi.domain.attempt import ANSWER_LIMIT, Answered
from cueapi.domain.target import Target

READ_SIZE = 16 * 1024
HEAD_LIMIT = 64 * 1024
WIRE_LIMIT = ANSWER_LIMIT + 4 * HEAD_LIMIT
"""Bytes read for one answer whatever they are: interim answers and padded chunks are not endless."""

CONNECT_PATIENCE = 3.0
"""Seconds for an address that does not answer, where there is another one."""

REUSED_FOR = 60.0
IDLE_LIMIT = 128


class WireFailed(Exception):
    """The other side could not be talked to; the message is a sentence."""


class NeverAnswered(WireFailed):
    """The connection ended before the first byte of an answer."""


class _NotConnected(WireFailed):
    """An address refused, or is not there; another one may do."""


@frozen
class Request:
    """What goes over the wire, but for Host and Content-Length."""

    method: str
    headers: Sequence[tuple[str, str]]
    body: bytes


def tls_context() -> ssl.SSLContext:
    """Trusts the system's authorities and certifi's: slim images have none. 30 ms to make, so one for all."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    context.set_alpn_protocols(["http/1.1"])
    return context


async def connect(target: Target, addresses: Sequence[str], tls: ssl.SSLContext) -> "HttpConnection":
    """Connect to the first of the checked *addresses* that takes us; TLS is spoken with the name."""
    for address in addresses[:-1]:
        with trio.move_on_after(CONNECT_PATIENCE):
            try:
                return await _open(target, address, tls)
            except _NotConnected:
                continue
    return await _open(target, addresses[-1], tls)


@define(eq=False)
class HttpConnection:
    """One request at a time; `close` is to be called wherever one did not end well."""

    target: Target
    address: str
    stream: trio.abc.Stream
    socket: trio.socket.SocketType
    opened_at: float = field(factory=trio.current_time)
    _http: h11.Connection = field(factory=lambda: h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT))
    _received: int = 0
    _head_came: bool = False
    _ended: bool = False

    async def exchange(self, request: Request, path: str, sent: Callable[[], None]) -> Answered:
        """Send *request* and read its answer, as much as is kept; *sent* is called before the first byte."""
        self._received, self._head_came = 0, False
        try:
            wire = self._encode(request, path)
        except (h11.LocalProtocolError, UnicodeEncodeError) as error:
            raise WireFailed(f"the request cannot be written: {error}") from error
        sent()
        # It may have answered before it closed.
        with suppress(trio.BrokenResourceError):
            await self.stream.send_all(wire)
        try:
            return await self._answer()
        except h11.RemoteProtocolError as error:
            raise WireFailed(self._what_was_wrong()) from error

    def is_fresh(self, reused_for: float) -> bool:
        """May another request go out here? Bytes that nobody asked for are the end of the stream."""
        return trio.current_time() - self.opened_at < reused_for and not self.socket.is_readable()

    def rest(self) -> bool:
        """Get ready for another request; False where the protocol does not allow one."""
        http = self._http
        if http.our_state is not h11.DONE or http.their_state is not h11.DONE or http.trailing_data[0]:
            return False
        http.start_next_cycle()
        return True

    def close(self) -> None:
        self.socket.close()

    def _encode(self, request: Request, path: str) -> bytes:
        headers = [(b"Host", self.target.authority.encode("ascii"))]
        headers += [(name.encode("ascii"), value.encode("latin-1")) for name, value in request.headers]
        if request.method != "GET":
            headers.append((b"Content-Length", b"%d" % len(request.body)))
        head = h11.Request(method=request.method, target=path, headers=headers)
        parts = (head, h11.Data(request.body), h11.EndOfMessage()) if request.body else (head, h11.EndOfMessage())
        return b"".join(self._http.send(part) or b"" for part in parts)

    async def _answer(self) -> Answered:
        head = await self._next_event()
        while isinstance(head, h11.InformationalResponse):
            head = await self._next_event()
        if not isinstance(head, h11.Response):
            raise WireFailed(self._what_was_wrong())
        self._head_came = True
        retry_after = next((value for name, value in head.headers if name == b"retry-after"), None)
        body, cut = await self._body()
        return Answered(head.status_code, body, cut, None if retry_after is None else retry_after.decode("latin-1"))

    async def _body(self) -> tuple[bytes, bool]:
        body = bytearray()
        while isinstance(event := await self._next_event(), h11.Data):
            body += event.data
            if len(body) > ANSWER_LIMIT:
                return bytes(body[:ANSWER_LIMIT]), True
        return bytes(body), False

    async def _next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._receive())
        return event

    async def _receive(self) -> bytes:
        try:
            data = bytes(await self.stream.receive_some(READ_SIZE))
        except trio.BrokenResourceError as error:
            if self._received:
                raise WireFailed(self._broke_off()) from error
            data = b""
        if not data and not self._received:
            raise NeverAnswered(f"{_who(self.target)} closed the connection without an answer")
        self._received += len(data)
        self._ended = not data
        if self._received > WIRE_LIMIT:
            raise WireFailed(f"invalid HTTP answer from {_who(self.target)}: no end of headers")
        return data

    def _what_was_wrong(self) -> str:
        if self._head_came and self._ended:
            return self._broke_off()
        return f"invalid HTTP answer from {_who(self.target)}"

    def _broke_off(self) -> str:
        return f"the answer of {_who(self.target)} broke off"


@define(eq=False)
class IdleConnections:
    """Connections between two requests; each serves the same origin at the same checked address only."""

    reused_for: float = REUSED_FOR
    limit: int = IDLE_LIMIT
    _kept: dict[tuple[str, str, int, str], list[HttpConnection]] = field(factory=dict, init=False)
    _count: int = field(default=0, init=False)
    _swept_at: float = field(default=0.0, init=False)

    def take(self, target: Target, address: str) -> HttpConnection | None:
        """The youngest that still lives."""
        kept = self._kept.get((target.scheme, target.host, target.port, address))
        while kept:
            connection = kept.pop()
            self._count -= 1
            if connection.is_fresh(self.reused_for):
                return connection
            connection.close()
        return None

    def put(self, connection: HttpConnection) -> None:
        """Keep *connection* if it may be used again and there is room, else close it."""
        if trio.current_time() - self._swept_at > self.reused_for / 6:
            self._sweep()
        if self._count >= self.limit or not connection.rest():
            connection.close()
            return
        target = connection.target
        key = (target.scheme, target.host, target.port, connection.address)
        self._kept.setdefault(key, []).append(connection)
        self._count += 1

    def close(self) -> None:
        for connections in self._kept.values():
            for connection in connections:
                connection.close()
        self._kept.clear()
        self._count = 0

    def _sweep(self) -> None:
        """Close what nobody will use; addresses change, so an origin may never come back."""
        self._swept_at = trio.current_time()
        before, self._kept, self._count = self._kept, {}, 0
        for key, connections in before.items():
            fresh = [connection for connection in connections if connection.is_fresh(self.reused_for)]
            for connection in connections:
                if connection not in fresh:
                    connection.close()
            if fresh:
                self._kept[key] = fresh
                self._count += len(fresh)


async def _open(target: Target, address: str, tls: ssl.SSLContext) -> HttpConnection:
    family, where = (
        (socket.AF_INET6, (address, target.port, 0, 0)) if ":" in address else (socket.AF_INET, (address, target.port))
    )
    plug: trio.socket.SocketType | None = None
    try:
        plug = trio.socket.socket(family, socket.SOCK_STREAM)
        await plug.connect(where)
        stream: trio.abc.Stream = trio.SocketStream(plug)
        if target.scheme == "https":
            stream = await _secure(stream, target, tls)
    except BaseException as error:
        if plug is not None:
            plug.close()
        if isinstance(error, OSError):
            raise _NotConnected(_why_not_connected(error, target)) from error
        raise
    return HttpConnection(target, address, stream, plug)


async def _secure(stream: trio.abc.Stream, target: Target, tls: ssl.SSLContext) -> trio.abc.Stream:
    secured = trio.SSLStream(stream, tls, server_hostname=target.host, https_compatible=True)
    try:
        await secured.do_handshake()
    except trio.BrokenResourceError as error:
        match error.__cause__:
            case ssl.SSLCertVerificationError() as cause:
                reason = f"the certificate of {_who(target)} is not valid: {cause.verify_message}"
            case ssl.SSLError(reason=str(detail)) as cause if not isinstance(cause, ssl.SSLEOFError):
                reason = f"no TLS with {_who(target)}: {detail.replace('_', ' ').lower()}"
            case _:
                reason = f"{_who(target)} closed the connection during the TLS handshake"
        raise WireFailed(reason) from error
    return secured


def _why_not_connected(error: OSError, target: Target) -> str:
    if error.errno == errno.ECONNREFUSED:
        return f"connection refused by {_who(target)}"
    return f"no connection to {_who(target)}: {os.strerror(error.errno or 0).lower()}"


def _who(target: Target) -> str:
    return f"{target.host} port {target.port}"
