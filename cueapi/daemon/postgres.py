"""How a start comes to its PostgreSQL: waits for it, refuses what no daemon can work on, brings the schema up."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
import trio
from attrs import define

from cueapi.daemon.secret import CannotStart, WrongSetting
from cueapi.storage.database import Database, StorageRefused, StorageUnavailable
from cueapi.storage.health import ping
from cueapi.storage.pooler import keeps_sessions
from cueapi.storage.schema import migrate
from cueapi.storage.session import prepare, prepare_to_repeat
from cueapi.trio_asyncpg.pool import open_pool

PATIENCE = 30.0
"""Seconds for which a start waits for PostgreSQL."""

FIRST_WORD = 1.0
"""Seconds of waiting after which a start says so."""

ACQUIRE_PATIENCE = 10.0
"""Seconds for which a statement waits for a connection."""

POOLED_BY_TRANSACTION = (
    "DATABASE_URL: before PostgreSQL lies a pooler by transaction, which keeps neither notifications nor locks; "
    "let it pool by session (PgBouncer: pool_mode = session), or name PostgreSQL itself"
)

log = structlog.get_logger("cueapi.daemon")


@asynccontextmanager
async def open_database(dsn: str, *, size: int, repeats: bool = False) -> AsyncIterator[Database]:
    """
    The database at *dsn*, reached. Raises CannotStart where it does not answer in time, or refuses us.

    Where it *repeats* a few statements, each is planned once a connection, for any values.
    """
    async with open_pool(
        dsn,
        size=size,
        patience=ACQUIRE_PATIENCE,
        server_settings={"application_name": "cueapi"},
        init=prepare_to_repeat if repeats else prepare,
    ) as pool:
        database = Database(pool)
        await _reach(database)
        yield database


async def make_ready(dsn: str, database: Database) -> None:
    """Bring the schema up. Raises WrongSetting behind a pooler that takes our sessions away."""
    if not await keeps_sessions(dsn, database):
        raise WrongSetting(POOLED_BY_TRANSACTION)
    await migrate(database)


async def when_able(step: Callable[[], Awaitable[object]]) -> None:
    """
    Take *step* as soon as PostgreSQL, which has answered, can do it: it may be read-only, or end again.

    Raises CannotStart where it could not for too long; what it has begun is not cut off.
    """
    give_up_at, said = trio.current_time() + PATIENCE, False
    while True:
        try:
            await step()
        except StorageRefused as refused:
            raise _refusal(refused) from refused
        except StorageUnavailable as away:
            reason = _line(away)
        else:
            return
        if trio.current_time() > give_up_at:
            raise CannotStart(f"PostgreSQL cannot do what a start needs within {PATIENCE:g} s: {reason}")
        if not said:
            log.warning("database_awaited", reason=reason, seconds=PATIENCE)
            said = True
        await trio.sleep(1)


async def _reach(database: Database) -> None:
    """Return when the database answers. A start that waits for longer than a second says what for."""
    waiting = _Waiting(database)
    with trio.move_on_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiting.report, name="start: report what is waited for")
            await waiting.until_answered()
            nursery.cancel_scope.cancel(reason="PostgreSQL has answered")
        if waiting.refusal is not None:
            raise _refusal(waiting.refusal) from waiting.refusal
        return
    raise CannotStart(f"PostgreSQL cannot be reached within {PATIENCE:g} s: {waiting.reason}. Is DATABASE_URL right?")


@define(eq=False)
class _Waiting:
    """A start that waits for its database, and why."""

    database: Database
    reason: str = "it does not answer"
    refusal: StorageRefused | None = None

    async def until_answered(self) -> None:
        """Ask every second until the database answers or refuses."""
        while True:
            try:
                await ping(self.database)
            except StorageRefused as refused:
                self.refusal = refused
                return
            except StorageUnavailable as away:
                self.reason = _line(away)
                await trio.sleep(1)
            else:
                return

    async def report(self) -> None:
        """One line, after a second."""
        await trio.sleep(FIRST_WORD)
        log.warning("database_awaited", reason=self.reason, seconds=PATIENCE)


def _refusal(refused: StorageRefused) -> WrongSetting:
    return WrongSetting(f"PostgreSQL refused: {_line(refused)}. Is DATABASE_URL right?")


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
