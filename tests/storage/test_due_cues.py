"""What a poll writes: upon what it read or not at all, each time once."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio

from cueapi.domain.catchup import Catchup, FiringPlan, Occurrence, Overlap, plan_firings
from cueapi.storage import due_cues
from cueapi.storage.database import Database, Row
from cueapi.storage.due_cues import DueCue, fire_due
from tests.storage.rows import MONTHLY, ONCE, add_cue, add_execution, add_user, ago, look_up, look_up_cue, queued

MINUTE = timedelta(minutes=1)
DUE = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)


def due_cue(row: Row) -> DueCue:
    """What the poller makes of a due cue."""
    firings = plan_firings(
        Catchup(row["catchup"]),
        Overlap(row["overlap"]),
        cron=row["cron"],
        timezone=row["timezone"],
        oldest=row["next_run"],
        now=row["now"],
    )
    return DueCue(row["id"], row["next_run"], row["revision"], firings)


def one(cue_id: str, at: datetime = DUE, *, revision: int = 0, missed: Occurrence | None = None) -> DueCue:
    """The cue fires at its time, and again a minute later."""
    return DueCue(cue_id, at, revision, FiringPlan((Occurrence(at),), missed, at + MINUTE))


async def made(database: Database) -> list[tuple[str, datetime, int]]:
    rows = await database.fetch("select status, scheduled_for, missed_runs from executions order by scheduled_for")
    return [tuple(row) for row in rows]


async def test_a_turn_makes_the_execution_its_row_in_the_queue_and_the_next_run_at_once(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, next_run=DUE, payload='{"task": "brief"}', task="brief")

    written = await fire_due(database, [one(cue_id)], MONTHLY)

    cue = await look_up_cue(database, cue_id)
    (row,) = await database.fetch("select * from executions")
    assert (written["held"], written["fired"], written["missed"], written["workers"]) == (1, 1, 0, None)
    assert (cue["next_run"], cue["fired_count"], cue["run_count"], cue["status"]) == (DUE + MINUTE, 1, 0, "active")
    assert (row["status"], row["triggered_by"], row["scheduled_for"]) == ("pending", "scheduled", DUE)
    assert (row["ready_at"], row["payload"], row["task"]) == (DUE, '{"task": "brief"}', "brief")
    assert await queued(database) == [row["id"]]


async def test_a_worker_s_turn_tells_whose_worker_has_work_and_queues_nothing(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, next_run=DUE, transport="worker")

    written = await fire_due(database, [one(cue_id)], MONTHLY)

    assert written["workers"] == [user]
    assert await queued(database) == []


CHANGES = {
    "next run": "next_run = next_run + interval '1 second'",
    "schedule or status": "revision = revision + 1",
    "paused": "status = 'paused'",
    "deleted": "deleted_at = now()",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_a_cue_that_changed_since_it_was_read_is_left_to_the_next_turn(database: Database, change: str) -> None:
    user = await add_user(database)
    cue_id, other = [await add_cue(database, user, next_run=DUE) for _ in range(2)]
    await database.execute(f"update cues set {change} where id = $1", cue_id)
    before = await look_up_cue(database, cue_id)

    written = await fire_due(database, [one(cue_id), one(other)], MONTHLY)

    assert (written["held"], written["fired"]) == (1, 1)
    assert await look_up_cue(database, cue_id) == before
    assert {row["cue_id"] for row in await database.fetch("select cue_id from executions")} == {other}


async def test_a_scheduled_time_is_fired_at_most_once_even_where_a_clock_was_set_back(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database), next_run=DUE)

    await fire_due(database, [one(cue_id)], MONTHLY)
    await database.execute("update cues set next_run = $1", DUE)
    again = await fire_due(database, [one(cue_id)], MONTHLY)

    assert (again["held"], again["fired"]) == (1, 0)
    assert await made(database) == [("pending", DUE, 0)]
    assert len(await queued(database)) == 1
    assert (await look_up_cue(database, cue_id))["next_run"] == DUE + MINUTE


async def test_missed_times_are_recorded_and_go_nowhere(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database), next_run=DUE, catchup="none")
    due_cues = [DueCue(cue_id, DUE, 0, FiringPlan((Occurrence(DUE + MINUTE),), Occurrence(DUE, 7), DUE + 2 * MINUTE))]

    written = await fire_due(database, due_cues, MONTHLY)

    (missed, _) = await database.fetch("select * from executions order by scheduled_for")
    assert (written["fired"], written["missed"]) == (1, 1)
    assert await made(database) == [("missed", DUE, 7), ("pending", DUE + MINUTE, 0)]
    assert missed["finished_at"] is not None
    assert "catchup is none" in missed["error_message"]
    assert len(await queued(database)) == 1
    assert await database.fetch("select 1 from alerts") == []


RUNNING: dict[str, tuple[dict[str, Any], bool]] = {
    "under way": ({"status": "delivering", "attempts": 1}, True),
    "between two attempts": ({"status": "retrying", "attempts": 1}, True),
    "by hand": ({"status": "delivering", "attempts": 1, "triggered_by": "replay"}, True),
    "awaits its outcome": (
        {"status": "success", "attempts": 1, "finished_at": DUE, "outcome_deadline_at": ago(hours=-1)},
        True,
    ),
    "has its outcome": (
        {
            "status": "success",
            "attempts": 1,
            "finished_at": DUE,
            "outcome_deadline_at": ago(hours=-1),
            "outcome_attempt": 1,
        },
        False,
    ),
    "not begun": ({"status": "pending"}, False),
    "delivered": ({"status": "success", "attempts": 1, "finished_at": DUE}, False),
    "failed": ({"status": "failed", "attempts": 4, "finished_at": DUE}, False),
    "failed before its deadline": (
        {"status": "failed", "attempts": 1, "finished_at": DUE, "outcome_deadline_at": ago(hours=-1)},
        False,
    ),
}


@pytest.mark.parametrize(("columns", "skipped"), RUNNING.values(), ids=RUNNING.keys())
async def test_overlap_skip_passes_over_a_time_while_an_execution_is_unfinished(
    database: Database, columns: dict[str, Any], *, skipped: bool
) -> None:
    cue_id = await add_cue(database, await add_user(database), next_run=DUE, overlap="skip")
    running = await add_execution(database, cue_id, **columns)

    written = await fire_due(database, [one(cue_id)], MONTHLY)

    (row,) = await database.fetch("select * from executions where triggered_by = 'scheduled'")
    expected = "missed" if skipped else "pending"
    assert (row["status"], written["missed"]) == (expected, int(skipped))
    assert (row["error_message"] or "") == (f"Skipped: execution {running} is still running." if skipped else "")
    assert (await look_up_cue(database, cue_id))["consecutive_failures"] == 0
    assert await database.fetch("select 1 from alerts") == []


async def test_overlap_allow_fires_beside_what_runs_and_another_cue_does_not_matter(database: Database) -> None:
    user = await add_user(database)
    allowing = await add_cue(database, user, next_run=DUE)
    skipping = await add_cue(database, user, next_run=DUE, overlap="skip")
    await add_execution(database, allowing, status="delivering", attempts=1)

    written = await fire_due(database, [one(allowing), one(skipping)], MONTHLY)

    assert (written["fired"], written["missed"]) == (2, 0)


async def test_pollers_at_once_fire_each_due_cue_once(database: Database) -> None:
    user = await add_user(database)
    ids = [await add_cue(database, user, cron="* * * * *", overlap=each) for each in ("allow", "skip") * 15]
    for number in range(8):
        await database.execute("delete from executions")
        await database.execute("delete from outbox")
        at = ago(seconds=90).replace(second=0, microsecond=number)
        await database.execute("update cues set next_run = $1, fired_count = 0", at)

        async def poll() -> None:
            while rows := await due_cues.due(database, 20):
                await fire_due(database, [due_cue(row) for row in rows], MONTHLY)

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(poll)

        fired = await database.fetch(
            "select cue_id, count(*) as number, count(distinct scheduled_for) as times, min(c.fired_count) as counted"
            "  from executions join cues c on c.id = cue_id group by cue_id"
        )
        assert {row["cue_id"] for row in fired} == set(ids)
        assert {(row["number"] - row["times"], row["number"] - row["counted"]) for row in fired} == {(0, 0)}


async def test_a_poll_and_a_pause_at_once_leave_no_run_behind_a_pause(database: Database) -> None:
    user = await add_user(database)
    for _ in range(15):
        cue_id = await add_cue(database, user, next_run=DUE)
        pause = "update cues set status = 'paused', next_run = null, revision = revision + 1 where id = $1"

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fire_due, database, [one(cue_id)], MONTHLY)
                nursery.start_soon(database.execute, pause, cue_id)

        cue = await look_up_cue(database, cue_id)
        fired = await database.fetch("select 1 from executions where cue_id = $1", cue_id)
        assert (cue["status"], cue["next_run"]) == ("paused", None)
        assert len(fired) == cue["fired_count"]


async def test_a_one_time_cue_stays_active_with_no_next_run_until_its_execution_is_final(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database), next_run=DUE, **ONCE)
    (row,) = await due_cues.due(database, 10)

    await fire_due(database, [due_cue(row)], MONTHLY)

    cue = await look_up_cue(database, cue_id)
    assert (cue["status"], cue["next_run"]) == ("active", None)
    assert await made(database) == [("pending", DUE, 0)]


async def test_a_one_time_cue_whose_time_is_skipped_has_failed(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database), next_run=DUE, overlap="skip", **ONCE)
    await add_execution(database, cue_id, status="delivering", attempts=1)
    (row,) = await due_cues.due(database, 10)

    await fire_due(database, [due_cue(row)], MONTHLY)

    cue = await look_up_cue(database, cue_id)
    assert (cue["status"], cue["next_run"], cue["fired_count"], cue["run_count"]) == ("failed", None, 1, 1)


async def test_due_is_what_postgresql_s_clock_says_the_longest_waiting_first(database: Database) -> None:
    user = await add_user(database)
    late, later = [await add_cue(database, user, next_run=ago(seconds=seconds)) for seconds in (5, 60)]
    await add_cue(database, user, next_run=ago(seconds=-5))
    await add_cue(database, user, next_run=ago(seconds=5), status="paused")
    await add_cue(database, user, next_run=ago(seconds=5), deleted_at=ago())

    rows = await due_cues.due(database, 10)
    ahead = await due_cues.ahead(database)

    assert [row["id"] for row in rows] == [later, late]
    assert ahead == pytest.approx(-60, abs=5)


async def test_nothing_ahead_is_nothing(database: Database) -> None:
    assert await due_cues.ahead(database) is None


async def test_reminders_tell_when_waiting_deliveries_come_due_each_moment_once(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database))
    soon = ago(seconds=-20)
    for moment in (soon, soon, ago(seconds=-50), ago(seconds=-90), ago(seconds=1)):
        await add_execution(database, cue_id, ready_at=moment)

    seconds = await due_cues.reminders(database, 60.0)

    assert seconds == [(pytest.approx(20, abs=5), None), (pytest.approx(50, abs=5), None)]


async def test_reminders_tell_whose_workers_can_claim_something_soon_or_since_this_moment(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, transport="worker")
    # In one transaction, for which `now` stands still.
    async with database.transaction(patience=60) as tx:
        (row,) = await tx.fetch("select now() as at")
        for ahead in (20, 90, -0.1, -30):
            await add_execution(tx, cue_id, ready_at=row["at"] + timedelta(seconds=ahead))
        seconds = await due_cues.reminders(tx, 60.0)

    assert sorted(seconds) == [(pytest.approx(-0.1, abs=5), user), (pytest.approx(20, abs=5), user)]
    assert min(seconds)[0] < 0


async def test_the_payload_goes_into_the_execution_to_the_byte(database: Database) -> None:
    payload = json.dumps({"ratio": 0.1, "big": 10**30, "Zoë": ["\U0001f600", None]}, sort_keys=True)
    cue_id = await add_cue(database, await add_user(database), next_run=DUE, payload=payload)

    await fire_due(database, [one(cue_id)], MONTHLY)

    (row,) = await database.fetch("select id from executions")
    assert (await look_up(database, row["id"]))["payload"] == payload


NOTHING_FIRES: dict[str, tuple[dict[str, Any], FiringPlan]] = {
    "catchup none": ({"catchup": "none"}, FiringPlan((), Occurrence(DUE, 7), DUE + MINUTE)),
    "overlap skip": ({"overlap": "skip"}, FiringPlan((Occurrence(DUE),), None, DUE + MINUTE)),
    "budget": (
        {"budget_per": "month", "budget_max_runs": 1, "budget_runs": 1, "budget_told": "reached"},
        FiringPlan((Occurrence(DUE),), None, DUE + MINUTE),
    ),
}


@pytest.mark.parametrize(("fields", "plan"), NOTHING_FIRES.values(), ids=NOTHING_FIRES.keys())
async def test_what_did_not_fire_at_all_is_not_said_to_have_fired_late(
    database: Database, fields: dict[str, Any], plan: FiringPlan
) -> None:
    cue_id = await add_cue(database, await add_user(database), next_run=DUE, **fields)
    await database.execute("update cues set budget_begins_at = date_trunc('month', now(), 'UTC')")
    await add_execution(database, cue_id, status="retrying", attempts=1)

    written = await fire_due(database, [DueCue(cue_id, DUE, 0, plan, late=True)], MONTHLY)

    assert (written.fired, written.missed, written.alerts) == (0, 1, [])
    assert await database.fetch("select from incidents union all select from notifications") == []
