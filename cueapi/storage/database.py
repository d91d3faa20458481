"""Database and Transaction: three verbs on PostgreSQL, and its errors as ours."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from inspect import get_annotations
from operator import itemgetter
from typing import LiteralString, NoReturn, Protocol

import asyncpg
import trio
from attrs import frozen
from typing_extensions import TypeVar

from cueapi.storage.session import prepare
from cueapi.storage.sqlstate import ErrorKind, kind_of
from cueapi.trio_asyncpg.connection import Connection
from cueapi.trio_asyncpg.listener import Listener, Notify, listen
from cueapi.trio_asyncpg.pool import Pool, PoolClosed, PoolTimeout

STATEMENT_PATIENCE = 30.0
"""Seconds after which a statement that is not done is cancelled, here and at the server."""

ROLLBACK_PATIENCE = 3
"""How often a single statement is sent that PostgreSQL rolls back for another one: nothing of it was done."""


class Row(asyncpg.Record):
    """One row of a result. A subclass declares its columns by annotations, its own or those of a plain base class."""

    def __init_subclass__(cls) -> None:
        for ancestor in reversed(cls.__mro__):
            if ancestor is cls or not issubclass(ancestor, asyncpg.Record):
                for name in get_annotations(ancestor):
                    setattr(cls, name, property(itemgetter(name)))


T = TypeVar("T")
R = TypeVar("R", bound=Row, default=Row)


class StorageUnavailable(Exception):
    """PostgreSQL cannot be reached, or cannot do it now: it starts or stops, is read-only, or has no room left."""


class TransactionRolledBack(StorageUnavailable):
    """A transaction that lost to another one: nothing of it was done, and it may be begun again."""


class StorageRefused(StorageUnavailable):
    """PostgreSQL refuses us: a wrong password, a database or table that does not exist, a privilege that is missing."""


class Duplicate(Exception):
    """A unique index refused a row; *constraint* is its name."""

    def __init__(self, constraint: str) -> None:
        super().__init__(constraint)
        self.constraint = constraint


class AlreadyExists(Exception):
    """A table, index, domain or function that was to be created is there already."""


class Unstorable(Exception):
    """A value that PostgreSQL cannot hold, or that a CHECK of the schema refuses."""


OURS: dict[ErrorKind, type[Exception]] = {
    ErrorKind.UNAVAILABLE: StorageUnavailable,
    ErrorKind.ROLLED_BACK: TransactionRolledBack,
    ErrorKind.REFUSED: StorageRefused,
    ErrorKind.UNSTORABLE: Unstorable,
    ErrorKind.EXISTS: AlreadyExists,
}
"""What an error of PostgreSQL becomes; one of no kind is a bug, and is raised as it is."""


class Executor(Protocol):
    """What a storage function needs: the database for one statement, a transaction for several."""

    async def fetch(self, statement: LiteralString, *values: object, row: type[R] | None = None) -> list[R]:
        """All rows, each one a *row*."""
        ...

    async def fetch_one(self, statement: LiteralString, *values: object, row: type[R] | None = None) -> R | None:
        """The first row, or None."""
        ...

    async def execute(self, statement: LiteralString, *values: object) -> int:
        """How many rows the statement touched."""
        ...


async def fetch_value(db: Executor, statement: LiteralString, *values: object, kind: type[T]) -> T | None:
    """The first value of the first row; None where there is no row, or it is null."""
    row = await db.fetch_one(statement, *values)
    value = None if row is None else row[0]
    assert value is None or isinstance(value, kind)
    return value


_FOREIGN = (
    asyncpg.PostgresError,
    asyncpg.PostgresWarning,  # what asyncpg makes of an error that a trigger raises with a code of a warning
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    trio.TooSlowError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    PoolTimeout,
    PoolClosed,
)


def _ours(error: Exception) -> Exception:
    """An error of the driver's as one of ours; itself where it is a bug."""
    match error:
        case asyncpg.InvalidCachedStatementError():
            # A migration has changed what it returns; the driver has forgotten it, and may prepare it anew.
            return TransactionRolledBack(str(error))
        case asyncpg.PostgresError() | asyncpg.PostgresWarning():
            return _by_sqlstate(error)
        case asyncpg.DataError():
            return Unstorable(str(error))
        case asyncpg.exceptions.ClientConfigurationError():  # an unknown sslmode
            return StorageRefused(str(error))
        case _:
            return StorageUnavailable(str(error) or type(error).__name__)


def _by_sqlstate(error: asyncpg.PostgresError | asyncpg.PostgresWarning) -> Exception:
    kind = kind_of(error.sqlstate or "")
    if kind is ErrorKind.DUPLICATE:
        return Duplicate(getattr(error, "constraint_name", None) or "")
    # Not the details: they may quote a whole row.
    message = getattr(error, "message", None) or str(error)
    return OURS[kind](message) if kind in OURS else error


