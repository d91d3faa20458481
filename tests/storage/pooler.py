"""
A pooler in front of PostgreSQL, as PgBouncer is one: it pools by session or by transaction.

Each client logs in at a server connection of its own. By transaction all clients share these connections: each has
one from its first message to the end of its transaction, the one that was used last.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from urllib.parse import urlsplit

import trio
from attrs import define, field

SSL_REQUEST = bytes.fromhex("00000008 04d2162f")
KEY_DATA, READY, TERMINATE = b"K", b"Z", b"X"
IDLE = b"I"


GONE = (trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel)


@define(eq=False)
class Messages:
    """One side of a conversation: whole messages, each with its type and its length before it."""

    stream: trio.SocketStream
    _received: bytearray = field(factory=bytearray)

    async def exactly(self, size: int) -> bytes:
        """So many bytes."""
        await self._receive(size)
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    async def next(self) -> bytes:
        """The next message. Being cancelled here loses nothing."""
        await self._receive(5)
        size = 1 + int.from_bytes(self._received[1:5], "big")
        await self._receive(size)
        return await self.exactly(size)

    async def _receive(self, size: int) -> None:
        while len(self._received) < size:
            more = await self.stream.receive_some(65536)
            if not more:
                raise trio.EndOfChannel
            self._received += more


@define(eq=False)
class Pooler:
    """Between its clients and the server at *target*."""

    target: tuple[str, int]
    by_transaction: bool
    _free: list[Messages] = field(factory=list)
    _keys: "count[int]" = field(factory=lambda: count(1))

    async def serve(self, stream: trio.SocketStream) -> None:
        """One client."""
        client = Messages(stream)
        try:
            async with stream:
                server = await self._log_in(client)
                if not self.by_transaction:
                    return await _pass_both_ways(client, server)
                self._free.append(server)
                while True:
                    await self._transaction(client)
        except* GONE:
            pass

    async def _log_in(self, client: Messages) -> Messages:
        """Relay the start of a session up to its first ReadyForQuery; the client learns a key of ours."""
        greeting = await client.exactly(8)
        if greeting == SSL_REQUEST:
            await client.stream.send_all(b"N")
            greeting = await client.exactly(8)
        server = Messages(await trio.open_tcp_stream(*self.target))
        try:
            await self._relay_log_in(greeting, client, server)
        except BaseException:
            await trio.aclose_forcefully(server.stream)
            raise
        return server

    async def _relay_log_in(self, greeting: bytes, client: Messages, server: Messages) -> None:
        await server.stream.send_all(greeting + await client.exactly(int.from_bytes(greeting[:4], "big") - 8))
        while (message := await server.next())[:1] != READY:
            if message[:1] == KEY_DATA:
                message = KEY_DATA + (12).to_bytes(4, "big") + next(self._keys).to_bytes(4, "big") + bytes(4)
            await client.stream.send_all(message)
            if message[:1] == b"R" and message[5:9] not in {bytes(4), (12).to_bytes(4, "big")}:
                await server.stream.send_all(await client.next())  # its part of the authentication
        await client.stream.send_all(message)

    async def _transaction(self, client: Messages) -> None:
        """From the client's first message to the end of its transaction; a server that it leaves in one is lost."""
        first = await client.next()
        if first[:1] == TERMINATE:
            raise trio.EndOfChannel
        server = self._free.pop()
        try:
            await server.stream.send_all(first)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_pass_on, client, server)
                while (message := await server.next())[:1] != READY or message[5:] != IDLE:
                    await client.stream.send_all(message)
                nursery.cancel_scope.cancel()
        except BaseException:
            await trio.aclose_forcefully(server.stream)
            raise
        # Only now: what the client says next may go to another server.
        self._free.append(server)
        await client.stream.send_all(message)


async def _pass_both_ways(client: Messages, server: Messages) -> None:
    async with server.stream, trio.open_nursery() as nursery:
        nursery.start_soon(_pass_on, client, server)
        await _pass_on(server, client)


async def _pass_on(source: Messages, sink: Messages) -> None:
    while True:
        await sink.stream.send_all(await source.next())


@asynccontextmanager
async def pooler(dsn: str, *, by_transaction: bool) -> AsyncIterator[str]:
    """The DSN of a pooler in front of the database of *dsn*."""
    there = urlsplit(dsn)
    between = Pooler((there.hostname or "", there.port or 5432), by_transaction)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, between.serve, [listener])
        yield there._replace(netloc=f"{there.username}:{there.password}@127.0.0.1:{port}").geturl()
        nursery.cancel_scope.cancel()
    for server in between._free:
        await server.stream.aclose()
