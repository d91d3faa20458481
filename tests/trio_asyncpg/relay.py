"""A relay in front of PostgreSQL, as a pooler is one: it can speak TLS, insist on it, and fall silent."""

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from urllib.parse import urlsplit

import trio
from attrs import define, field

SSL_REQUEST = bytes.fromhex("00000008 04d2162f")
TLS_HANDSHAKE = b"\x16"
NO_ENTRY = b"SFATAL\0C28000\0Mno pg_hba.conf entry for this host, no encryption\0\0"

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


@define(eq=False)
class Relay:
    """Passes on what is said between a client and the server at *target*."""

    target: tuple[str, int]
    tls: ssl.SSLContext | None = None
    only_tls: bool = False
    port: int = 0
    encrypted: int = 0
    plain: int = 0
    stop_at: bytes | None = None
    """Nothing more gets through once the server has said this."""

    cut_at: bytes | None = None
    """The connection ends where the server says this, once: the client does not hear it."""

    stopped: trio.Event = field(factory=trio.Event)
    _flowing: trio.Event = field(factory=trio.Event)

    def flow(self) -> None:
        """Let everything through again."""
        self.stop_at = None
        self._flowing.set()

    def through(self, dsn: str) -> str:
        """*dsn*, by way of this relay."""
        who, _, where = dsn.rpartition("@")
        return f"{who}@127.0.0.1:{self.port}/{where.partition('/')[2]}"

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """For the length of the block nothing gets through, and nobody is told."""
        flowing, self._flowing = self._flowing, trio.Event()
        try:
            yield
        finally:
            self._flowing.set()
            self._flowing = flowing

    async def serve(self, client: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with client:
                first = await client.socket.recv(1, trio.socket.MSG_PEEK)
                if first == TLS_HANDSHAKE:
                    await self._relay(await self._encrypt(client), b"")
                else:
                    await self._greet(client)

    async def _greet(self, client: trio.SocketStream) -> None:
        greeting = await client.receive_some(8)
        if greeting == SSL_REQUEST and self.tls is None:
            await client.send_all(b"N")
            await self._greet(client)
        elif greeting == SSL_REQUEST:
            await client.send_all(b"S")
            await self._relay(await self._encrypt(client), b"")
        elif greeting and self.only_tls:
            await client.send_all(b"E" + (len(NO_ENTRY) + 4).to_bytes(4, "big") + NO_ENTRY)
        elif greeting:
            self.plain += 1
            await self._relay(client, greeting)

    async def _encrypt(self, client: trio.SocketStream) -> Stream:
        assert self.tls is not None
        encrypted = trio.SSLStream(client, self.tls, server_side=True, https_compatible=True)
        await encrypted.do_handshake()
        self.encrypted += 1
        return encrypted

    async def _relay(self, client: Stream, greeting: bytes | bytearray) -> None:
        server = await trio.open_tcp_stream(*self.target)
        async with server, trio.open_nursery() as nursery:
            await server.send_all(greeting)
            nursery.start_soon(self._upwards, client, server)
            with suppress(trio.BrokenResourceError):
                await self._pass_on(server, client)
            nursery.cancel_scope.cancel()

    async def _upwards(self, client: Stream, server: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            await self._pass_on(client, server)
        with suppress(trio.BrokenResourceError):
            await server.send_eof()

    async def _pass_on(self, source: Stream, sink: Stream) -> None:
        while data := await source.receive_some(65536):
            if self.cut_at is not None and self.cut_at in data:
                self.cut_at = None
                return
            if self.stop_at is not None and self.stop_at in data:
                self._flowing = trio.Event()
                self.stopped.set()
            await self._flowing.wait()
            await sink.send_all(data)


@asynccontextmanager
async def relay_to(dsn: str, tls: ssl.SSLContext | None = None, *, only_tls: bool = False) -> AsyncIterator[Relay]:
    """A relay in front of the server of *dsn*, on a port of its own."""
    there = urlsplit(dsn)
    relay = Relay((there.hostname or "", there.port or 5432), tls, only_tls)
    relay._flowing.set()
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    relay.port = listener.socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, relay.serve, [listener])
        yield relay
        nursery.cancel_scope.cancel()
