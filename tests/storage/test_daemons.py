"""Which daemons live: the lock of a number, and two looks at it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
import trio

from cueapi.domain.execution import claim_lost
from cueapi.storage import daemons, workers
from cueapi.storage.database import Database, Transaction, open_listener
from cueapi.storage.transitions import apply_transitions
from tests.storage.rows import (
    add_cue,
    add_execution,
    add_user,
    ago,
    claim,
    claim_as_worker,
    look_up,
    queued,
)

HERE, THERE = "host:127.0.0.1:8000", "host:127.0.0.1:8001"


@asynccontextmanager
async def living(dsn: str, instance: str = HERE, number: int | None = None) -> AsyncIterator[tuple[int, Transaction]]:
    """A daemon's connection, with the lock of its number; the number is free when the block ends."""
    async with open_listener(dsn, "cueapi", heartbeat=5.0) as (_, tx):
        number = await daemons.register(tx, instance) if number is None else number
        assert await daemons.acquire_lock(tx, number)
        yield number, tx


async def later(database: Database, seconds: float) -> None:
    """As if so many seconds had passed since a lock was first seen free."""
    await database.execute("update daemons set free_since = free_since - $1 * interval '1 second'", seconds)


async def lost(database: Database) -> list[object]:
    return [one.state.fence.execution_id for one in await daemons.lost(database)]


@pytest.fixture
async def cue_id(database: Database) -> str:
    return await add_cue(database, await add_user(database), backoff_minutes=[0])


async def test_what_a_living_daemon_holds_is_not_lost(database: Database, database_url: str, cue_id: str) -> None:
    await add_execution(database, cue_id)

    with trio.fail_after(10):
        async with living(database_url) as (number, _):
            await claim(database, daemon=number)
            await daemons.sweep_dead(database)
            await later(database, 6)
            await daemons.sweep_dead(database)
            seen = await lost(database)

    assert seen == []


async def test_a_daemon_whose_lock_was_free_at_two_looks_five_seconds_apart_is_gone(
    database: Database, database_url: str, cue_id: str
) -> None:
    execution = await add_execution(database, cue_id)
    with trio.fail_after(10):
        async with living(database_url) as (number, _):
            await claim(database, daemon=number)

    seen = [await lost(database)]
    await daemons.sweep_dead(database)
    seen.append(await lost(database))
    await later(database, 2)
    await daemons.sweep_dead(database)
    seen.append(await lost(database))
    await later(database, 3.1)
    await daemons.sweep_dead(database)
    seen.append(await lost(database))

    assert seen == [[], [], [], [execution]]


async def test_a_daemon_that_comes_back_between_two_looks_keeps_its_number_and_its_claims(
    database: Database, database_url: str, cue_id: str
) -> None:
    await add_execution(database, cue_id)
    with trio.fail_after(10):
        async with living(database_url) as (number, _):
            await claim(database, daemon=number)
        await daemons.sweep_dead(database)
        await later(database, 2)

        ours = await daemons.resume(database, number)
        async with living(database_url, number=number):
            await later(database, 60)
            await daemons.sweep_dead(database)
            seen = await lost(database)

    assert (ours, seen) == (True, [])


async def test_a_daemon_that_comes_back_too_late_does_not_keep_its_number(
    database: Database, database_url: str, cue_id: str
) -> None:
    await add_execution(database, cue_id)
    with trio.fail_after(10):
        async with living(database_url) as (number, _):
            await claim(database, daemon=number)
    await daemons.sweep_dead(database)
    await later(database, 5)

    assert await daemons.resume(database, number) is False


async def test_the_former_self_of_a_daemon_is_gone_at_once_and_its_neighbour_is_not(
    database: Database, database_url: str, cue_id: str
) -> None:
    mine, theirs = [await add_execution(database, cue_id) for _ in range(2)]
    with trio.fail_after(10):
        async with living(database_url, THERE) as (neighbour, _), living(database_url, HERE) as (former, _):
            await claim(database, daemon=former)
            await database.execute("update outbox set claimed_by = $1 where execution_id = $2", neighbour, theirs)
        async with living(database_url, HERE) as (number, _):
            seen = await lost(database)

    assert number != former
    assert seen == [mine]


