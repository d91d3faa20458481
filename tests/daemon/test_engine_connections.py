"""What fires, claims and records has connections of its own."""

from pathlib import Path

import pytest
import trio

from cueapi.daemon.postgres import open_database
from cueapi.settings import Settings
from cueapi.storage.database import Database, Row, open_listener
from cueapi.storage.notify import CHANNEL
from cueapi.storage.transitions import apply_transitions
from tests.api.events import follow
from tests.conftest import cue, running
from tests.moments import BEYOND, make_due
from tests.process import HANG, daemon_process
from tests.receiver import open_receiver

PLANNED = "select generic_plans, custom_plans from pg_prepared_statements where statement like 'with transitions as%'"
WAITING = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


class Planned(Row):
    """How often a statement of this session was planned for any values, and for its own."""

    generic_plans: int
    custom_plans: int


async def test_a_statement_of_theirs_is_planned_for_any_values_from_its_first_use_on(
    database_url: str, database: Database
) -> None:
    async with open_database(database_url, size=1, repeats=True) as engine:
        for _ in range(3):
            await apply_transitions(engine, [])
        planned = await engine.fetch(PLANNED, row=Planned)

    assert [(one.generic_plans, one.custom_plans) for one in planned] == [(3, 0)]


async def test_what_is_due_is_done_while_requests_hold_every_other_connection(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    with trio.fail_after(HANG):
        async with open_receiver() as receiver:
            async with daemon_process(tmp_path, DATABASE_URL=database_url, DATABASE_POOL_SIZE=2) as daemon:
                api = await daemon.api.register()
                made = await api.post("/v1/cues", cue(receiver.url(), schedule=BEYOND))
                async with database.transaction() as tx, trio.open_nursery() as nursery:
                    # Each request for the operations waits for this lock, and its connection with it.
                    await tx.execute("lock table operations in access exclusive mode")
                    for _ in range(4):
                        nursery.start_soon(api.ask, "GET", "/v1/operations")
                    while len(await database.fetch(WAITING)) < 2:
                        await trio.sleep(0.02)
                    await make_due(database, made["id"])
                    await receiver.wait_for(1)
                    while not await database.fetch("select from executions where status = 'success'"):
                        await trio.sleep(0.02)
                    waiting = await database.fetch(WAITING)
                    nursery.cancel_scope.cancel()

    assert len(waiting) == 2


async def test_what_waits_is_confirmed_and_other_daemons_are_told_while_requests_hold_every_other_connection(
    settings: Settings, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cueapi.daemon.postgres.ACQUIRE_PATIENCE", 0.5)
    monkeypatch.setattr("cueapi.delivery.claims.HOLD_SEEN_WITHIN", 0.0)  # as if each delivery had waited for its host
    small = settings.model_copy(update={"database_pool_size": 2})
    with trio.fail_after(HANG):
        async with (
            open_receiver() as receiver,
            running(small) as daemon,
            open_listener(database_url, CHANNEL, heartbeat=HANG) as (listener, _),
        ):
            api = await daemon.api.register()
            made = await api.post("/v1/cues", cue(receiver.url(), schedule=BEYOND))
            async with (
                follow(daemon.client, "/v1/events", Authorization=f"Bearer {api.key}"),
                database.transaction(patience=HANG) as tx,
                trio.open_nursery() as nursery,
            ):
                await tx.execute("lock table operations in access exclusive mode")
                for _ in range(4):
                    nursery.start_soon(api.ask, "GET", "/v1/operations")
                while len(await database.fetch(WAITING)) < 2:
                    await trio.sleep(0.02)
                number = daemon.resources.identity.number
                await make_due(database, made["id"])
                await receiver.wait_for(1)
                # Every two seconds the others are told that a program watches the account.
                told = 0
                while told < 3:
                    notification = await listener.next()
                    told += notification is not None and f"{number} watch:" in notification.payload
                waiting = await database.fetch(WAITING)
                lock_held = daemon.resources.identity.lock_held
                nursery.cancel_scope.cancel()

    assert len(waiting) == 2
    assert (daemon.resources.identity.number, lock_held) == (number, True)
