"""One signed request. Every way the other side can fail is a value; knows nothing of the database."""

import ssl
import time
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Self

import httpx
import trio
from attrs import define, field, frozen

from cueapi.domain import signature
from cueapi.domain.attempt import Answered, Delivery, Result, Unreachable
from cueapi.domain.target import Rules
from cueapi.net.dns import Resolver
from cueapi.net.http_client import IdleConnections, PinnedTransport, tls_context


def _do_nothing(_: object = None) -> None:
    """Default callback: do nothing."""


@frozen
class Outgoing:
    """A request to wherever the rules allow, under one deadline; *sent* is called before its first byte."""

    method: str
    url: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    timeout: float
    sent: Callable[[], None] = _do_nothing


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
    clock: Callable[[], float] = time.time
    idle: IdleConnections = field(factory=IdleConnections)
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

    async def attempt(self, delivery: Delivery) -> Result:
        """Make the one attempt that *delivery* is claimed for, under its own deadline."""
        headers = signature.headers(delivery, int(self.clock()))
        body = signature.sent_body(delivery)
        sent = partial(self.sent, delivery)
        return await self.post(Outgoing(delivery.method, delivery.url, headers, body, delivery.timeout, sent))

    async def post(self, outgoing: Outgoing) -> Result:
        """Send once; the deadline covers look-up, connect, TLS, write and read."""
        with trio.move_on_after(outgoing.timeout):
            try:
                return await self._send(outgoing)
            except httpx.TransportError as failure:
                return Unreachable(str(failure))
        return Unreachable(f"no answer within {outgoing.timeout:g} s")

    async def _send(self, outgoing: Outgoing) -> Answered:
        request = self.transport.build_request(
            outgoing.method, outgoing.url, outgoing.headers, outgoing.body, outgoing.sent
        )
        return _answered(await self.transport.handle_async_request(request))


def _answered(response: httpx.Response) -> Answered:
    assert isinstance(response.stream, httpx.ByteStream)
    # The stream as it came: httpx would unpack what is packed.
    body = b"".join(response.stream)
    retry_after = next((value for name, value in response.headers.raw if name == b"retry-after"), None)
    return Answered(
        response.status_code,
        body,
        response.extensions["cut"],
        None if retry_after is None else retry_after.decode("latin-1"),
    )
