"""Siblings without a tree: one turn of each, a database that counts, and one that goes away for a while."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from inspect import isawaitable
from urllib.parse import urlsplit

import asyncpg
import trio
from attrs import define, field, frozen

from cueapi.storage.clock import Clock
from cueapi.storage.database import Database, R, Transaction
from cueapi.trio_asyncpg.connection import close, connect
from cueapi.wakeups.hub import WakeupHub
from cueapi.wakeups.long_poll import LongPoll
from supervisor.health import on_beat

Run = Callable[..., Awaitable[None]]


@frozen
class CountingTransaction(Transaction):
    """Notes the first word of each of its statements."""

    said: list[str]

    async def fetch(self, statement: str, *values: object, row: type[R] | None = None) -> list[R]:
        """All rows."""
        self.said.append(statement.split(maxsplit=1)[0])
        return await Transaction.fetch(self, statement, *values, row=row)

    async def fetch_one(self, statement: str, *values: object, row: type[R] | None = None) -> R | None:
        """The first row, or None."""
        self.said.append(statement.split(maxsplit=1)[0])
        return await Transaction.fetch_one(self, statement, *values, row=row)

    async def execute(self, statement: str, *values: object) -> int:
        """How many rows the statement touched."""
        self.said.append(statement.split(maxsplit=1)[0])
        return await Transaction.execute(self, statement, *values)


@frozen
class Counting(Database):
    """Notes the first word of each statement that is said to it, with `begin` and `commit`."""

    said: list[str] = field(factory=list)

    async def fetch(self, statement: str, *values: object, row: type[R] | None = None) -> list[R]:
        """All rows."""
        self.said.append(statement.split(maxsplit=1)[0])
        return await Database.fetch(self, statement, *values, row=row)

    async def execute(self, statement: str, *values: object) -> int:
        """How many rows the statement touched."""
        self.said.append(statement.split(maxsplit=1)[0])
        return await Database.execute(self, statement, *values)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Several statements, between two more."""
        self.said.append("begin")
        async with Database.transaction(self) as tx:
            yield CountingTransaction(tx.connection, self.said)
        self.said.append("commit")


@define(eq=False)
class NotedCalls(LongPoll):
    """No call waits; notes whose calls are woken."""

    woken: list[int] = field(factory=list)

    def wake(self, user: int) -> None:
        """Something of *user* can be claimed."""
        self.woken.append(user)


@define(eq=False)
class NotedAccounts:
    """Remembers no account; notes which are to be forgotten, and whether the cache was marked valid."""

    invalidated: list[int] = field(factory=list)
    valid: list[bool] = field(factory=list)

    def invalidate(self, user: int) -> None:
        """Forget that account."""
        self.invalidated.append(user)

    def mark_cache_valid(self, valid: bool) -> None:
        """The cache is valid from now on, or not."""
        self.valid.append(valid)


def quiet_hub() -> WakeupHub:
    """A hub whose ticks come by themselves once an hour, and which notes what it wakes."""
    return WakeupHub(Clock(), 3600.0, NotedAccounts(), NotedCalls())


@asynccontextmanager
async def alive(*runs: Run) -> AsyncIterator[None]:
    """These siblings run for the length of the block; they are started in their order."""
    async with trio.open_nursery() as nursery:
        for run in runs:
            await nursery.start(run)
        yield
        nursery.cancel_scope.cancel()


async def until(fact: Callable[[], object]) -> None:
    """Return when *fact* (which may be asked with `await`) is true; the caller sets the deadline."""
    while True:
        told = fact()
        if await told if isawaitable(told) else told:
            return
        await trio.sleep(0.01)


async def one_turn(run: Run) -> None:
    """Let a sibling live until it gives its first sign of life."""
    done = trio.Event()
    on_beat(done.set)
    try:
        with trio.fail_after(20):
            async with alive(run):
                await done.wait()
    finally:
        on_beat(lambda: None)


@asynccontextmanager
async def gone(admin_url: str, database_url: str) -> AsyncIterator[None]:
    """For the length of the block there is no such database, and every connection to it is cut."""
    name = urlsplit(database_url).path.removeprefix("/")
    admin = await connect(admin_url)
    try:
        await _rename(admin, name, f"{name}_gone")
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):
                await _rename(admin, f"{name}_gone", name)
    finally:
        await close(admin)


async def _rename(admin: asyncpg.Connection, old: str, new: str) -> None:
    with trio.fail_after(10):
        while True:
            await admin.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{old}'")
            try:
                await admin.execute(f"alter database {old} rename to {new}")
            except asyncpg.ObjectInUseError:
                await trio.sleep(0.02)
            else:
                return
