"""In a burst, without statistics: a statement's work grows with its rows, not with their square or with the backlog."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from cueapi.domain.ids import new_uuid7
from cueapi.storage.database import Database
from cueapi.storage.due_cues import FIRE_DUE
from cueapi.storage.incidents import TEND
from cueapi.storage.outbox import CLAIM_DELIVERIES, DeliveryClaim
from cueapi.storage.transitions import APPLY_TRANSITIONS
from cueapi.storage.workers import ALERT_OFFLINE
from tests.benchmarks.filling import CUES
from tests.storage.explaining import prepared_call
from tests.storage.rows import add_cue, add_execution, add_user

AT = datetime(2026, 1, 1, tzinfo=UTC)
EXPLAIN = "explain (analyze, timing off, format json) "


def steps(plan: dict[str, Any]) -> Iterator[float]:
    """How many rows each step of a plan has handled, those that it compared and left out, too."""
    counted = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Join Filter")
    yield plan["Actual Loops"] * sum(plan.get(name, 0) for name in counted)
    for part in plan.get("Plans", ()):
        yield from steps(part)


async def repeated_work(db: Database, statement: str, *values: object) -> float:
    """Likewise, with the plan for any values that the daemon's own connections have."""
    async with db.transaction(patience=60) as tx:
        await tx.execute("set local plan_cache_mode = force_generic_plan")
        prepare, execute = await prepared_call(tx.connection, "repeated", statement, values)
        await tx.execute(prepare)
        (told,) = await tx.fetch(EXPLAIN + execute)
        await tx.execute("deallocate repeated")
    return sum(steps(json.loads(told[0])[0]["Plan"]))


async def work(db: Database, statement: str, *values: object) -> float:
    """How many rows *statement* handles, by explaining it; it takes effect."""
    (told,) = await db.fetch(EXPLAIN + statement, *values)
    return sum(steps(json.loads(told[0])[0]["Plan"]))


async def fire(db: Database, count: int) -> float:
    """Fire as many due cues as that."""
    rows = await db.fetch("select id, next_run, revision from cues where next_run is not null limit $1", count)
    moves = [
        {"cue": row["id"], "seen": row["next_run"].isoformat(), "revision": row["revision"], "late": False}
        for row in rows
    ]
    firings = [
        {"id": str(new_uuid7()), "cue": row["id"], "scheduled_for": AT.isoformat(), "missed_runs": 0, "missed": False}
        for row in rows
    ]
    return await repeated_work(db, FIRE_DUE, json.dumps(moves), json.dumps(firings), '{"self_hosted": null}')


async def claim(db: Database, count: int) -> float:
    """Claim as many deliveries as that."""
    wanted = DeliveryClaim(1, count, 0, ["h"], [0], 1000, [1], [0], 1000, 30.0, 900.0, 4 * count, None)
    return await repeated_work(db, CLAIM_DELIVERIES, *wanted)


async def settle(db: Database, count: int) -> float:
    """Write the success of as many claimed deliveries as that."""
    rows = await db.fetch("select id, claim from executions where claim is not null limit $1", count)
    said = {"attempts": 1, "seen": "delivering", "status": "success", "released": False, "delivered": True,
            "final": True, "wire": True, "http_status": 200, "duration_ms": 5, "report": False,
            "consecutive_failures": 0, "logged_as": "success"}  # fmt: skip
    records = [said | {"ord": ord_, "id": str(row["id"]), "claim": str(row["claim"])} for ord_, row in enumerate(rows)]
    return await repeated_work(db, APPLY_TRANSITIONS, json.dumps(records))


@pytest.fixture
async def burst(database: Database) -> Database:
    """A database with 3,000 cues that are due, of which nothing was counted yet."""
    user = await add_user(database)
    await database.execute(CUES, user, 3_000, AT, 0.0, "webhook", "http://127.0.0.1:9/", "127.0.0.1:9")
    return database


async def test_ten_times_the_due_cues_are_ten_times_the_work(burst: Database) -> None:
    assert await fire(burst, 500) < 15 * await fire(burst, 50)


async def test_a_claim_does_not_read_the_backlog(burst: Database) -> None:
    await fire(burst, 150)
    few = await claim(burst, 20)
    await fire(burst, 2_000)

    assert await claim(burst, 20) < 1.5 * few


async def test_five_times_the_results_are_five_times_the_work(burst: Database) -> None:
    await fire(burst, 500)
    await claim(burst, 250)
    few = await settle(burst, 20)

    assert await settle(burst, 100) < 8 * few


async def look_for_silent_workers(db: Database, users: list[int], workers: int) -> float:
    """Look for silent workers where each user has so many, as many living ones, and none that does what waits."""
    await add_silent_workers(db, users, workers)
    return await work(db, ALERT_OFFLINE)


async def add_silent_workers(db: Database, users: list[int], workers: int) -> None:
    """So many of each user, and as many that live and do other work: no others are there."""
    await db.execute("delete from workers")
    await db.execute(
        "insert into workers (user_id, worker_id, handlers, last_heartbeat)"
        " select u, kind || w, array(select kind || w || '-' || h from generate_series(1, 100) h),"
        "        now() - case kind when 'silent' then interval '6 minutes' else interval '0' end"
        "   from unnest($1::bigint[]) u, unnest(array['silent', 'living']) kind, generate_series(1, $2::int) w",
        users, workers,
    )  # fmt: skip


async def tend_silent_workers(db: Database, users: list[int], workers: int) -> float:
    """Look whether others do the work of silent workers, each of which has an incident."""
    await add_silent_workers(db, users, workers)
    await db.execute(
        "select open_incident(user_id, 'worker_offline', worker_id, worker_id, 'It is silent', 'critical')"
        "  from workers where worker_id like 'silent%'"
    )
    return await work(db, TEND)


async def test_five_times_the_silent_workers_are_five_times_the_work_whatever_waits(database: Database) -> None:
    users = [await add_user(database) for _ in range(4)]
    for user in users:
        cue = await add_cue(database, user, transport="worker")
        for number in range(100):
            await add_execution(database, cue, task=f"task {number}")
    few = await look_for_silent_workers(database, users, 10)

    assert await look_for_silent_workers(database, users, 50) < 6 * few
    assert few < 3 * 4 * (10 + 10) * 100  # names of handlers


async def test_five_times_the_incidents_of_workers_are_five_times_the_work(database: Database) -> None:
    users = [await add_user(database) for _ in range(4)]
    few = await tend_silent_workers(database, users, 10)

    assert await tend_silent_workers(database, users, 50) < 6 * few
    assert few < 6 * 4 * (10 + 10) * 100  # names of handlers
