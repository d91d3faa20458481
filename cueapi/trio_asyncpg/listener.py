"""LISTEN on a connection of its own, with a heartbeat that notices a dead peer."""

from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import asyncpg
import trio
from attrs import define, field, frozen

from cueapi.trio_asyncpg.connection import Connection, Init, close, connect, overhear

CONNECT_PATIENCE = 10.0


@frozen
class Notify:
    """What one NOTIFY said."""

    channel: str
    payload: str


@define(eq=False)
class Listener:
    """The ear of one task. Between two notifications that task may run queries on *connection* as well."""

    connection: Connection
    heartbeat: float
    _heard: deque[Notify] = field(factory=deque, init=False)

    async def next(self) -> Notify | None:
        """
        The next notification, or None after *heartbeat* seconds of silence if the server is found alive.

        A server that hung up or does not answer raises asyncpg's ConnectionDoesNotExistError. Cancelled while
        listening, nothing is lost; cancelled while asking whether the server lives, the connection is.
        """
        if not self._heard:
            with trio.move_on_after(self.heartbeat):
                await overhear(self.connection, lambda: bool(self._heard))
        if not self._heard:
            await self._ask_for_life()
        return self._heard.popleft() if self._heard else None

    async def _ask_for_life(self) -> None:
        try:
            with trio.fail_after(self.heartbeat):
                await self.connection.execute("select 1")
        except trio.TooSlowError as error:
            raise asyncpg.ConnectionDoesNotExistError("the server does not answer any more") from error

    async def _listen(self, channel: str) -> None:
        await self.connection.add_listener(channel, self._hear)

    def _hear(self, _connection: object, _pid: int, channel: str, payload: object) -> None:
        self._heard.append(Notify(channel, str(payload)))


@asynccontextmanager
async def listen(
    dsn: str,
    *channels: str,
    heartbeat: float = 10.0,
    server_settings: Mapping[str, str] | None = None,
    init: Init | None = None,
) -> AsyncIterator[Listener]:
    """
    Hear *channels* for the length of the block. Getting there may take CONNECT_PATIENCE seconds.

    *init* prepares the connection.
    """
    deadline = trio.current_time() + CONNECT_PATIENCE
    with trio.fail_at(deadline):
        connection = await connect(dsn, server_settings=server_settings, init=init)
    try:
        listener = Listener(connection, heartbeat)
        with trio.fail_at(deadline):
            for channel in channels:
                await listener._listen(channel)
        yield listener
    finally:
        await close(connection)
