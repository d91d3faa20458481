"""One signed, pinned request. Every way the other side can fail is a value; knows nothing of the database."""

import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self

import trio
from attrs import define, evolve, field, frozen

from cueapi.domain import signature
from cueapi.domain.attempt import Answered, Delivery, Result, Unreachable
from cueapi.domain.errors import Refusal
from cueapi.domain.target import Rules, Target, check_addresses, check_url
from cueapi.net.dns import NameNotFound, Resolver
from cueapi.net.http_client import (
    HttpConnection,
    IdleConnections,
    NeverAnswered,
    Request,
    WireFailed,
    connect,
    tls_context,
)


def _do_nothing(_: object = None) -> None:
    """Nobody wants to know."""


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
    The way out. One serves any number of tasks, so that they share connections; closed with its `with` block.

    The address that was checked is the address that is connected to. No redirects, cookies, proxies.
    """

    rules: Rules
    resolver: Resolver
    tls: ssl.SSLContext = field(factory=tls_context)
    sent: Callable[[Delivery], None] = _do_nothing
    clock: Callable[[], float] = time.time
    idle: IdleConnections = field(factory=IdleConnections)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.idle.close()

    async def attempt(self, delivery: Delivery) -> Result:
        """Try *delivery* once, under its own deadline."""
        headers = signature.headers(delivery, int(self.clock()))
        body = signature.sent_body(delivery)
        sent = partial(self.sent, delivery)
        return await self.post(Outgoing(delivery.method, delivery.url, headers, body, delivery.timeout, sent))

    async def post(self, outgoing: Outgoing) -> Result:
        """Send once; the deadline covers look-up, connect, TLS, write and read."""
        with trio.move_on_after(outgoing.timeout):
            try:
                return await self._send(outgoing)
            except Refusal as refusal:
                return Unreachable(refusal.message)
            except (NameNotFound, WireFailed) as failure:
                return Unreachable(str(failure))
        return Unreachable(f"no answer within {outgoing.timeout:g} s")

    async def _send(self, outgoing: Outgoing) -> Answered:
        target = check_url(outgoing.url, self.rules)
        addresses = check_addresses(await self.resolver.resolve(target.host), target, self.rules)
        if (kept := self._take(target, addresses)) is not None:
            # Servers close idle connections whenever they like, and nobody can know whether this one read the
            # request first: it is sent again, once. A handler that did sees the same `webhook-id` twice.
            with suppress(NeverAnswered):
                return await self._exchange(kept, target, outgoing)
            outgoing = evolve(outgoing, sent=_do_nothing)
        return await self._exchange(await connect(target, addresses, self.tls), target, outgoing)

    def _take(self, target: Target, addresses: list[str]) -> HttpConnection | None:
        for address in addresses:
            if (kept := self.idle.take(target, address)) is not None:
                return kept
        return None

    async def _exchange(self, connection: HttpConnection, target: Target, outgoing: Outgoing) -> Answered:
        request = Request(outgoing.method, outgoing.headers, outgoing.body)
        try:
            answered = await connection.exchange(request, target.path, outgoing.sent)
        except BaseException:
            connection.close()
            raise
        self.idle.put(connection)
        return answered
