"""A hold in the statements that fire and claim: nothing begins, and at the release nothing is lost."""

from datetime import timedelta

import pytest
import trio

from cueapi.domain.audit import OPERATOR
from cueapi.domain.catchup import FiringPlan, Occurrence
from cueapi.domain.ids import new_uuid7
from cueapi.storage import daemons, fires, health, holds, outbox, target_waits, worker_claims
from cueapi.storage.database import Database, StorageRefused
from cueapi.storage.due_cues import DueCue, due, fire_due
from cueapi.storage.fires import ManualFire
from cueapi.storage.holds import HoldRequest
from tests.storage.rows import (
    MONTHLY,
    ONCE,
    add_cue,
    add_execution,
    add_user,
    ago,
    claim,
    claim_as_worker,
    look_up,
    look_up_cue,
    wait_for_locks,
)

MINUTE = timedelta(minutes=1)


async def hold(database: Database, user: int, mode: str = "fires", **fields: object) -> None:
    await holds.put(database, user=user, hold=HoldRequest(mode, **fields), act=OPERATOR)  # type: ignore[arg-type]


async def release(database: Database, user: int) -> None:
    assert await holds.release(database, [user], OPERATOR) == [user]


async def fire_all(database: Database) -> int:
    """Fire what is due, as a poll does that knows of one time of each cue; how many executions that made."""
    rows = await due(database, 500)
    moves = [
        DueCue(row.id, row.next_run, row.revision,
               FiringPlan((Occurrence(row.next_run),), None, row.next_run + 5 * MINUTE if row.cron else None))
        for row in rows
    ]  # fmt: skip
    return (await fire_due(database, moves, MONTHLY)).fired


async def send_at(database: Database, cue_id: str, user: int, *, forced: bool = False) -> object:
    """Asked for at a time ahead, which has come meanwhile."""
    manual_fire = ManualFire(new_uuid7(), at=ago(seconds=-3600), forced=forced)
    made = await fires.fire(database, cue_id=cue_id, user=user, manual_fire=manual_fire, monthly=10**9)
    moment = ago(seconds=1)
    await database.execute("update executions set scheduled_for = $2, ready_at = $2 where id = $1", made.id, moment)
    await database.execute("update outbox set ready_at = $2 where execution_id = $1", made.id, moment)
    return made.id


async def test_the_time_of_a_recurring_cue_is_gone_while_its_account_is_held(database: Database) -> None:
    user, other = await add_user(database), await add_user(database)
    at = ago(seconds=5)
    cue_id = await add_cue(database, user, cron="*/5 * * * *", next_run=at)
    await add_cue(database, other, next_run=at)
    await hold(database, user)

    fired = await fire_all(database)
    await release(database, user)
    again = await fire_all(database)

    cue = await look_up_cue(database, cue_id)
    assert (fired, again) == (1, 0)
    assert (cue["held_count"], cue["fired_count"], cue["next_run"]) == (1, 0, at + 5 * MINUTE)


async def test_all_times_for_which_a_firing_stands_are_counted(database: Database) -> None:
    user = await add_user(database)
    at = ago(minutes=10)
    cue_id = await add_cue(database, user, next_run=at)
    await hold(database, user)

    plan = FiringPlan((Occurrence(at, 3), Occurrence(at + MINUTE)), Occurrence(at - MINUTE, 1), ago(minutes=-5))
    await fire_due(database, [DueCue(cue_id, at, 0, plan, late=True)], MONTHLY)

    assert (await look_up_cue(database, cue_id))["held_count"] == 7
    assert await database.fetch("select from executions union all select from alerts") == []


async def test_a_one_time_cue_is_parked_and_fires_late_at_the_release(database: Database) -> None:
    user = await add_user(database)
    at = ago(seconds=5)
    cue_id = await add_cue(database, user, **ONCE, next_run=at)
    await hold(database, user, "everything")

    assert await fire_all(database) == 0
    parked = await look_up_cue(database, cue_id)
    assert await fire_all(database) == 0
    await release(database, user)
    assert await fire_all(database) == 1

    (execution,) = await database.fetch("select * from executions")
    fired = await look_up_cue(database, cue_id)
    assert (parked["next_run"], parked["parked_run"], parked["status"], parked["held_count"]) == (None, at, "active", 0)
    assert (execution["scheduled_for"], execution["late"]) == (at, True)
    assert (fired["parked_run"], fired["fired_count"], fired["status"]) == (None, 1, "active")


