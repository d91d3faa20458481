"""HTTP/1.1 on one connection to one checked address. Knows TLS; what goes wrong is an exception of httpx."""

import errno
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import httpx
import trio
from attrs import define, field

from cueapi.domain.attempt import ANSWER_LIMIT
from cueapi.domain.target import Target
from cueapi.net.http_wire import Answer, AnswerReader, NotReadable
from cueapi.net.shortage import is_own_shortage
from cueapi.net.streams import DirectStream

READ_SIZE = 16 * 1024
HEAD_LIMIT = 64 * 1024
WIRE_LIMIT = ANSWER_LIMIT + 4 * HEAD_LIMIT
"""Bytes read for one answer whatever they are: interim answers and padded chunks are not endless."""

SENT_AT_ONCE = 16 * 1024
"""
Bytes that the buffers of a socket take in any case. What is longer is sent while the answer is awaited, and its
connection is not used again: it is not known whether a server that answered early reads the rest of it.
"""

LAST_READ = 0.1
"""Seconds, beyond the deadline, in which what has arrived by then is read."""

CONNECT_TIMEOUT = 3.0
"""Seconds for an address that does not answer, where there is another one."""


class NeverAnswered(httpx.RemoteProtocolError):
    """The connection ended before the first byte of an answer."""


class _NotConnected(httpx.ConnectError):
    """This address refused, or cannot be reached; the next one may do."""


async def connect(target: Target, addresses: Sequence[str], tls: ssl.SSLContext) -> "HttpConnection":
    """Connect to the first of the checked *addresses* that accepts; TLS is spoken with the name."""
    for address in addresses[:-1]:
        with trio.move_on_after(CONNECT_TIMEOUT):
            try:
                return await _open(target, address, tls)
            except _NotConnected as failure:
                if is_own_shortage(failure):
                    raise
    return await _open(target, addresses[-1], tls)


def note_nothing() -> None:
    """Default of `on_answer`: do nothing."""


@define(eq=False)
class HttpConnection:
    """One request at a time; `close` is to be called wherever one did not end well."""

    target: Target
    address: str
    stream: DirectStream | trio.SSLStream[trio.SocketStream]
    socket: trio.socket.SocketType
    opened_at: float = field(factory=trio.current_time)
    _reader: AnswerReader = field(factory=lambda: AnswerReader(ANSWER_LIMIT))
    _received: int = 0
    _on_answer: Callable[[], None] = note_nothing
    _reusable: bool = True
    _last_read: float | None = None

    async def exchange(
        self, wire: bytes, on_send: Callable[[], Awaitable[None]], on_answer: Callable[[], None], *, head_only: bool
    ) -> Answer:
        """
        Send a request as it is written, and read its answer.

        *on_send* is awaited before the first byte, *on_answer* called when the first one has come back.
        """
        self._received, self._reader = 0, AnswerReader(ANSWER_LIMIT, head_only=head_only)
        self._on_answer = on_answer
        await on_send()
        self._reusable = len(wire) <= SENT_AT_ONCE
        if not self._reusable:
            return await self._answer_while_sending(wire)
        await self._send(wire)
        return await self._answer()

    async def _send(self, wire: bytes) -> None:
        # It may have answered before it closed.
        with suppress(trio.BrokenResourceError):
            await self.stream.send_all(wire)

    async def _answer_while_sending(self, wire: bytes) -> Answer:
        """Servers may answer as soon as they have read the head, and never read the rest."""
        outcome: Answer | httpx.TransportError
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, wire, name="http: send a large body")
            try:
                outcome = await self._answer()
            except httpx.TransportError as error:
                outcome = error
            # Shielded: the answer may have been read after the deadline, and stands.
            nursery.cancel_scope.shield = True
            nursery.cancel_scope.cancel(reason="answered")
        if isinstance(outcome, httpx.TransportError):
            raise outcome
        return outcome

    def is_fresh(self, reused_for: float) -> bool:
        """May another request go out here? Bytes that arrive unasked end the use of a connection."""
        return trio.current_time() - self.opened_at < reused_for and not self.socket.is_readable()

    def may_go_on(self) -> bool:
        """Whether another request may follow the one that was answered."""
        return self._reusable and self._reader.may_go_on

    def close(self) -> None:
        self.socket.close()

    async def _answer(self) -> Answer:
        reader = self._reader
        while not reader.done:
            data = await self._receive()
            try:
                reader.feed(data) if data else reader.end()
            except NotReadable as error:
                raise httpx.RemoteProtocolError(self._invalid()) from error
            if not data and not reader.complete:
                raise httpx.RemoteProtocolError(self._broke_off() if reader.head_came else self._invalid())
        return reader.answer

    async def _receive(self) -> bytes:
        try:
            data = await self._read_some()
        except trio.BrokenResourceError as error:
            if self._received or is_own_shortage(error):
                raise httpx.ReadError(self._broke_off()) from error
            data = b""
        if not self._received:
            if not data:
                raise NeverAnswered(f"{_who(self.target)} closed the connection without an answer")
            self._on_answer()
        self._received += len(data)
        if self._received > (WIRE_LIMIT if self._reader.head_came else HEAD_LIMIT):
            raise httpx.RemoteProtocolError(f"{self._invalid()}: no end of headers")
        return data

    async def _read_some(self) -> bytes:
        """Read on; after the deadline what came before it: a process that was stopped finds both at the same moment."""
        try:
            return bytes(await self.stream.receive_some(READ_SIZE))
        except trio.Cancelled:
            if self._last_read is None:
                self._last_read = trio.current_time() + LAST_READ
            with trio.CancelScope(deadline=self._last_read, shield=True):
                return bytes(await self.stream.receive_some(READ_SIZE))
            raise

    def _invalid(self) -> str:
        return f"invalid HTTP answer from {_who(self.target)}"

    def _broke_off(self) -> str:
        return f"the answer of {_who(self.target)} broke off"


async def _open(target: Target, address: str, tls: ssl.SSLContext) -> HttpConnection:
    family, where = (
        (socket.AF_INET6, (address, target.port, 0, 0)) if ":" in address else (socket.AF_INET, (address, target.port))
    )
    opened: trio.socket.SocketType | None = None
    try:
        plain = socket.socket(family, socket.SOCK_STREAM)
        opened = trio.socket.from_stdlib_socket(plain)
        await opened.connect(where)
        secured = await _secure(trio.SocketStream(opened), target, tls) if target.scheme == "https" else None
    except BaseException as error:
        if opened is not None:
            opened.close()
        if isinstance(error, OSError):
            raise _NotConnected(_why_not_connected(error, target)) from error
        raise
    return HttpConnection(target, address, secured or DirectStream(plain), opened)


async def _secure(stream: trio.SocketStream, target: Target, tls: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream]:
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
        raise httpx.ConnectError(reason) from error
    return secured


def _why_not_connected(error: OSError, target: Target) -> str:
    if error.errno == errno.ECONNREFUSED:
        return f"connection refused by {_who(target)}"
    return f"no connection to {_who(target)}: {os.strerror(error.errno or 0).lower()}"


def _who(target: Target) -> str:
    return f"{target.host} port {target.port}"
