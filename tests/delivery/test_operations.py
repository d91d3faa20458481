"""Operations as a daemon works on them: whatever interrupts a batch, none is skipped and none is done twice."""

import random
from uuid import UUID

import pytest
import trio

from cueapi.delivery.bulk_works import works
from cueapi.delivery.operations import Operations
from cueapi.domain.audit import SYSTEM
from cueapi.domain.bulk import AT_ONCE, Kind
from cueapi.domain.ids import new_uuid7
from cueapi.metrics import Metrics
from cueapi.storage import budgets, fires, holds, operations
from cueapi.storage.database import Database
from cueapi.storage.fires import ManualFire
from cueapi.storage.holds import HoldRequest
from cueapi.storage.operations import NewOperation, OperationRow
from tests.delivery.siblings import alive, quiet_hub, until
from tests.storage.rows import MONTHLY, add_cue, add_execution, add_user, ago, wait_for_locks


def sibling(database: Database) -> Operations:
    return Operations(database, quiet_hub(), works(MONTHLY), Metrics())


async def begin(database: Database, user: int, kind: Kind, matched: int, *, rate: int = 1000) -> UUID:
    """An operation on everything in the group `a`."""
    new = NewOperation(user, kind, {"filter": {"group": "a"}}, rate, SYSTEM, matched)
    return (await operations.add(database, new)).id


async def find(database: Database, user: int, operation: UUID) -> OperationRow:
    row = await operations.show(database, operation, user=user)
    assert row is not None
    return row


async def add_dead(database: Database, user: int, number: int) -> None:
    """So many dead letters of three cues."""
    for _ in range(3):
        cue_id = await add_cue(database, user, group_name="a")
        await database.execute(
            "insert into executions (id, cue_id, user_id, transport, triggered_by, scheduled_for, status, ready_at,"
            "                        finished_at, payload, dead_at, created_at)"
            " select gen_random_uuid(), id, user_id, transport, 'manual_fire', now(), 'failed', now(), now(), '{}',"
            "        now(), now() - interval '1 minute' from cues, generate_series(1, $2::int) where id = $1",
            cue_id, number // 3,
        )  # fmt: skip


async def test_twenty_interruptions_neither_skip_nor_repeat_one(database: Database) -> None:
    with trio.fail_after(120):
        user = await add_user(database)
        await add_dead(database, user, 600)
        operation = await begin(database, user, Kind.REPLAY, 600)
        chance = random.Random(7)
        for _ in range(20):
            with trio.move_on_after(chance.uniform(0.001, 0.08)):
                async with alive(sibling(database).run):
                    await trio.sleep_forever()
            row = await find(database, user, operation)
            made = await database.fetch("select count(*) as made from operation_executions")
            assert made[0]["made"] == row.progress.worked
        async with alive(sibling(database).run):
            await until(lambda: _has_ended(database, user, operation))
        row = await find(database, user, operation)
        replays = await database.fetch(
            "select count(*) as made, count(distinct replayed_from) as origins from executions"
            " where triggered_by = 'replay'"
        )

    assert (row.status, row.matched, row.done, row.progress.skipped, row.failed) == ("done", 600, 600, {}, 0)
    assert (replays[0]["made"], replays[0]["origins"]) == (600, 600)


async def _has_ended(database: Database, user: int, operation: UUID) -> bool:
    return (await find(database, user, operation)).finished_at is not None


async def test_two_daemons_share_an_operation_and_do_each_once(database: Database) -> None:
    with trio.fail_after(120):
        user = await add_user(database)
        await add_dead(database, user, 600)
        operation = await begin(database, user, Kind.REPLAY, 600)
        async with alive(sibling(database).run, sibling(database).run):
            await until(lambda: _has_ended(database, user, operation))
        row = await find(database, user, operation)
        made = await database.fetch("select count(*) as made from executions where triggered_by = 'replay'")

    assert (row.done, made[0]["made"]) == (600, 600)


async def test_two_operations_at_once_replay_each_once(database: Database) -> None:
    with trio.fail_after(120):
        user = await add_user(database)
        await add_dead(database, user, 300)
        both = [await begin(database, user, Kind.REPLAY, 300) for _ in range(2)]
        async with alive(sibling(database).run, sibling(database).run):
            for operation in both:
                await until(lambda operation=operation: _has_ended(database, user, operation))
        rows = [await find(database, user, operation) for operation in both]
        made = await database.fetch("select count(*) as made from executions where triggered_by = 'replay'")

    assert made[0]["made"] == 300
    assert sum(row.done for row in rows) == sum(row.progress.skipped.get("in_flight", 0) for row in rows) == 300


async def test_what_cannot_be_stored_is_counted_as_failed_and_the_others_are_done(database: Database) -> None:
    with trio.fail_after(60):
        user = await add_user(database)
        await add_dead(database, user, 30)
        broken = await add_cue(database, user, group_name="a", fired_count=2**63 - 1)
        for _ in range(2):
            await add_execution(
                database, broken, status="failed", finished_at=ago(), dead_at=ago(), created_at=ago(minutes=1)
            )
        operation = await begin(database, user, Kind.REPLAY, 32)
        async with alive(sibling(database).run):
            await until(lambda: _has_ended(database, user, operation))
        row = await find(database, user, operation)

    assert (row.status, row.done, row.failed, row.progress.skipped) == ("done", 30, 2, {})