async def test_a_second_daemon_of_the_same_address_does_not_take_a_living_one_for_gone(
    database: Database, database_url: str, cue_id: str
) -> None:
    await add_execution(database, cue_id)

    with trio.fail_after(10):
        async with living(database_url) as (number, _):
            await claim(database, daemon=number)
            async with living(database_url) as (other, _):
                seen = await lost(database)

    assert other != number
    assert seen == []


async def test_a_lock_of_another_database_says_nothing_here(
    database: Database, database_url: str, postgres_url: str
) -> None:
    number = await daemons.register(database, HERE)

    with trio.fail_after(10):
        async with open_listener(postgres_url, "cueapi", heartbeat=5.0) as (_, elsewhere):
            await daemons.acquire_lock(elsewhere, number)
            await daemons.sweep_dead(database)
            (row,) = await database.fetch("select free_since is null as lives from daemons")

    assert row["lives"] is False


async def test_who_holds_its_lock_keeps_its_claims_whatever_their_leases_say(
    database: Database, database_url: str, cue_id: str
) -> None:
    execution = await add_execution(database, cue_id)
    seen = []

    with trio.fail_after(10):
        async with living(database_url) as (number, _):
            (delivery,) = await claim(database, daemon=number)
            # As where PostgreSQL's clock jumps 600 s ahead.
            await database.execute("update outbox set lease_until = lease_until - interval '600 seconds'")
            await daemons.sweep_dead(database)
            for fields in (
                {},
                {"silent": {number + 1}},
                {"silent": {number}},
                {"ours": number, "held": [delivery.claim]},
                {"ours": number, "held": []},
                {"ours": number + 1, "held": []},
            ):
                found = await daemons.lost(database, **fields)
                seen.append([one.state.fence.execution_id for one in found])

    assert seen == [[], [], [execution], [], [execution], []]


async def test_a_silent_daemon_keeps_what_its_lease_still_covers(
    database: Database, database_url: str, cue_id: str
) -> None:
    await add_execution(database, cue_id)

    with trio.fail_after(10):
        async with living(database_url) as (number, _):
            await claim(database, daemon=number)
            found = await daemons.lost(database, silent={number}, ours=number)

    assert found == []


async def test_each_beat_is_counted_for_its_own_daemon(database: Database) -> None:
    first, second = [await daemons.register(database, where) for where in (HERE, THERE)]
    for number in (first, first, second, None):
        await daemons.beat(database, number, tzdata="2026a")

    rows = await daemons.beat(database, None, tzdata="2026a")

    assert {row.number: row.beats for row in rows} == {first: 2, second: 1}
    assert abs(rows[0].now - ago()) < timedelta(seconds=20)


async def test_what_a_gone_daemon_held_goes_back_as_the_same_attempt_and_its_late_result_is_fenced_out(
    database: Database, cue_id: str
) -> None:
    execution = await add_execution(database, cue_id)
    (delivery,) = await claim(database, daemon=99)
    (found,) = await daemons.lost(database)

    first = await apply_transitions(
        database, [claim_lost(found.state.fence, found.state.retry, lost_claims=found.lost_claims)]
    )
    again = await claim(database, daemon=100)

    assert execution in first
    assert [one.attempt for one in again] == [1]
    assert again[0].claim != delivery.claim
    assert (await look_up(database, execution))["lost_claims"] == 1


async def test_daemons_that_are_gone_are_forgotten_when_they_hold_nothing(database: Database, cue_id: str) -> None:
    empty, holding = await daemons.register(database, HERE), await daemons.register(database, THERE)
    await add_execution(database, cue_id)
    await claim(database, daemon=holding)
    await daemons.sweep_dead(database)
    await later(database, 6)

    await daemons.sweep_dead(database)

    assert empty != holding
    assert [row["number"] for row in await database.fetch("select number from daemons")] == [holding]


