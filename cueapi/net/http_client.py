"""HTTP to wherever the rules allow, as a transport of httpx: the address that was checked is the one connected to."""

import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import cache, partial
from typing import TypeAlias

import httpx
from attrs import define, field

from cueapi.domain.errors import Refusal
from cueapi.domain.target import Rules, Target, check_addresses, check_url
from cueapi.net.dns import NameNotFound, Resolver
from cueapi.net.http_connection import HttpConnection, NeverAnswered, connect, note_nothing
from cueapi.net.http_wire import Answer, Headers, NotWritable, write_request
from cueapi.net.shortage import OwnShortage

REUSED_FOR = 60.0
IDLE_LIMIT = 128


OnSend: TypeAlias = Callable[[], Awaitable[None]]
OnAnswer: TypeAlias = Callable[[], None]


async def send_at_once() -> None:
    """Default of `on_send`: nothing is asked."""


@cache
def tls_context() -> ssl.SSLContext:
    """Trusts the system's authorities and certifi's: slim images have none. 30 ms to make, so one for all."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    context.set_alpn_protocols(["http/1.1"])
    return context


@define(eq=False)
class IdleConnections:
    """Connections between two requests; each serves the same origin at the same checked address only."""

    reused_for: float = REUSED_FOR
    limit: int = IDLE_LIMIT
    _kept: dict[tuple[str, str, int, str], list[HttpConnection]] = field(factory=dict, init=False)
    _count: int = field(default=0, init=False)

    def __len__(self) -> int:
        return self._count

    def take(self, target: Target, addresses: Sequence[str]) -> HttpConnection | None:
        """The newest one to the first of *addresses* that has one which is still open."""
        for address in addresses:
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
        if self._count >= self.limit or not connection.may_go_on():
            connection.close()
            return
        target = connection.target
        key = (target.scheme, target.host, target.port, connection.address)
        self._kept.setdefault(key, []).append(connection)
        self._count += 1

    def sweep(self) -> None:
        """Close those that are too old or were closed: addresses change, so an origin may never be asked for again."""
        before, self._kept, self._count = self._kept, {}, 0
        for key, connections in before.items():
            fresh = [connection for connection in connections if connection.is_fresh(self.reused_for)]
            for connection in connections:
                if connection not in fresh:
                    connection.close()
            if fresh:
                self._kept[key] = fresh
                self._count += len(fresh)

    def close(self) -> None:
        """Close all."""
        for connections in self._kept.values():
            for connection in connections:
                connection.close()
        self._kept.clear()
        self._count = 0


@define(eq=False)
class PinnedTransport(httpx.AsyncBaseTransport):
    """
    Sends requests to checked addresses; serves any number of tasks, which share its idle connections.

    The URL and every address of its host are checked against *rules*. The deadline is the caller's Trio scope; timeouts
    that httpx passes on are ignored. At most ANSWER_LIMIT bytes of an answer are read, before it is returned; where
    there were more, its extension `cut` is true. The extension `on_send` of a request is `send`'s.
    """

    rules: Rules
    resolver: Resolver
    tls: ssl.SSLContext = field(factory=tls_context)
    idle: IdleConnections = field(factory=IdleConnections)

    async def send(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes,
        on_send: OnSend = send_at_once,
        on_answer: OnAnswer = note_nothing,
    ) -> Answer:
        """
        Send once to exactly *url*, whose dot segments and odd characters httpx would rewrite.

        *on_send* is awaited before the first byte, on each connection that the request is sent on; what it raises ends
        the request. *on_answer* is called when the first byte of an answer has come. Raises httpx.TransportError, whose
        message is a sentence.
        """
        target = self._check(url)
        try:
            wire = write_request(method, target.path, target.authority, headers, body)
        except NotWritable as error:
            raise httpx.LocalProtocolError(f"the request cannot be written: {error}") from error
        addresses = await self._resolve(target)
        exchange = partial(self._exchange, wire=wire, on_send=on_send, on_answer=on_answer, head_only=method == "HEAD")
        if (kept := self.idle.take(target, addresses)) is not None:
            # Servers close idle connections whenever they like, and it may or may not have read the request before it
            # did: it is sent again, once. A handler that read both sees the same `webhook-id` twice.
            with suppress(NeverAnswered):
                return await exchange(kept)
        return await exchange(await connect(target, addresses, self.tls))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """As `send`, for a client of httpx."""
        body = await request.aread()
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
        on_send = request.extensions.get("on_send", send_at_once)
        answer = await self.send(request.method, str(request.url), headers, body, on_send)
        # A stream and not `content`, which httpx would unpack here and now.
        stream, cut = httpx.ByteStream(answer.body), {"cut": answer.cut}
        return httpx.Response(answer.status, headers=answer.headers, stream=stream, extensions=cut)

    async def aclose(self) -> None:
        """Close what is idle."""
        self.idle.close()

    def _check(self, url: str) -> Target:
        try:
            return check_url(url, self.rules)
        except Refusal as refusal:
            raise httpx.ConnectError(refusal.message) from refusal

    async def _resolve(self, target: Target) -> list[str]:
        try:
            return check_addresses(await self.resolver.resolve(target.host), target, self.rules)
        except Refusal as refusal:
            raise httpx.ConnectError(refusal.message) from refusal
        except (NameNotFound, OwnShortage) as failure:
            raise httpx.ConnectError(str(failure)) from failure

    async def _exchange(
        self, connection: HttpConnection, *, wire: bytes, on_send: OnSend, on_answer: OnAnswer, head_only: bool
    ) -> Answer:
        try:
            answer = await connection.exchange(wire, on_send, on_answer, head_only=head_only)
        except BaseException:
            connection.close()
            raise
        self.idle.put(connection)
        return answer
