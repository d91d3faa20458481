"""What the siblings depend on: opened before them, closed after them in reverse order."""

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager

import structlog
import trio
from attrs import define, frozen

from cueapi.api.http.listening import bind
from cueapi.daemon.secret import CannotStart, check_secret, secret_of
from cueapi.delivery.webhook import Webhook
from cueapi.delivery.zone_changes import follow_zones
from cueapi.embedded_postgres.errors import Owner
from cueapi.embedded_postgres.server import EmbeddedServer, join_embedded, open_embedded
from cueapi.net import redis
from cueapi.net.dns import THREADS, Resolver
from cueapi.net.redis import Redis, RedisMisnamed
from cueapi.security.sessions import Sessions
from cueapi.security.vault import Vault
from cueapi.settings import Settings, postgres_url
from cueapi.storage.clock import Clock
from cueapi.storage.database import Database, StorageRefused, StorageUnavailable
from cueapi.storage.health import ping
from cueapi.storage.schema import migrate
from cueapi.trio_asyncpg.connection import Connection
from cueapi.trio_asyncpg.pool import open_pool
from cueapi.wakeups.identity import DaemonId


@frozen
class Resources:
    """Everything that is open for as long as the daemon runs."""

    settings: Settings
    vault: Vault
    sessions: Sessions
    listener: socket.socket
    dsn: str
    embedded: EmbeddedServer | None
    database: Database
    webhook: Webhook
    identity: DaemonId
    clock: Clock
    redis: Redis | None = None

    @property
    def address(self) -> str:
        """How the server is reached."""
        return self.settings.url_at(self.listener.getsockname()[1])


@asynccontextmanager
async def open_resources(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Resources]:
    """Open everything that the siblings depend on. It closes in reverse order. *clock* is measured here, at first."""
    clock = clock or Clock()
    secret = secret_of(settings)
    vault, sessions = Vault.of(secret), Sessions.of(secret)
    with closing(bind(settings.host, settings.port)) as listener:
        port = listener.getsockname()[1]
        identity = DaemonId(f"{socket.gethostname()}:{settings.host}:{port}")
        async with open_server(settings) as (dsn, embedded):
            async with open_database(dsn, size=settings.database_pool_size) as database:
                await migrate(database)
                await check_secret(database, vault)
                await clock.ask(database)
                await follow_zones(database)
                resolver = Resolver(threads=max(THREADS, settings.dispatch_concurrency))
                webhook = Webhook(settings.rules_at(port), resolver, clock=clock)
                with webhook, open_redis(settings, vault) as redis:
                    yield Resources(
                        settings, vault, sessions, listener, dsn, embedded, database, webhook, identity, clock, redis
                    )


OWNER = Owner("cueapi", create_command="cueapid migrate")
"""Whose the embedded PostgreSQL is."""

PATIENCE = 30.0
"""Seconds for which a start waits for PostgreSQL."""

FIRST_WORD = 1.0
"""Seconds of waiting after which a start says so."""

ACQUIRE_PATIENCE = 10.0
"""Seconds for which a statement waits for a connection."""


# Set in each new session, not as start-up parameters: poolers refuse parameters that they do not know. On solid-state
# disks a random page costs little more than the next one. The rest pins what statements rely on, whatever the role or
# the database has been given: our own deadlines, and what one statement sees of the others.
SESSION = """
set jit = off;
set random_page_cost = 1.1;
set lock_timeout = 0;
set statement_timeout = 0;
set idle_in_transaction_session_timeout = 0;
set default_transaction_isolation = 'read committed';
set default_transaction_deferrable = off;
set standard_conforming_strings = on;
set bytea_output = 'hex';
set datestyle = 'ISO';
set timezone = 'UTC'
"""

log = structlog.get_logger("cueapi.daemon")


@asynccontextmanager
async def open_server(settings: Settings) -> AsyncIterator[tuple[str, EmbeddedServer | None]]:
    """The DSN to serve on, and the embedded server where that is what it leads to."""
    dsn = postgres_url(settings)
    if dsn is not None:
        yield dsn, None
        return
    async with open_embedded(settings.data_dir, owner=OWNER) as embedded:
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
        # Daemons with one secret share their keys, and no one else who uses this Redis.
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
    async with join_embedded(settings.data_dir, owner=OWNER) as joined:
        async with open_database(joined, size=2) as database:
            yield database


def need_embedded(settings: Settings) -> None:
    """Raises CannotStart where the data directory holds no database."""
    if not (settings.data_dir / "postgres" / "data" / "PG_VERSION").exists():
        raise CannotStart(f"There is no database in {settings.data_dir}; is DATA_DIR right?")


async def _prepare(connection: Connection) -> None:
    await connection.execute(SESSION)


async def _reach(database: Database) -> None:
    """Return when the database answers. A start that waits for longer than a second says what for."""
    waiting = _Waiting(database)
    with trio.move_on_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiting.report, name="start: report what is waited for")
            await waiting.until_answered()
            nursery.cancel_scope.cancel(reason="PostgreSQL has answered")
        if waiting.refusal is not None:
            raise CannotStart(f"PostgreSQL refused the connection: {_line(waiting.refusal)}") from waiting.refusal
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


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
