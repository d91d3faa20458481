"""One signed request. Every way the other side can fail is a value; knows nothing of the database."""

import ssl
import zlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Self

import httpx
import trio
from attrs import define, evolve, field, frozen

from cueapi.delivery.standstill import Standstills, stood_still
from cueapi.domain import signature
from cueapi.domain.attempt import ANSWER_LIMIT, Answered, Delivery, Interrupted, Postponed, Result, Unreachable
from cueapi.domain.errors import Refusal
from cueapi.domain.target import Rules
from cueapi.net.dns import Resolver
from cueapi.net.http_client import IdleConnections, PinnedTransport, send_at_once, tls_context
from cueapi.net.http_wire import Answer
from cueapi.net.shortage import shortage_in
from cueapi.storage.clock import Clock

REQUEST_TIMEOUT = 408
"""The request did not come whole in the time that the server waits for it."""


def _do_nothing(_: object = None) -> None:
    """Default callback: do nothing."""


@frozen
class Outgoing:
    """
    A request to wherever the rules allow, under one deadline.

    *on_send* is awaited before the first byte on each connection: it is sent again where a kept one was closed. *sent*
    is called the first time that it goes out.
    """

    method: str
    url: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    timeout: float
    on_send: Callable[[], Awaitable[None]] = send_at_once
    sent: Callable[[], None] = _do_nothing


@define(eq=False)
class _Sending:
    """How far a request has come: in how many seconds it went out, for the last time, and its answer began."""

    outgoing: Outgoing
    begun: float
    sent_after: float | None = None
    first_byte_after: float | None = None

    async def on_send(self) -> None:
        await self.outgoing.on_send()
        if self.sent_after is None:
            self.outgoing.sent()
        self.sent_after = trio.current_time() - self.begun

    def on_answer(self) -> None:
        self.first_byte_after = trio.current_time() - self.begun

    def unreachable(self, reason: str, *, refused: bool = False) -> Unreachable:
        return Unreachable(reason, refused, self.sent_after, self.first_byte_after)


@define(eq=False)
class Webhook:
    """
    Signs, sends, and makes a value of what comes of it. Serves any number of tasks, which share connections.

    No redirects, cookies, proxies. Leaving its `with` block closes its idle connections.
    """

    rules: Rules
    resolver: Resolver
    tls: ssl.SSLContext = field(factory=tls_context)
    sent: Callable[[Delivery], None] = _do_nothing
    clock: Clock = field(factory=Clock)
    idle: IdleConnections = field(factory=IdleConnections)
    standstills: Standstills = field(factory=Standstills)
    transport: PinnedTransport = field(init=False)

    @transport.default
    def _make_transport(self) -> PinnedTransport:
        return PinnedTransport(self.rules, self.resolver, self.tls, self.idle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.idle.close()

    async def attempt(
        self,
        delivery: Delivery,
        confirm: Callable[[], Awaitable[None]] = send_at_once,
        scope: trio.CancelScope | None = None,
    ) -> Result:
        """
        Make the one attempt that *delivery* is claimed for, under its own deadline.

        Once it is connected, nothing is sent before *confirm* has returned; what that raises ends the attempt. It is
        Interrupted where its *scope*, which is new, is cancelled.
        """
        if delivery.unsendable is not None:
            return Unreachable(delivery.unsendable, refused=True)
        headers = signature.headers(delivery, int(self.clock.timestamp()))
        body = signature.sent_body(delivery)
        sent = partial(self.sent, delivery)
        outgoing = Outgoing(delivery.method, delivery.url, headers, body, delivery.timeout, confirm, sent)
        return await self.post(outgoing, scope)

    async def post(self, outgoing: Outgoing, scope: trio.CancelScope | None = None) -> Result:
        """
        Send once; the deadline covers look-up, connect, TLS, write and read.

        Interrupted where we stood still and it failed, or where *scope*, which is new and has no deadline yet, is
        cancelled.
        """
        lost, scope = self.standstills.lost(), scope or trio.CancelScope()
        sending = _Sending(outgoing, trio.current_time())
        scope.deadline = sending.begun + outgoing.timeout
        result: Result = Interrupted()
        with scope:
            result = await self._send_or_say_why(sending)
        now = trio.current_time()
        if scope.cancelled_caught and now >= scope.deadline:
            result = sending.unreachable(f"no answer within {outgoing.timeout:g} s")
        ours = stood_still(lost=self.standstills.lost() - lost, deadline=scope.deadline, now=now)
        return Interrupted() if ours and _may_be_due_to_us(result) else result

    async def _send_or_say_why(self, sending: _Sending) -> Result:
        try:
            return await self._send(sending)
        except httpx.TransportError as failure:
            if (reason := shortage_in(failure)) is not None:
                return Postponed(reason)
            return sending.unreachable(str(failure), refused=_is_ours(failure))

    async def _send(self, sending: _Sending) -> Answered:
        out = sending.outgoing
        answer = await self.transport.send(
            out.method, out.url, out.headers, out.body, sending.on_send, sending.on_answer
        )
        return _answered(answer, sending)


def _is_ours(failure: httpx.TransportError) -> bool:
    """Whether the rules refuse the URL or its address, or the request cannot be written."""
    return isinstance(failure, httpx.LocalProtocolError) or isinstance(failure.__cause__, Refusal)


def _may_be_due_to_us(result: Result) -> bool:
    """Whether it is what a server does that has waited too long for the rest of a request, or for anything else."""
    match result:
        case Unreachable():
            return not result.refused
        case Answered():
            return result.status == REQUEST_TIMEOUT
        case _:
            return False


def _answered(answer: Answer, sending: _Sending) -> Answered:
    coding = (answer.header(b"content-encoding") or "").strip().lower()
    answered = Answered(
        answer.status, answer.body, answer.cut, answer.header(b"retry-after"), None,
        sending.sent_after, sending.first_byte_after,
    )  # fmt: skip
    return answered if coding in {"", "identity"} else _decoded(answered, coding)


_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""What zlib calls a coding (RFC 9110, 8.4.1)."""


def _decoded(answered: Answered, coding: str) -> Answered:
    """An answer that came packed, though none was asked for: unpacked as far as an answer is read."""
    if coding not in _WINDOWS:
        return evolve(answered, packed=coding)
    try:
        body = _unpacked(answered.body, _WINDOWS[coding])
    except zlib.error:
        return evolve(answered, packed=coding)
    return evolve(answered, body=body[:ANSWER_LIMIT], cut=answered.cut or len(body) > ANSWER_LIMIT)


def _unpacked(packed: bytes, window: int) -> bytes:
    """All members of a stream, each a stream of its own (RFC 1952, 2.2); raises zlib.error where one has no end."""
    body = b""
    while packed and len(body) <= ANSWER_LIMIT:
        unpacker = zlib.decompressobj(window)
        body += unpacker.decompress(packed, ANSWER_LIMIT + 1 - len(body))
        if not unpacker.eof and len(body) <= ANSWER_LIMIT:
            raise zlib.error("no end")
        # Members may be filled up with zeros.
        packed = unpacker.unused_data.lstrip(b"\0")
    return body