def _raise_ours(error: Exception) -> NoReturn:
    ours = _ours(error)
    if ours is error:
        raise error
    raise ours from error


@contextmanager
def _mapped() -> Iterator[None]:
    try:
        yield
    except _FOREIGN as error:
        _raise_ours(error)


@frozen
class Transaction:
    """Several statements that happen together or not at all."""

    connection: Connection

    async def fetch(self, statement: LiteralString, *values: object, row: type[R] | None = None) -> list[R]:
        """All rows, each one a *row*."""
        with _mapped():
            fetch: Callable[..., Awaitable[list[R]]] = self.connection.fetch
            return await fetch(statement, *values, record_class=row or Row)

    async def fetch_one(self, statement: LiteralString, *values: object, row: type[R] | None = None) -> R | None:
        """The first row, or None."""
        with _mapped():
            fetch: Callable[..., Awaitable[R | None]] = self.connection.fetchrow
            return await fetch(statement, *values, record_class=row or Row)

    async def execute(self, statement: LiteralString, *values: object) -> int:
        """How many rows the statement touched."""
        with _mapped():
            return _count(await self.connection.execute(statement, *values))

    async def run_script(self, script: str) -> None:
        """Run the statements of a migration."""
        with _mapped():
            await self.connection.execute(script)


@frozen
class Database:
    """A pool of connections. Each verb is one statement, atomic by itself, without BEGIN and COMMIT around it."""

    pool: Pool

    async def fetch(self, statement: LiteralString, *values: object, row: type[R] | None = None) -> list[R]:
        """All rows, each one a *row*."""
        rows: list[R] = await self._send(Connection.fetch, statement, *values, record_class=row or Row)
        return rows

    async def fetch_one(self, statement: LiteralString, *values: object, row: type[R] | None = None) -> R | None:
        """The first row, or None."""
        rows = await self.fetch(statement, *values, row=row)
        return rows[0] if rows else None

    async def execute(self, statement: LiteralString, *values: object) -> int:
        """How many rows the statement touched."""
        return _count(await self._send(Connection.execute, statement, *values))

    async def _send(self, verb: Callable[..., Awaitable[T]], *values: object, **options: object) -> T:
        """Send one statement, and again where it was rolled back for another one: nothing of it was done."""
        for _ in range(ROLLBACK_PATIENCE):
            try:
                return await self._send_once(verb, *values, **options)
            except asyncpg.TransactionRollbackError as error:
                message = str(error)
            except _FOREIGN as error:
                _raise_ours(error)
        raise StorageUnavailable(message)

    # The hot path of everything: no context managers made of generators here, which cost as much as the statement.
    async def _send_once(self, verb: Callable[..., Awaitable[T]], *values: object, **options: object) -> T:
        with trio.CancelScope(deadline=trio.current_time() + STATEMENT_PATIENCE) as scope:
            connection = await self.pool.take()
            try:
                return await verb(connection, *values, **options)
            finally:
                await self.pool.give_back(connection)
        assert scope.cancelled_caught
        raise StorageUnavailable(f"the statement was not done within {STATEMENT_PATIENCE:g} s")

    @asynccontextmanager
    async def transaction(self, *, patience: float = STATEMENT_PATIENCE) -> AsyncIterator[Transaction]:
        """
        Commits at the end of the block, rolls back on any way out by an exception.

        Raises StorageUnavailable where the block is not done within *patience* seconds.
        """
        with _mapped(), trio.CancelScope(deadline=trio.current_time() + patience) as scope:
            async with self.pool.acquire() as connection, connection.transaction():
                yield Transaction(connection)
        if scope.cancelled_caught:
            raise StorageUnavailable(f"the transaction was not done within {patience:g} s")


@frozen
class NotifyListener:
    """Hears the notifications of one channel."""

    listener: Listener

    async def next(self) -> Notify | None:
        """The next one; None after a heartbeat of silence."""
        # Mapped here, too: from within a nursery it would reach the border as a group.
        with _mapped():
            return await self.listener.next()


@asynccontextmanager
async def open_listener(
    dsn: str, channel: str, *, heartbeat: float
) -> AsyncIterator[tuple[NotifyListener, Transaction]]:
    """Hear *channel* on a connection of its own, which takes statements as well: what it locks is the session's."""
    with _mapped():
        async with listen(dsn, channel, heartbeat=heartbeat, init=prepare) as listener:
            yield NotifyListener(listener), Transaction(listener.connection)


def _count(tag: str) -> int:
    """The number at the end of a command tag such as `UPDATE 3`."""
    last = tag.rpartition(" ")[2]
    return int(last) if last.isdigit() else 0