async def test_a_drain_finds_what_it_still_holds_and_takes_its_leave(database: Database, cue_id: str) -> None:
    number = await daemons.register(database, HERE)
    mine = await add_execution(database, cue_id)
    await claim(database, daemon=number)
    await add_execution(database, cue_id)
    await claim(database, daemon=number + 1)

    held = await daemons.held_by(database, number)
    await daemons.deregister(database, number)

    assert [one.state.fence.execution_id for one in held] == [mine]
    assert await database.fetch("select 1 from daemons") == []
    assert len(await queued(database)) == 2


LEASES = {
    "the lease stands": ("lease_until = now() + interval '1 minute'", 999, False),
    "the lease ended and the worker is silent": ("lease_until = now() - interval '1 second'", 181, True),
    "the lease ended and the worker lives": ("lease_until = now() - interval '1 second'", 10, False),
    "the lease ended and the worker never sent a heartbeat": ("lease_until = now() - interval '1 second'", None, True),
}


@pytest.mark.parametrize(("change", "silent", "ended"), LEASES.values(), ids=LEASES.keys())
async def test_a_worker_s_lease_ends_with_its_silence(
    database: Database, change: str, silent: int | None, *, ended: bool
) -> None:
    user = await add_user(database)
    await add_execution(database, await add_cue(database, user, transport="worker"))
    await claim_as_worker(database, user, "w")
    await database.execute(f"update executions set {change}")
    if silent is not None:
        heartbeat = "insert into workers (user_id, worker_id, last_heartbeat) values ($1, 'w', $2)"
        await database.execute(heartbeat, user, ago(seconds=silent))

    found = await daemons.ended_leases(database, 180.0)

    assert bool(found) is ended


DEADLINES: dict[str, tuple[dict[str, object], bool]] = {
    "a worker's": ({"transport": "worker", "status": "delivering"}, True),
    "a handler's": ({"transport": "webhook", "status": "success"}, True),
    "a handler's that reported": ({"transport": "webhook", "status": "success", "outcome_attempt": 2}, False),
    "a handler's that reported on an earlier attempt": (
        {"transport": "webhook", "status": "success", "outcome_attempt": 1},
        True,
    ),
    "what has ended": ({"transport": "worker", "status": "outcome_timeout"}, False),
}


@pytest.mark.parametrize(("columns", "found"), DEADLINES.values(), ids=DEADLINES.keys())
async def test_a_deadline_that_passed_without_a_report_is_found_although_the_worker_lives(
    database: Database, columns: dict[str, object], *, found: bool
) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, transport=columns["transport"])
    await workers.heartbeat(database, user=user, worker="w", handlers=None)
    passed = {"attempts": 2, "claimed_by_worker": "w", "outcome_deadline_at": ago(seconds=1)}
    await add_execution(database, cue_id, **passed, **columns)
    await add_execution(database, cue_id, **passed | columns | {"outcome_deadline_at": ago(hours=-1)})

    assert len(await daemons.overdue(database)) == int(found)


@pytest.mark.parametrize("status", ["pending", "retrying"])
async def test_what_no_worker_came_for_is_found_after_its_time_and_not_before(database: Database, status: str) -> None:
    user = await add_user(database)
    cue_id, gone = [await add_cue(database, user, transport="worker") for _ in range(2)]
    old = {"status": status, "ready_at": ago(seconds=901), "created_at": ago(seconds=901)}
    late = await add_execution(database, cue_id, **old)
    await add_execution(database, cue_id, **old | {"ready_at": ago(seconds=800)})
    await add_execution(database, cue_id, **old | {"created_at": ago(seconds=800)})  # a time that was caught up
    await add_execution(database, gone, **old)
    await database.execute("update cues set deleted_at = now() where id = $1", gone)
    await add_execution(database, await add_cue(database, user), **old)

    found = await daemons.unclaimed(database, 900.0)

    assert [one.state.fence.execution_id for one in found] == [late]