async def test_what_was_parked_by_two_holds_in_a_row_is_late_all_the_same(database: Database) -> None:
    user = await add_user(database)
    await add_cue(database, user, **ONCE, next_run=ago(seconds=5))
    for _ in range(2):
        await hold(database, user)
        assert await fire_all(database) == 0
        await release(database, user)

    assert await fire_all(database) == 1
    assert [row["late"] for row in await database.fetch("select late from executions")] == [True]


async def test_times_of_a_hold_are_not_caught_up_with_where_no_daemon_ran_in_it(database: Database) -> None:
    user = await add_user(database)
    before, within = ago(minutes=30), ago(minutes=10)
    early, late = [await add_cue(database, user, cron="* * * * *", next_run=at) for at in (before, within)]
    once = await add_cue(database, user, **ONCE, next_run=within)
    await hold(database, user)
    await database.execute("update holds set since = $1", ago(minutes=20))
    await release(database, user)

    assert await fire_all(database) == 2

    rows = await database.fetch("select cue_id, late from executions")
    assert {row["cue_id"]: row["late"] for row in rows} == {early: False, once: True}
    assert (await look_up_cue(database, late))["held_count"] == 1


async def test_a_release_waits_for_a_firing_that_has_seen_the_hold(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, **ONCE, next_run=ago(seconds=5))
    await hold(database, user)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            async with database.transaction() as tx:
                row = await tx.fetch_one("select id, next_run, revision from cues")
                plan = FiringPlan((Occurrence(row["next_run"]),), None, None)
                await fire_due(tx, [DueCue(cue_id, row["next_run"], 0, plan)], MONTHLY)
                nursery.start_soon(release, database, user)
                await wait_for_locks(database)

    assert await fire_all(database) == 1


async def test_a_firing_that_meets_the_end_of_a_hold_catches_nothing_up_with(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, next_run=ago(minutes=1))
    await hold(database, user)
    await database.execute("update holds set since = now() - interval '1 hour'")

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            async with database.transaction() as tx:
                await tx.fetch(holds.END, [user], OPERATOR.text(), row=holds.EndedHold)
                nursery.start_soon(fire_all, database)
                await wait_for_locks(database)

    assert await database.fetch("select from executions") == []
    assert (await look_up_cue(database, cue_id))["held_count"] == 1


async def test_what_waits_for_a_target_waits_as_much_longer_as_everything_was_held(database: Database) -> None:
    user, other = await add_user(database), await add_user(database)
    held, free = [await add_execution(database, await add_cue(database, one)) for one in (user, other)]
    await hold(database, user, "everything")
    await database.execute("update holds set since = now() - interval '1 hour'")
    await database.execute("update outbox set waits_until = now() - interval '10 minutes'")
    before = await target_waits.overdue(database, 10)

    await release(database, user)

    assert before == await target_waits.overdue(database, 10) == [free]
    assert held != free


async def test_what_was_asked_for_at_a_later_time_waits_for_the_release(database: Database) -> None:
    user = await add_user(database)
    webhook, worker = await add_cue(database, user), await add_cue(database, user, transport="worker")
    asked = [await send_at(database, one, user) for one in (webhook, worker)]
    retry = await add_execution(database, webhook, status="retrying", attempts=1)
    await hold(database, user)

    begun = {one.execution_id for one in await claim(database)}
    assert await claim_as_worker(database, user) == []
    assert await worker_claims.claimable(database, user=user, most=10) == []
    await release(database, user)
    later = {one.execution_id for one in await claim(database)} | {
        one.id for one in await claim_as_worker(database, user)
    }

    assert begun == {retry}
    assert later == {*asked}
    assert [(await look_up(database, one))["late"] for one in (*asked, retry)] == [True, True, False]


