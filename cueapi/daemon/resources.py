"""What the siblings depend on: opened before them, closed after them in reverse order."""

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from functools import partial
from urllib.parse import urlsplit

from attrs import frozen

from cueapi.api.http.listening import bind
from cueapi.daemon.postgres import make_ready, open_database, when_able
from cueapi.daemon.secret import CannotStart, check_secret, secret_of
from cueapi.delivery.webhook import Webhook
from cueapi.delivery.zone_changes import follow_zones
from cueapi.embedded_postgres.errors import Owner
from cueapi.embedded_postgres.server import EmbeddedServer, join_embedded, open_embedded
from cueapi.net import redis
from cueapi.net.dns import THREADS, Resolver
from cueapi.net.redis import Redis, RedisMisnamed
from cueapi.security.report_tokens import ReportTokens
from cueapi.security.sessions import Sessions
from cueapi.security.vault import Vault
from cueapi.settings import Settings, postgres_url
from cueapi.storage.clock import Clock
from cueapi.storage.database import Database
from cueapi.trio_asyncpg.pool import Pool
from cueapi.wakeups.identity import DaemonId

ENGINE_CONNECTIONS = 5
"""Poller, dispatcher, recorder and announcements say one statement at a time; what deliveries ask shares the rest."""


@frozen
class Resources:
    """Everything that is open for as long as the daemon runs."""

    settings: Settings
    vault: Vault
    sessions: Sessions
    reports: ReportTokens
    listener: socket.socket
    dsn: str
    embedded: EmbeddedServer | None
    database: Database
    engine: Database
    """The same, by connections for what fires, claims, sends, records and announces: no client's request has them."""

    webhook: Webhook
    identity: DaemonId
    clock: Clock
    redis: Redis | None = None

    @property
    def address(self) -> str:
        """How the server is reached."""
        return self.settings.url_at(self.listener.getsockname()[1])

    @property
    def pools(self) -> tuple[Pool, Pool]:
        """Its connections to PostgreSQL."""
        return self.database.pool, self.engine.pool

    @property
    def root(self) -> str:
        """The path below which it is reached, without a slash at its end; empty where there is none."""
        return urlsplit(self.address).path.rstrip("/")


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
            async with (
                open_database(dsn, size=settings.database_pool_size) as database,
                open_database(dsn, size=ENGINE_CONNECTIONS, repeats=True) as engine,
            ):
                await when_able(partial(make_ready, dsn, database))
                await when_able(partial(check_secret, database, vault))
                await when_able(partial(clock.ask, database))
                await when_able(partial(follow_zones, database))
                resolver = Resolver(threads=max(THREADS, settings.dispatch_concurrency))
                webhook = Webhook(settings.rules_at(port), resolver, clock=clock)
                reports = ReportTokens.of(secret, settings.url_at(port))
                with webhook, open_redis(settings, vault) as redis:
                    yield Resources(
                        settings, vault, sessions, reports, listener, dsn, embedded, database, engine, webhook,
                        identity, clock, redis,
                    )  # fmt: skip


OWNER = Owner("cueapi", create_command="cueapid migrate")
"""Whose the embedded PostgreSQL is."""


@asynccontextmanager
async def open_server(settings: Settings) -> AsyncIterator[tuple[str, EmbeddedServer | None]]:
    """The DSN to serve on, and the embedded server where that is what it leads to."""
    dsn = postgres_url(settings)
    if dsn is not None:
        yield dsn, None
        return
    async with open_embedded(settings.data_dir, owner=OWNER) as embedded:
        yield embedded.dsn, embedded


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
    """The database for a command. Raises CannotStart as `server_for_command` does."""
    async with server_for_command(settings, new=new) as dsn, open_database(dsn, size=2) as database:
        yield database


@asynccontextmanager
async def server_for_command(settings: Settings, *, new: bool = False) -> AsyncIterator[str]:
    """
    The DSN for a command: a running embedded server is joined, else it is started and stopped again.

    Raises CannotStart where there is no embedded database yet, and it may not be a *new* one.
    """
    dsn = postgres_url(settings)
    if dsn is not None:
        yield dsn
        return
    if not new:
        need_embedded(settings)
    async with join_embedded(settings.data_dir, owner=OWNER) as joined:
        yield joined


def need_embedded(settings: Settings) -> None:
    """Raises CannotStart where the data directory holds no database."""
    if not (settings.data_dir / "postgres" / "data" / "PG_VERSION").exists():
        raise CannotStart(f"There is no database in {settings.data_dir}; is DATA_DIR right?")
