"""
PostgreSQL is there and refuses, in one way after the other, under load: requests are put off, siblings wait, nothing is
lost or repeated, and the daemon neither ends nor restarts a sibling.
"""

import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import trio
from attrs import frozen

from cueapi.trio_asyncpg.connection import close, connect
from tests.chaos.faults import AUDITOR, CUT, cut_all
from tests.chaos.load import PUT_OFF
from tests.chaos.scene import Scene, open_scene, some_time
from tests.conftest import in_database, say
from tests.process import HANG
from tests.storage.own_postgres import OwnPostgres

_numbers = count()


@frozen
class Tenant:
    """A database that belongs to a role of its own, which is no superuser: limits and privileges count for it."""

    name: str
    dsn: str
    superuser_dsn: str
    server_dsn: str


@pytest.fixture
def tenant(own_server: OwnPostgres) -> Iterator[Tenant]:
    """An empty database, and the only role that uses it."""
    name = f"tenant_{next(_numbers)}"
    owner = urlsplit(in_database(own_server.dsn, name))._replace(netloc=f"{name}:secret@127.0.0.1:{own_server.port}")
    say(own_server.dsn, f"create role {name} login password 'secret'", f"create database {name} owner {name}")
    yield Tenant(name, owner.geturl(), in_database(own_server.dsn, name), own_server.dsn)
    say(own_server.dsn, f"drop database {name} with (force)", f"drop role {name}")


ALTERED = {
    "read-only": (
        "alter database {0} set default_transaction_read_only = on",
        "alter database {0} reset default_transaction_read_only",
    ),
    "a database without connections": (
        "alter database {0} allow_connections false",
        "alter database {0} allow_connections true",
    ),
    "a database with too few connections": (
        "alter database {0} connection limit 0",
        "alter database {0} connection limit -1",
    ),
    "a role with too few connections": ("alter role {0} connection limit 0", "alter role {0} connection limit -1"),
    "a role that may not log in": ("alter role {0} nologin", "alter role {0} login"),
    "another password": ("alter role {0} password 'another'", "alter role {0} password 'secret'"),
    "no privileges": (
        "revoke all on all tables in schema public from {0}",
        "grant all on all tables in schema public to {0}",
    ),
    "a table that is away": ("alter table executions rename to away", "alter table away rename to executions"),
}

Fault = Callable[[Scene], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def altered(tenant: Tenant, broken: str, mended: str, scene: Scene) -> AsyncIterator[None]:
    """For the length of the block, and for connections that are made in it, the server is as *broken* makes it."""

    async def alter(statement: str) -> None:
        # A database cannot be closed from within.
        connection = await connect(tenant.server_dsn if "database" in statement else tenant.superuser_dsn)
        await connection.execute(statement.format(tenant.name))
        await close(connection)

    # Made before: a database that takes no connections any more would not take this one.
    inside = await connect(tenant.superuser_dsn)
    await alter(broken)
    await inside.fetch(CUT, AUDITOR)
    await close(inside)
    try:
        yield
    finally:
        await alter(mended)
        await cut_all(scene.database)


CANCEL_WAITING = """
select pg_cancel_backend(pid) from pg_stat_activity
 where datname = current_database() and application_name = 'cueapi' and wait_event_type = 'Lock'
"""


@asynccontextmanager
async def locked(scene: Scene) -> AsyncIterator[None]:
    """For the length of the block a table is locked, and what waits for it is cancelled."""

    async def cancel() -> None:
        while True:
            await scene.database.fetch(CANCEL_WAITING)
            await trio.sleep(0.05)

    async with scene.database.transaction() as db, trio.open_nursery() as nursery:
        await db.execute("lock table executions in access exclusive mode")
        nursery.start_soon(cancel)
        yield
        nursery.cancel_scope.cancel()


CUT_DAEMON = """
select pg_terminate_backend(pid) from pg_stat_activity
 where datname = current_database() and application_name = 'cueapi'
"""


@asynccontextmanager
async def exhausted(tenant: Tenant, scene: Scene) -> AsyncIterator[None]:
    """For the length of the block others have all connections that the server allows."""
    async with AsyncExitStack() as others:

        async def take_all() -> None:
            while True:
                try:
                    connection = await connect(tenant.dsn)
                except asyncpg.TooManyConnectionsError:
                    return
                others.push_async_callback(close, connection)

        await take_all()
        for _ in range(3):
            await scene.database.fetch(CUT_DAEMON)
            await take_all()
        yield


async def put_off(scene: Scene) -> None:
    """Return when a request was put off that is sent from now on."""
    refused = scene.load.ledger.refused
    before = refused[PUT_OFF]
    while refused[PUT_OFF] == before:
        await trio.sleep(0.01)


async def play(tenant: Tenant, home: Path, faults: list[Fault]) -> Scene:
    """Each fault, in a random order, until a request was put off; then the daemon must be healthy again."""
    with trio.fail_after(HANG):
        async with open_scene(home, tenant.dsn, auditor_dsn=tenant.superuser_dsn) as scene:
            for fault in random.sample(faults, len(faults)):
                await some_time(0.5)
                async with fault(scene):
                    await put_off(scene)
                    await some_time(0.5)
                await scene.daemon.healthy()
    return scene


@pytest.mark.parametrize("half", [0, 1])
async def test_what_an_operator_has_taken_away_under_load_is_waited_for(
    tenant: Tenant, tmp_path: Path, half: int
) -> None:
    chosen = list(ALTERED.values())[half::2]
    scene = await play(tenant, tmp_path, [partial(altered, tenant, *change) for change in chosen])

    assert scene.broken == []
    assert scene.load.ledger.refused.keys() <= {PUT_OFF}
    assert (scene.restarts, scene.code) == (0, 0)


async def test_a_lock_and_a_lack_of_connections_under_load_are_waited_for(tenant: Tenant, tmp_path: Path) -> None:
    scene = await play(tenant, tmp_path, [locked, partial(exhausted, tenant)])

    assert scene.broken == []
    assert scene.load.ledger.refused.keys() <= {PUT_OFF}
    assert (scene.restarts, scene.code) == (0, 0)


SETTINGS = {
    "lock_timeout": "2s",
    "statement_timeout": "2s",
    "idle_in_transaction_session_timeout": "2s",
    "idle_session_timeout": "2s",
    "transaction_timeout": "2s",
    "default_transaction_isolation": "serializable",
    "timezone": "Asia/Tokyo",
    "datestyle": "SQL, DMY",
}


async def test_under_load_nothing_is_refused_for_the_settings_of_the_role(
    own_server: OwnPostgres, tenant: Tenant, tmp_path: Path
) -> None:
    settings = [f"alter role {tenant.name} set {name} = '{value}'" for name, value in SETTINGS.items()]
    await trio.to_thread.run_sync(say, own_server.dsn, *settings)

    with trio.fail_after(HANG):
        async with open_scene(tmp_path, tenant.dsn, auditor_dsn=tenant.superuser_dsn) as scene:
            await some_time()
            async with scene.database.transaction() as db:
                await db.execute("lock table executions in access exclusive mode")
                # For longer than the role allows.
                await trio.sleep(2.2)
            await some_time()

    assert scene.broken == []
    assert not scene.load.ledger.refused
    assert (scene.restarts, scene.code) == (0, 0)