async def test_everything_stops_each_claim_but_of_what_was_forced(database: Database) -> None:
    user, other = await add_user(database), await add_user(database)
    cues = [await add_cue(database, user, transport=kind) for kind in ("webhook", "worker")]
    waiting = [await add_execution(database, cue_id) for cue_id in cues]
    stranger = await add_execution(database, await add_cue(database, other))
    await hold(database, user, "everything")
    forced = []
    for cue_id in cues:
        manual_fire = ManualFire(new_uuid7(), forced=True)
        made = await fires.fire(database, cue_id=cue_id, user=user, manual_fire=manual_fire, monthly=10**9)
        forced.append(made.id)

    deliveries = {one.execution_id for one in await claim(database)}
    work = {one.id for one in await claim_as_worker(database, user)}
    claimed = await worker_claims.claim_one(
        database, user=user, execution=waiting[1], worker="w", terms=worker_claims.LeaseTerms(60.0, 60.0)
    )
    await release(database, user)

    assert (deliveries, work, claimed) == ({forced[0], stranger}, {forced[1]}, None)
    assert {one.execution_id for one in await claim(database)} == {waiting[0]}
    assert {one.id for one in await claim_as_worker(database, user)} == {waiting[1]}


async def test_a_delivery_that_was_claimed_before_is_not_begun_under_a_hold_of_everything(database: Database) -> None:
    user = await add_user(database)
    await add_execution(database, await add_cue(database, user))
    (delivery,) = await claim(database)

    async def stands() -> bool:
        return await outbox.renew_claim(database, execution=delivery.execution_id, claim=delivery.claim, within=30.0)

    assert await stands()
    await hold(database, user)
    assert await stands()
    await hold(database, user, "everything")
    assert not await stands()


async def test_nothing_is_fired_by_hand_but_what_is_forced(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user)
    await hold(database, user, reason="loops")

    async def fire(cue: str, *, forced: bool = False) -> fires.FiredExecution:
        manual_fire = ManualFire(new_uuid7(), forced=forced)
        return await fires.fire(database, cue_id=cue, user=user, manual_fire=manual_fire, monthly=10**9)

    refused, unknown = await fire(cue_id), await fire("cue_nothing")
    assert (refused.id, refused.known, refused.hold_mode, refused.hold_reason) == (None, True, "fires", "loops")
    assert (unknown.id, unknown.known) == (None, False)
    assert (await fire(cue_id, forced=True)).id is not None
    assert (await look_up_cue(database, cue_id))["fired_count"] == 1


async def test_a_hold_whose_time_is_over_is_released_by_the_system(database: Database) -> None:
    user = await add_user(database)
    over = ago(seconds=1)
    cue_id = await add_cue(database, user, **ONCE, next_run=ago(minutes=1))
    passed = await add_cue(database, user, cron="* * * * *", next_run=ago(milliseconds=500))
    await hold(database, user, until=ago(minutes=-5))
    await database.execute("update holds set until = $1, since = $2", over, ago(minutes=2))

    # What came before its end is stopped by it, and what came after is not, though it was not released yet.
    assert await fire_all(database) == 1
    assert await holds.release_over(database) == [user]
    assert await holds.release_over(database) == []
    assert await fire_all(database) == 1

    assert await holds.show(database, user) is None
    assert [(await look_up_cue(database, one))["fired_count"] for one in (cue_id, passed)] == [1, 1]
    rows = await database.fetch("select action, actor_kind from audit order by id")
    assert [tuple(row) for row in rows] == [("hold.set", "operator"), ("hold.released", "system")]


async def test_a_hold_after_one_whose_time_is_over_is_another_one(database: Database) -> None:
    user = await add_user(database)
    await hold(database, user, until=ago(minutes=-60))
    await database.execute("update holds set since = now() - interval '2 hours', until = now() - interval '1 second'")

    row = await holds.put(database, user=user, hold=HoldRequest("everything"), act=OPERATOR)

    assert row.since > ago(minutes=1)
    audited = await database.fetch("select action, actor_kind from audit order by id")
    assert [tuple(one.values()) for one in audited] == [
        ("hold.set", "operator"), ("hold.released", "system"), ("hold.set", "operator")
    ]  # fmt: skip


async def test_what_no_worker_could_claim_under_a_hold_is_not_missed(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, transport="worker")
    await add_execution(database, cue_id, ready_at=ago(hours=1), created_at=ago(hours=1))

    assert len(await daemons.unclaimed(database, 900.0)) == 1
    await hold(database, user, "everything")
    assert await daemons.unclaimed(database, 900.0) == []
    await release(database, user)
    assert await daemons.unclaimed(database, 900.0) == []
    await database.execute("update holds set ended_at = $1", ago(seconds=901))
    assert len(await daemons.unclaimed(database, 900.0)) == 1


