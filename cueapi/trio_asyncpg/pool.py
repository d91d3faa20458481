"""A bounded pool of connections, first come first served. What was cut off leaves it, and its place stays."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

import asyncpg
import trio
from attrs import define, field

from cueapi.trio_asyncpg.connection import Connection, Init, abort, close, connect, is_silent
from cueapi.trio_asyncpg.wire import CLEANUP_PATIENCE


class PoolTimeout(Exception):
    """No connection came free in time."""


class PoolClosed(Exception):
    """The pool is closing and gives out nothing more."""


@define(eq=False)
class Pool:
    """At most *size* connections, opened when they are wanted. Comes from `open_pool`, which closes it."""

    size: int
    patience: float
    max_lifetime: float
    _connect: Callable[[], Awaitable[Connection]] = field(repr=False)  # it knows the password
    _places: trio.Semaphore
    _idle: list[Connection] = field(factory=list, init=False)
    _lent: set[Connection] = field(factory=set, init=False)
    _closing: bool = field(default=False, init=False)

    @property
    def idle(self) -> int:
        """How many connections are open and unused."""
        return len(self._idle)

    @property
    def in_use(self) -> int:
        """How many places are taken, also by those who are just connecting."""
        return self.size - self._places.value

    @property
    def waiters(self) -> int:
        """How many tasks wait for a place."""
        return self._places.statistics().tasks_waiting

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        """
        Lend a connection for the length of the block.

        Its session is not reset: who sets or locks something for the session undoes it. Only a transaction
        that was left open is rolled back. Raises `PoolTimeout` after *patience* seconds.
        """
        connection = await self.take()
        try:
            yield connection
        finally:
            await self.give_back(connection)

    async def take(self) -> Connection:
        """As `acquire`, for who calls `give_back` in a `finally`."""
        await trio.lowlevel.checkpoint_if_cancelled()  # a query would be cut off, and cost a connection
        if self._closing:
            raise PoolClosed
        connection = self._one_at_hand() or await self._wait_for_one()
        self._lent.add(connection)
        return connection

    def _one_at_hand(self) -> Connection | None:
        """The usual case: a place is free, and a connection that need not be asked whether it lives."""
        if not (self._places.value and self._idle):
            return None
        # The one used last: the others may grow old, and then they go.
        connection = self._idle[-1]
        if self._is_old(connection) or not is_silent(connection):
            return None
        self._places.acquire_nowait()
        return self._idle.pop()

    async def _wait_for_one(self) -> Connection:
        with trio.move_on_after(self.patience):
            await self._places.acquire()
            try:
                return await self._ready_one()
            except BaseException:
                self._places.release()
                raise
        raise PoolTimeout(
            f"no connection within {self.patience:g} s:"
            f" {self.in_use} of {self.size} in use, {self.waiters} others are waiting"
        )

    async def _ready_one(self) -> Connection:
        while self._idle and not self._closing:
            connection = self._idle.pop()
            if not self._is_old(connection) and (is_silent(connection) or await _answers(connection)):
                return connection
            await close(connection)
        if self._closing:
            raise PoolClosed
        return await self._connect()

    async def give_back(self, connection: Connection) -> None:
        """What `take` has lent comes back, or its place does."""
        self._lent.discard(connection)
        try:
            if connection.is_closed():
                return
            if self._closing or self._is_old(connection) or connection.is_in_transaction():
                await close(connection)
            else:
                self._idle.append(connection)
        finally:
            self._places.release()

    def _is_old(self, connection: Connection) -> bool:
        return trio.current_time() - connection.opened_at > self.max_lifetime

    async def _close(self) -> None:
        """Wait for those who have a connection, for *patience* seconds; then take it from them."""
        self._closing = True
        with trio.move_on_after(self.patience, shield=True):
            for _ in range(self.size):
                await self._places.acquire()
        with trio.move_on_after(2 * CLEANUP_PATIENCE, shield=True):
            async with trio.open_nursery() as nursery:
                for connection in self._lent:
                    nursery.start_soon(abort, connection, name="pool: abort")
                for connection in self._idle:
                    nursery.start_soon(close, connection, name="pool: close")


@asynccontextmanager
async def open_pool(
    dsn: str,
    *,
    size: int = 10,
    patience: float = 30.0,
    max_lifetime: float = 3600.0,
    server_settings: Mapping[str, str] | None = None,
    init: Init | None = None,
) -> AsyncIterator[Pool]:
    """
    A pool for the length of the block. No connection is opened before it is wanted.

    *patience* is how long one waits for a connection, and how long the end of the block waits for those who
    still have one. A connection older than *max_lifetime* is replaced when it is next touched.
    """
    new = partial(connect, dsn, server_settings=server_settings, init=init)
    pool = Pool(size, patience, max_lifetime, new, trio.Semaphore(size, max_value=size))
    try:
        yield pool
    finally:
        await pool._close()


async def _answers(connection: Connection) -> bool:
    """Whether a connection on which something has happened is still of use."""
    try:
        with trio.fail_after(CLEANUP_PATIENCE):
            await connection.execute("select 1")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, trio.TooSlowError):
        return False
    return True
