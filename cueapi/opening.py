"""What everything stands on: the database of the settings, reached, and its secret."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import trio

from cueapi import data_dir
from cueapi.settings import Settings, postgres_url
from cueapi.storage import accounts, redis
from cueapi.storage.embedded import Embedded, join_embedded, open_embedded
from cueapi.storage.health import ping
from cueapi.storage.postgres import Database, StorageRefused, StorageUnavailable
from cueapi.storage.redis import Redis, RedisMisnamed
from cueapi.storage.trio_asyncpg import Connection
from cueapi.storage.trio_asyncpg_pool import open_pool
from cueapi.vault import Vault

PATIENCE = 30.0
"""Seconds for which a start waits for PostgreSQL."""

ACQUIRE_PATIENCE = 10.0
"""Seconds for which a statement waits for a connection."""

# On the disks of today a leap costs little more than the next row: lists are counted by an index. Said to each new
# session, not at its start: poolers refuse start-up parameters that they do not know.
SESSION = "set jit = off; set random_page_cost = 1.1"


class CannotStart(Exception):
    """The daemon cannot start; the message is one line that says why."""


@asynccontextmanager
async def open_server(settings: Settings) -> AsyncIterator[tuple[str, Embedded | None]]:
    """The DSN to serve on, and the embedded server where that is what it leads to."""
    dsn = postgres_url(settings)
    if dsn is not None:
        yield dsn, None
        return
    async with open_embedded(settings.data_dir) as embedded:
        yield embedded.dsn, embedded


@asynccontextmanager
async def open_database(dsn: str, *, size: int) -> AsyncIterator[Database]:
    """The database at *dsn*, reached. Raises CannotStart where it does not answer in time."""
    async with open_pool(
        dsn,
        size=size,
        patience=ACQUIRE_PATIENCE,
        server_settings={"application_name": "cueapi"},
        init=_prepare,
    ) as pool:
        database = Database(pool)
        await _reach(database)
        yield database


@contextmanager
def open_redis(settings: Settings, vault: Vault) -> Iterator[Redis | None]:
    """The Redis of the settings, whether it answers or not; None where there is none."""
    if settings.redis_url is None:
        yield None
        return
    try:
        # The secret tells us from others that share this Redis, and not from the other daemons.
        with redis.open_redis(settings.redis_url.get_secret_value(), prefix=vault.fingerprint) as shared:
            yield shared
    except RedisMisnamed as error:
        raise CannotStart(str(error)) from error


@asynccontextmanager
async def open_for_command(settings: Settings, *, new: bool = False) -> AsyncIterator[Database]:
    """
    The database for a command: a running embedded server is joined, else it is started and stopped again.

    Raises CannotStart where there is no embedded database yet, and it may not be a *new* one.
    """
    dsn = postgres_url(settings)
    if dsn is not None:
        async with open_database(dsn, size=2) as database:
            yield database
        return
    if not new:
        need_embedded(settings)
    async with join_embedded(settings.data_dir) as joined:
        async with open_database(joined, size=2) as database:
            yield database


def need_embedded(settings: Settings) -> None:
    """Raises CannotStart where the data directory holds no database."""
    if not (settings.data_dir / "postgres" / "data" / "PG_VERSION").exists():
        raise CannotStart(f"There is no database in {settings.data_dir}; is DATA_DIR right?")


async def _prepare(connection: Connection) -> None:
    await connection.execute(SESSION)


async def _reach(database: Database) -> None:
    reason = ""
    with trio.move_on_after(PATIENCE):
        while True:
            try:
                await ping(database)
            except StorageRefused as refused:
                raise CannotStart(f"PostgreSQL does not let us in: {_line(refused)}") from refused
            except StorageUnavailable as away:
                reason = _line(away)
                await trio.sleep(1)
            else:
                return
    raise CannotStart(f"PostgreSQL cannot be reached within {PATIENCE:g} s: {reason}. Is DATABASE_URL right?")


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def secret_of(settings: Settings) -> str:
    """SESSION_SECRET, or the one that is kept in the data directory: made where there is none."""
    return present_secret(settings) or data_dir.session_secret(Path(settings.data_dir))


def present_secret(settings: Settings) -> str | None:
    """As `secret_of`, but None where it would have to be made."""
    if settings.session_secret is not None:
        return settings.session_secret.get_secret_value()
    return data_dir.kept_secret(Path(settings.data_dir))


OTHER_SECRET = (
    "SESSION_SECRET differs from the one that this database is used with (where it is not set, it lies in "
    "DATA_DIR/session-secret). All daemons on one database share one secret: put the old one back; where it is lost, "
    "cueapid accept-secret goes on with the new one."
)


async def check_secret(database: Database, vault: Vault) -> None:
    """Raises CannotStart where the database is used under another secret."""
    if await accounts.fingerprint(database, vault.fingerprint) != vault.fingerprint:
        raise CannotStart(OTHER_SECRET)