async def test_a_hold_of_fires_stops_no_worker_and_what_none_claims_is_missed(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, transport="worker")
    long_ago = {"ready_at": ago(hours=1), "created_at": ago(hours=1)}
    stopped = await add_execution(database, cue_id, **long_ago, deferred=True)
    free, forced = [await add_execution(database, cue_id, **long_ago, forced=one) for one in (False, True)]

    async def missed() -> set[object]:
        return {one.state.fence.execution_id for one in await daemons.unclaimed(database, 900.0)}

    await hold(database, user, "everything")
    assert await missed() == {forced}
    # It has stopped claims until now.
    await hold(database, user)
    assert await missed() == {forced}
    await database.execute("update holds set eased_at = $1", ago(seconds=901))
    assert await missed() == {free, forced}
    await release(database, user)
    assert await missed() == {free, forced}
    await database.execute("update holds set ended_at = $1", ago(seconds=901))
    assert await missed() == {stopped, free, forced}


@pytest.mark.parametrize("transport", ["webhook", "worker"])
async def test_what_a_hold_stops_is_no_backlog(database: Database, transport: str) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, transport=transport)
    ages = {"deferred": 30, "forced": 20, "usual": 10}
    for name, minutes in ages.items():
        one = await add_execution(database, cue_id, ready_at=ago(minutes=minutes))
        for table, key in (("executions", "id"), ("outbox", "execution_id")):
            await database.execute(f"update {table} set deferred = $2, forced = $3 where {key} = $1", one,
                                   name == "deferred", name == "forced")  # fmt: skip

    async def backlog() -> tuple[int, int]:
        """How many are ready, and for how many minutes the oldest has been."""
        row = await health.counts(database)
        assert row is not None
        if transport == "worker":
            return row.pending_worker_claims, int(row.oldest_work / 60)
        return row.ready_deliveries, int(row.oldest_delivery / 60)

    found = [await backlog()]
    for mode in ("fires", "everything"):
        await hold(database, user, mode)
        found.append(await backlog())
    await release(database, user)
    found.append(await backlog())

    assert found == [(3, 30), (2, 20), (1, 20), (3, 30)]


async def test_another_schedule_takes_the_place_of_a_parked_time(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, **ONCE, next_run=ago(seconds=5))
    await hold(database, user)
    await fire_all(database)
    await database.execute("update cues set next_run = $2, parked_run = null where id = $1", cue_id, ago(hours=-1))
    await release(database, user)

    assert await fire_all(database) == 0


@pytest.mark.parametrize("mode", ["fires", "everything"])
async def test_a_hold_asks_for_the_mode_that_is_asked_about(database: Database, mode: str) -> None:
    user = await add_user(database)
    await hold(database, user, mode)

    row = await database.fetch_one("select is_held($1, 'fires') as fires, is_held($1, 'everything') as all", user)
    await release(database, user)
    after = await database.fetch_one("select is_held($1) as held", user)

    assert (row["fires"], row["all"], after["held"]) == (True, mode == "everything", False)


@pytest.mark.parametrize("table", ["holds", "budgets"])
async def test_where_a_brake_cannot_be_read_nothing_fires_and_nothing_is_lost(database: Database, table: str) -> None:
    user = await add_user(database)
    at = ago(seconds=5)
    cue_id = await add_cue(database, user, cron="* * * * *", next_run=at)
    waiting = await add_execution(database, cue_id)
    await database.execute(f"alter table {table} rename to gone")

    with pytest.raises(StorageRefused):
        await fire_all(database)
    with pytest.raises(StorageRefused):
        await fires.fire(database, cue_id=cue_id, user=user, manual_fire=ManualFire(new_uuid7()), monthly=10**9)
    if table == "holds":
        with pytest.raises(StorageRefused):
            await claim(database)

    cue = await look_up_cue(database, cue_id)
    assert (cue["next_run"], cue["fired_count"], (await look_up(database, waiting))["status"]) == (at, 0, "pending")
    await database.execute(f"alter table gone rename to {table}")
    assert await fire_all(database) == 1