async def test_one_that_is_cancelled_while_a_batch_runs_has_done_that_batch_and_no_more(database: Database) -> None:
    with trio.fail_after(60):
        user = await add_user(database)
        await add_dead(database, user, 300)
        operation = await begin(database, user, Kind.DISMISS, 300)
        async with trio.open_nursery() as nursery:
            async with database.transaction() as tx:
                await tx.fetch("select id from executions for update")
                await nursery.start(sibling(database).run)
                await wait_for_locks(database)
                nursery.start_soon(cancel, database, user, operation)
                await wait_for_locks(database, 2)
            await until(lambda: _has_ended(database, user, operation))
            nursery.cancel_scope.cancel()
        row = await find(database, user, operation)
        (left,) = await database.fetch("select count(*) as dead from executions where dead_at is not null")

    assert (row.status, row.failed) == ("cancelled", 0)
    assert 0 < row.done == 300 - left["dead"] <= 100
    assert row.progress.skipped == {"cancelled": 300 - row.done}


async def cancel(database: Database, user: int, operation: UUID) -> None:
    async with database.transaction() as tx:
        assert await operations.cancel(tx, operation, user=user, act=SYSTEM)


async def test_an_operation_keeps_to_its_rate(database: Database) -> None:
    with trio.fail_after(60):
        user = await add_user(database)
        await add_dead(database, user, 12)
        operation = await begin(database, user, Kind.DISMISS, 12, rate=8)
        async with alive(sibling(database).run):
            await until(lambda: _has_ended(database, user, operation))
        row = await find(database, user, operation)

    assert row.started_at is not None
    assert row.finished_at is not None
    # One second may be caught up with at the beginning.
    assert (row.finished_at - row.started_at).total_seconds() >= 0.2


async def test_an_operation_goes_on_when_the_clock_was_set_back(database: Database) -> None:
    with trio.fail_after(60):
        user = await add_user(database)
        await add_dead(database, user, 12)
        operation = await begin(database, user, Kind.DISMISS, 12)
        await database.execute(
            "update operations set status = 'running', started_at = now(), next_at = $1", ago(hours=-1)
        )
        async with alive(sibling(database).run):
            await until(lambda: _has_ended(database, user, operation))
        row = await find(database, user, operation)

    assert row.done == 12


async def test_replays_that_a_hold_puts_off_leave_their_places_to_others_and_go_on_at_the_release(
    database: Database,
) -> None:
    with trio.fail_after(60):
        user = await add_user(database)
        await add_dead(database, user, 600)
        replays = [await begin(database, user, Kind.REPLAY, 600, rate=1) for _ in range(AT_ONCE)]

        async def rows() -> list[OperationRow]:
            return [await find(database, user, one) for one in replays]

        async def all_run() -> bool:
            return all(row.status == "running" for row in await rows())

        async with alive(sibling(database).run):
            await until(all_run)
            before = await rows()
            await holds.put(database, user=user, hold=HoldRequest("fires"), act=SYSTEM)
            pause = await begin(database, user, Kind.PAUSE, 3)
            await until(lambda: _has_ended(database, user, pause))
            await holds.release(database, [user], SYSTEM)
            await until(all_run)
            after = await rows()

    assert [row.started_at for row in after] == [row.started_at for row in before]
    assert all(now.done >= then.done for now, then in zip(after, before, strict=True))


async def test_replays_and_fires_under_one_budget_never_wait_for_each_other_for_ever(database: Database) -> None:
    with trio.fail_after(120):
        user = await add_user(database)
        await add_dead(database, user, 300)
        cues = [row["id"] for row in await database.fetch("select id from cues order by id")]
        budget = {"per": "month", "max_runs": 10**6, "max_cost": None, "on_limit": "skip", "warn_at": 1.0}
        await budgets.put(database, user=user, scope="account", budget=budget, act=SYSTEM)
        operation = await begin(database, user, Kind.REPLAY, 300)

        async def fire_again_and_again(cue_id: str) -> None:
            while (await find(database, user, operation)).status != "done":
                manual_fire = ManualFire(new_uuid7())
                await fires.fire(database, cue_id=cue_id, user=user, manual_fire=manual_fire, monthly=10**9)

        async with alive(sibling(database).run), trio.open_nursery() as nursery:
            for cue_id in cues:
                nursery.start_soon(fire_again_and_again, cue_id)

    (row,) = await database.fetch("select deadlocks from pg_stat_database where datname = current_database()")
    assert row["deadlocks"] == 0


@pytest.mark.parametrize("kind", [Kind.PAUSE, Kind.DELETE])
async def test_the_notifier_is_woken_by_what_ends_incidents(database: Database, kind: Kind) -> None:
    with trio.fail_after(60):
        user = await add_user(database)
        await add_cue(database, user, group_name="a")
        operation = await begin(database, user, kind, 1)
        working = sibling(database)
        await working.hub.notifications.wait()  # Its first turn.
        async with alive(working.run):
            await until(lambda: _has_ended(database, user, operation))
            await working.hub.notifications.wait()
