"""What follows from a decision, all of it or nothing: fences, counters, alerts, the end of a one-time cue."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
import trio
from attrs import evolve

from cueapi.domain.attempt import Answered, Unreachable, evaluate_attempt
from cueapi.domain.audit import SYSTEM
from cueapi.domain.errors import Refusal
from cueapi.domain.execution import (
    AttemptRecord,
    Status,
    attempt_failed,
    claim_lost,
    deadline_passed,
    postponed,
    released,
    succeeded,
    unclaimed,
)
from cueapi.domain.outcome import Evidence, Report
from cueapi.domain.reporting import apply_report
from cueapi.domain.retry import DEFAULT_RETRY, NO_RETRY
from cueapi.domain.verification import NO_RULES, verify
from cueapi.storage import cue_changes, cue_deletion, cue_descriptions, daemons
from cueapi.storage.cue_changes import CueUpdate
from cueapi.storage.cues import CueRecord
from cueapi.storage.database import Database, Unstorable
from cueapi.storage.transitions import apply_transitions
from tests.storage.rows import (
    ONCE,
    add_cue,
    add_execution,
    add_user,
    ago,
    alert_types,
    claim,
    claim_as_worker,
    fence_of,
    look_up,
    look_up_cue,
    queued,
    standing_of,
    wait_for_locks,
)

ONE_TRY = {"max_attempts": 1}
GOOD, BAD = Report(success=True, result="done"), Report(success=False, error="no paper")
FINAL_BAD = evolve(BAD, retry=False)


async def report(database: Database, execution: UUID, said: Report, worker: str | None = None) -> bool:
    """Report as the API does; whether it was written."""
    step = apply_report(await standing_of(database, execution), said, worker_id=worker)
    return execution in await apply_transitions(database, [step])


async def fail(database: Database, cue_id: str, *, times: int) -> None:
    """Let executions of a cue that has one attempt fail, in one batch."""
    for _ in range(times):
        await add_execution(database, cue_id)
    refused = Unreachable("refused")
    await apply_transitions(
        database, [evaluate_attempt(one, refused, duration=0.1, now=ago()) for one in await claim(database)]
    )


async def test_a_delivered_attempt_ends_the_execution_and_leaves_the_queue(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database))
    execution = await add_execution(database, cue_id)
    (delivery,) = await claim(database)

    written = await apply_transitions(
        database,
        [
            evaluate_attempt(
                delivery, Answered(200, b"ok", sent_after=0.02, first_byte_after=0.24), duration=0.25, now=ago()
            )
        ],
    )

    row = await look_up(database, execution)
    (tried,) = await database.fetch("select * from attempts where execution_id = $1", execution)
    assert written[execution]["status"] == "success"
    assert (row["status"], row["http_status"], row["response_body"], row["claim"]) == ("success", 200, "ok", None)
    assert row["delivered_at"] is not None
    assert row["finished_at"] is not None
    assert (tried["attempt"], tried["duration_ms"], tried["outcome"]) == (1, 250, "delivered")
    assert (tried["sent_after_ms"], tried["first_byte_after_ms"]) == (20, 240)
    assert await queued(database) == []
    assert (await look_up_cue(database, cue_id))["run_count"] == 1


async def test_a_failed_attempt_waits_for_its_pause_in_row_and_queue_alike(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database), backoff_minutes=[7])
    execution = await add_execution(database, cue_id)
    (delivery,) = await claim(database)

    written = await apply_transitions(database, [evaluate_attempt(delivery, Answered(500), duration=0.1, now=ago())])

    row = await look_up(database, execution)
    (entry,) = await database.fetch(
        "select claimed_by, lease_until, ready_at,"
        "       ready_at - now() between interval '6 minutes 50 seconds' and '7 minutes' as soon"
        "  from outbox"
    )
    assert (row["status"], row["attempts"], row["finished_at"]) == ("retrying", 1, None)
    assert row["ready_at"] == entry["ready_at"] == written[execution]["ready_at"]
    assert (entry["claimed_by"], entry["lease_until"], entry["soon"]) == (None, None, True)


FENCES = {
    "another claim": {"claim": uuid4()},
    "no claim": {"claim": None},
    "an earlier attempt": {"attempts": 1},
    "another status": {"status": "retrying"},
    "another report": {"outcome_attempt": 1},
}


@pytest.mark.parametrize("changes", FENCES.values(), ids=FENCES.keys())
async def test_a_step_upon_something_else_than_what_stands_is_dropped_whole(
    database: Database, changes: dict[str, object]
) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, **ONE_TRY)
    execution = await add_execution(database, cue_id, status="retrying", attempts=1)
    await claim(database)
    before = [await look_up(database, execution), await look_up_cue(database, cue_id), await queued(database)]

    fence = evolve(await fence_of(database, execution), **changes)
    steps = [attempt_failed(fence, NO_RETRY, error="late", report=BAD), succeeded(fence, GOOD, verify(NO_RULES, GOOD))]
    written = [await apply_transitions(database, [step]) for step in steps]

    assert written == [{}, {}]
    assert [await look_up(database, execution), await look_up_cue(database, cue_id), await queued(database)] == before
    assert await database.fetch("select 1 from attempts") == []
    assert await alert_types(database) == []
    assert (await database.fetch_one("select reported from usage where user_id = $1", user))["reported"] == 0


async def test_a_batch_writes_the_steps_that_stand_and_drops_the_others(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database))
    good, bad = await add_execution(database, cue_id), await add_execution(database, cue_id)
    steps = [evaluate_attempt(one, Answered(204), duration=0.1, now=ago()) for one in await claim(database)]
    lost = [
        evolve(step, fence=evolve(step.fence, claim=uuid4())) if step.fence.execution_id == bad else step
        for step in steps
    ]

    written = await apply_transitions(database, lost)

    assert list(written) == [good]
    assert (await look_up(database, bad))["status"] == "delivering"
    assert await queued(database) == [bad]
    assert (await look_up_cue(database, cue_id))["run_count"] == 1


async def test_of_many_reports_at_once_for_one_attempt_one_counts(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user)
    for _ in range(15):
        execution = await add_execution(database, cue_id, status="success", attempts=1, finished_at=ago())
        written: list[bool] = []

        async def race(said: Report, execution: UUID = execution, written: list[bool] = written) -> None:
            try:
                written.append(await report(database, execution, said))
            except Refusal as refusal:
                written.append(refusal.code != "outcome_already_recorded")

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for number in range(6):
                    nursery.start_soon(race, evolve(GOOD, result=str(number)))

        assert sorted(written) == [False] * 5 + [True]
    assert (await database.fetch_one("select reported from usage where user_id = $1", user))["reported"] == 15


async def test_a_report_and_the_deadline_do_not_both_count(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database), **ONE_TRY)
    late = {"status": "success", "attempts": 1, "finished_at": ago(), "outcome_deadline_at": ago(seconds=1)}
    execution = await add_execution(database, cue_id, **late)
    (found,) = await daemons.overdue(database)

    first = await report(database, execution, GOOD)
    second = await apply_transitions(database, [deadline_passed(found.state.fence, found.state.retry)])

    row = await look_up(database, execution)
    assert (first, second) == (True, {})
    assert (row["status"], row["outcome_state"]) == ("success", "reported_success")


async def test_a_success_report_ends_the_attempt_under_way_and_fences_its_result_out(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database))
    execution = await add_execution(database, cue_id)
    (delivery,) = await claim(database)

    told = await report(database, execution, GOOD)
    late = await apply_transitions(database, [evaluate_attempt(delivery, Answered(500), duration=1.0, now=ago())])

    row = await look_up(database, execution)
    assert (told, late) == (True, {})
    assert (row["status"], row["outcome_result"], row["error_message"]) == ("success", "done", None)
    assert await queued(database) == []


async def test_a_failure_report_with_attempts_left_has_the_next_attempt_follow_which_may_report_anew(
    database: Database,
) -> None:
    cue_id = await add_cue(database, await add_user(database), backoff_minutes=[0])
    execution = await add_execution(database, cue_id)
    await claim(database)

    await report(database, execution, BAD)
    between = await look_up(database, execution)
    with pytest.raises(Refusal, match="already recorded"):
        await report(database, execution, GOOD)
    await claim(database)
    await report(database, execution, GOOD)

    after = await look_up(database, execution)
    logged = await database.fetch("select attempt, error, outcome from attempts order by attempt")
    assert (between["status"], between["outcome_state"], between["outcome_error"]) == (
        "retrying",
        "reported_failure",
        "no paper",
    )
    assert (after["status"], after["attempts"], after["outcome_state"]) == ("success", 2, "reported_success")
    assert [tuple(row) for row in logged] == [(1, "no paper", "reported_failure"), (2, None, "success")]


async def test_the_last_failed_attempt_is_told_once_in_five_minutes_for_each_execution(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, **ONE_TRY)

    await fail(database, cue_id, times=2)

    rows = await database.fetch("select alert_type, severity, execution_id, message from alerts order by message")
    executions = {row["id"] for row in await database.fetch("select id from executions")}
    assert [row["alert_type"] for row in rows] == ["execution_failed"] * 2
    assert {row["severity"] for row in rows} == {"critical"}
    assert {row["execution_id"] for row in rows} == executions
    assert all(row["message"].endswith(": refused") for row in rows)


async def test_an_alert_on_the_same_subject_comes_again_after_five_minutes_and_not_before(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, transport="worker", **ONE_TRY)

    async def miss() -> None:
        execution = await add_execution(database, cue_id)
        await apply_transitions(database, [unclaimed(await fence_of(database, execution))])

    await miss()
    await miss()
    once = await alert_types(database)
    await database.execute("update alert_gates set raised_at = raised_at - interval '5 minutes'")
    await miss()

    assert once == ["missed_run"]
    # The third failure in a row is told as well.
    assert await alert_types(database) == ["consecutive_failures", "missed_run", "missed_run"]


async def test_many_at_once_raise_an_alert_on_one_subject_once(database: Database) -> None:
    user = await add_user(database)
    for _ in range(5):
        cue_id = await add_cue(database, user, transport="worker", alert_consecutive_failures=100)
        executions = [await add_execution(database, cue_id) for _ in range(6)]
        steps = [unclaimed(await fence_of(database, execution)) for execution in executions]

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for step in steps:
                    nursery.start_soon(apply_transitions, database, [step])

        raised = await database.fetch("select 1 from alerts where cue_id = $1", cue_id)
        assert len(raised) == 1


@pytest.mark.parametrize(
    ("batches", "every", "alerts"),
    [
        ([1, 1], None, 0),
        ([3], None, 1),
        ([1, 1, 1], None, 1),
        ([5], None, 1),
        ([2, 5], None, 1),
        ([1], 1, 1),
        ([4], 5, 0),
        ([5], 5, 1),
    ],
    ids=["two", "three at once", "three", "five at once", "over two multiples", "every one", "four of five", "five"],
)
async def test_failures_in_a_row_are_told_at_n_and_its_multiples_within_a_batch_too(
    database: Database, batches: list[int], every: int | None, alerts: int
) -> None:
    cue_id = await add_cue(database, await add_user(database), alert_consecutive_failures=every, **ONE_TRY)

    for batch in batches:
        await fail(database, cue_id, times=batch)

    cue = await look_up_cue(database, cue_id)
    assert cue["consecutive_failures"] == sum(batches)
    assert (await alert_types(database)).count("consecutive_failures") == alerts


async def test_the_row_of_failures_moves_in_the_order_of_the_batch(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database), consecutive_failures=7, **ONE_TRY)
    for _ in range(5):
        await add_execution(database, cue_id)
    failed, reported_well = Unreachable("refused"), Answered(200, b'{"success": true}')
    results = [failed, failed, reported_well, failed, Answered(200)]

    deliveries = await claim(database)
    await apply_transitions(
        database, [evaluate_attempt(*pair, duration=0.1, now=ago()) for pair in zip(deliveries, results, strict=True)]
    )

    # A success report ends it; what was delivered without a word leaves it.
    assert (await look_up_cue(database, cue_id))["consecutive_failures"] == 1


async def test_a_failure_that_completes_a_row_is_told_although_the_batch_also_ends_it(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database), consecutive_failures=2, **ONE_TRY)
    for _ in range(2):
        await add_execution(database, cue_id)
    results = [Unreachable("refused"), Answered(200, b'{"success": true}')]

    deliveries = await claim(database)
    await apply_transitions(
        database, [evaluate_attempt(*pair, duration=0.1, now=ago()) for pair in zip(deliveries, results, strict=True)]
    )

    assert (await look_up_cue(database, cue_id))["consecutive_failures"] == 0
    assert "consecutive_failures" in await alert_types(database)


async def test_verification_that_fails_is_told_and_is_no_failure_in_a_row(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database), verification="require_external_id")
    execution = await add_execution(database, cue_id)
    await claim(database)

    await report(database, execution, GOOD)

    (alert,) = await database.fetch("select alert_type, severity, metadata from alerts")
    row = await look_up(database, execution)
    assert (row["status"], row["outcome_state"], row["validation_state"]) == (
        "success",
        "verification_failed",
        "missing",
    )
    assert (alert["alert_type"], alert["severity"]) == ("verification_failed", "warning")
    assert json.loads(alert["metadata"]) == {
        "missing": "external_id",
        "outcome_state": "verification_failed",
        "transport": "webhook",
    }


async def test_evidence_is_stored_whatever_the_mode(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database))
    execution = await add_execution(database, cue_id)
    await claim(database)
    evidence = Evidence("ext-1", "https://x.example/1", "ref", "pdf", "short", [{"name": "a.pdf"}, "b"])

    await report(database, execution, evolve(GOOD, evidence=evidence, metadata={"ratio": 0.1, "Ä": [None]}))

    row = await look_up(database, execution)
    columns = ("external_id", "result_url", "result_ref", "result_type", "summary")
    assert [row[name] for name in columns] == ["ext-1", "https://x.example/1", "ref", "pdf", "short"]
    assert json.loads(row["artifacts"]) == [{"name": "a.pdf"}, "b"]
    assert json.loads(row["outcome_metadata"]) == {"ratio": 0.1, "Ä": [None]}


ENDS = {
    "delivered": (Answered(200), "completed"),
    "succeeded": (Answered(200, b'{"success": true}'), "completed"),
    "failed": (Answered(500), "failed"),
    "gone": (Answered(410), "failed"),
    "reported failure": (Answered(200, b'{"success": false}'), "failed"),
}


@pytest.mark.parametrize(("result", "status"), ENDS.values(), ids=ENDS.keys())
async def test_a_one_time_cue_ends_with_its_execution(database: Database, result: Answered, status: str) -> None:
    cue_id = await add_cue(database, await add_user(database), **ONCE, **ONE_TRY)
    await add_execution(database, cue_id, triggered_by="scheduled")
    (delivery,) = await claim(database)

    before = await look_up_cue(database, cue_id)
    await apply_transitions(database, [evaluate_attempt(delivery, result, duration=0.1, now=ago())])

    assert before["status"] == "active"
    assert (await look_up_cue(database, cue_id))["status"] == status


@pytest.mark.parametrize("triggered_by", ["manual_fire", "replay"])
async def test_a_one_time_cue_does_not_end_with_what_was_fired_by_hand(database: Database, triggered_by: str) -> None:
    cue_id = await add_cue(database, await add_user(database), **ONCE, **ONE_TRY)
    await add_execution(database, cue_id, triggered_by=triggered_by)
    (delivery,) = await claim(database)

    await apply_transitions(database, [evaluate_attempt(delivery, Answered(500), duration=0.1, now=ago())])

    assert (await look_up_cue(database, cue_id))["status"] == "active"


async def test_a_one_time_cue_that_ends_while_it_is_changed_has_ended(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, **ONCE)
    await add_execution(database, cue_id, triggered_by="scheduled")
    (delivery,) = await claim(database)
    ends = [evaluate_attempt(delivery, Answered(200), duration=0.1, now=ago())]

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery, database.transaction() as tx:
            read = await cue_changes.lock(tx, cue_id=cue_id, user=user)
            nursery.start_soon(apply_transitions, database, ends)
            await wait_for_locks(database)
            same = CueRecord(cue_descriptions.to_cue(read, {}), "{}", None, None)
            unmoved = CueUpdate([], None, read["status"], moves=False, next_run=None)
            changed = await cue_changes.change(tx, same, unmoved, cue_id=cue_id, user=user, act=SYSTEM)

    assert changed is not None
    assert (await look_up_cue(database, cue_id))["status"] == "completed"


async def test_a_one_time_cue_with_a_new_time_ahead_stays_active(database: Database) -> None:
    ahead = ago(hours=-1)
    cue_id = await add_cue(database, await add_user(database), next_run=ahead, **ONCE, **ONE_TRY)
    await add_execution(database, cue_id, triggered_by="scheduled")
    (delivery,) = await claim(database)

    await apply_transitions(database, [evaluate_attempt(delivery, Answered(500), duration=0.1, now=ago())])

    cue = await look_up_cue(database, cue_id)
    assert (cue["status"], cue["next_run"]) == ("active", ahead)


@pytest.mark.parametrize(
    ("schedule", "status", "after"),
    [({}, "active", "paused"), ({}, "paused", "paused"), (ONCE, "active", "failed")],
    ids=["recurring", "paused already", "one-time"],
)
async def test_the_last_failed_attempt_pauses_a_cue_that_asks_for_it(
    database: Database, schedule: dict[str, object], status: str, after: str
) -> None:
    cue_id = await add_cue(
        database, await add_user(database), on_failure_pause=True, status=status, **ONE_TRY, **schedule
    )
    if not schedule and status == "active":
        await database.execute("update cues set next_run = now() + interval '1 hour' where id = $1", cue_id)
    await add_execution(database, cue_id, triggered_by="scheduled")
    (delivery,) = await claim(database)

    await apply_transitions(database, [evaluate_attempt(delivery, Answered(500), duration=0.1, now=ago())])

    cue = await look_up_cue(database, cue_id)
    assert (cue["status"], cue["next_run"]) == (after, None)


async def test_a_failed_attempt_with_attempts_left_pauses_nothing(database: Database) -> None:
    ahead = ago(hours=-1)
    cue_id = await add_cue(database, await add_user(database), on_failure_pause=True, next_run=ahead)
    await add_execution(database, cue_id)
    (delivery,) = await claim(database)

    await apply_transitions(database, [evaluate_attempt(delivery, Answered(500), duration=0.1, now=ago())])

    cue = await look_up_cue(database, cue_id)
    assert (cue["status"], cue["next_run"], cue["consecutive_failures"]) == ("active", ahead, 0)


async def test_a_failure_reported_after_delivery_leaves_success_and_counts_as_a_failure(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database))
    execution = await add_execution(database, cue_id)
    (delivery,) = await claim(database)
    await apply_transitions(database, [evaluate_attempt(delivery, Answered(202), duration=0.1, now=ago())])

    await report(database, execution, BAD)

    row, cue = await look_up(database, execution), await look_up_cue(database, cue_id)
    assert (row["status"], row["outcome_success"], row["outcome_state"]) == ("success", False, "reported_failure")
    assert (cue["consecutive_failures"], cue["run_count"]) == (1, 1)
    assert await queued(database) == []
    assert await alert_types(database) == ["execution_failed"]


async def test_a_report_that_asks_for_no_retry_is_final(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database))
    execution = await add_execution(database, cue_id)
    await claim(database)

    await report(database, execution, FINAL_BAD)

    assert (await look_up(database, execution))["status"] == "failed"
    assert await queued(database) == []


@pytest.mark.parametrize("status", ["failed", "missed", "outcome_timeout"])
async def test_a_report_on_what_has_failed_is_stored_and_the_status_stays(database: Database, status: str) -> None:
    cue_id = await add_cue(database, await add_user(database), consecutive_failures=2)
    execution = await add_execution(database, cue_id, status=status, attempts=1, finished_at=ago(minutes=1))

    await report(database, execution, GOOD)

    row, cue = await look_up(database, execution), await look_up_cue(database, cue_id)
    assert (row["status"], row["outcome_state"], row["outcome_result"]) == (status, "reported_success", "done")
    assert (cue["consecutive_failures"], cue["run_count"]) == (0, 0)


async def test_an_execution_counts_in_the_month_when_its_first_attempt_begins_exactly_once(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, backoff_minutes=[0])
    await add_execution(database, cue_id)

    before = await database.fetch("select 1 from usage")
    (delivery,) = await claim(database)
    await apply_transitions(database, [released(delivery.fence)])
    (delivery,) = await claim(database)
    await apply_transitions(database, [evaluate_attempt(delivery, Answered(500), duration=0.1, now=ago())])
    (delivery,) = await claim(database)
    await apply_transitions(
        database, [evaluate_attempt(delivery, Answered(200, b'{"success": true}'), duration=0.1, now=ago())]
    )

    (used,) = await database.fetch("select executions, reported, succeeded, failed from usage")
    assert before == []
    assert tuple(used) == (1, 1, 1, 0)


async def test_what_is_released_is_the_same_attempt_again_and_is_not_logged(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database))
    execution = await add_execution(database, cue_id)
    (first,) = await claim(database)

    await apply_transitions(database, [released(first.fence)])
    row = await look_up(database, execution)
    (second,) = await claim(database)

    assert (row["status"], row["attempts"], row["lost_claims"], row["claim"]) == ("pending", 0, 0, None)
    assert (first.attempt, second.attempt) == (1, 1)
    assert first.claim != second.claim
    assert await database.fetch("select 1 from attempts") == []


async def test_what_is_postponed_is_the_same_attempt_again_after_its_pause(database: Database) -> None:
    execution = await add_execution(database, await add_cue(database, await add_user(database)))
    (delivery,) = await claim(database)

    await apply_transitions(database, [postponed(delivery.fence)])

    row = await look_up(database, execution)
    (entry,) = await database.fetch(
        "select ready_at, claimed_by, ready_at - now() between interval '3 seconds' and '5 seconds' as soon from outbox"
    )
    assert (row["status"], row["attempts"], row["ready_at"]) == ("pending", 0, entry["ready_at"])
    assert (entry["claimed_by"], entry["soon"]) == (None, True)
    assert await claim(database) == []
    assert await database.fetch("select 1 from attempts") == []


async def test_what_a_drain_hands_back_neither_adds_to_the_lost_claims_nor_forgets_them(database: Database) -> None:
    execution = await add_execution(database, await add_cue(database, await add_user(database)))
    (lost,) = await claim(database)
    await apply_transitions(database, [claim_lost(lost.fence, lost.retry, lost_claims=lost.lost_claims)])

    (drained,) = await claim(database)
    await apply_transitions(database, [released(drained.fence)])

    assert (await look_up(database, execution))["lost_claims"] == 1


async def test_the_fifth_claim_lost_in_a_row_is_a_failed_attempt(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database))
    execution = await add_execution(database, cue_id)

    seen = []
    for _ in range(5):
        (delivery,) = await claim(database)
        await apply_transitions(
            database, [claim_lost(delivery.fence, delivery.retry, lost_claims=delivery.lost_claims)]
        )
        row = await look_up(database, execution)
        seen.append((row["status"], row["attempts"], row["lost_claims"]))

    assert seen == [("pending", 0, number) for number in (1, 2, 3, 4)] + [("retrying", 1, 0)]


async def test_a_deadline_that_passes_with_attempts_left_brings_a_webhook_back_into_the_queue(
    database: Database,
) -> None:
    cue_id = await add_cue(database, await add_user(database), backoff_minutes=[0], outcome_deadline_seconds=60)
    execution = await add_execution(database, cue_id)
    (delivery,) = await claim(database)
    await apply_transitions(database, [evaluate_attempt(delivery, Answered(202), duration=0.1, now=ago())])
    await database.execute("update executions set outcome_deadline_at = now() - interval '1 second'")
    (found,) = await daemons.overdue(database)

    await apply_transitions(database, [deadline_passed(found.state.fence, found.state.retry)])
    row = await look_up(database, execution)
    again = await claim(database)

    assert (row["status"], row["finished_at"]) == ("retrying", None)
    assert [(one.execution_id, one.attempt) for one in again] == [(execution, 2)]
    assert (await look_up_cue(database, cue_id))["run_count"] == 0


async def test_a_deadline_that_passes_with_no_attempt_left_ends_the_execution_with_an_alert(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database), **ONCE, **ONE_TRY)
    late = {"status": "success", "attempts": 1, "finished_at": ago(), "outcome_deadline_at": ago(seconds=1)}
    execution = await add_execution(database, cue_id, triggered_by="scheduled", **late)
    (found,) = await daemons.overdue(database)

    await apply_transitions(database, [deadline_passed(found.state.fence, found.state.retry)])

    cue = await look_up_cue(database, cue_id)
    assert (await look_up(database, execution))["status"] == "outcome_timeout"
    assert (cue["status"], cue["consecutive_failures"]) == ("failed", 1)
    assert await alert_types(database) == ["outcome_timeout"]
    assert await daemons.overdue(database) == []


async def test_after_its_cue_was_deleted_a_failed_attempt_is_not_repeated_and_raises_no_alert(
    database: Database,
) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, backoff_minutes=[0])
    await add_execution(database, cue_id)
    (under_way,) = await claim(database)
    await add_execution(database, cue_id)

    await cue_deletion.delete(database, cue_ids=[cue_id], user=user, act=SYSTEM)
    waiting = await queued(database)
    await apply_transitions(database, [evaluate_attempt(under_way, Answered(500), duration=0.1, now=ago())])

    # What waited is called off at once, the request under way when its result is there.
    assert waiting == [under_way.execution_id]
    assert await queued(database) == []
    assert await claim(database) == []


async def test_the_end_of_a_deleted_cue_s_execution_raises_no_alert(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, **ONE_TRY)
    await add_execution(database, cue_id)
    (under_way,) = await claim(database)

    await cue_deletion.delete(database, cue_ids=[cue_id], user=user, act=SYSTEM)
    await apply_transitions(database, [evaluate_attempt(under_way, Answered(500), duration=0.1, now=ago())])

    assert await alert_types(database) == []
    assert await queued(database) == []


async def test_a_worker_s_failed_attempt_frees_the_execution_for_any_worker(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, transport="worker", backoff_minutes=[0])
    execution = await add_execution(database, cue_id)
    await claim_as_worker(database, user, "one")

    await report(database, execution, BAD, worker="one")
    row = await look_up(database, execution)
    (claimed,) = await claim_as_worker(database, user, "two")

    assert (row["status"], row["claimed_by_worker"], row["lease_until"], row["outcome_deadline_at"]) == (
        "retrying",
        None,
        None,
        None,
    )
    assert (claimed["id"], claimed["attempts"]) == (execution, 2)


UNSTORABLE = {
    "a null character": {"error": "a\x00b"},
    "a status out of range": {"record": AttemptRecord(99_999, None, None, 1)},
}


@pytest.mark.parametrize("said", UNSTORABLE.values(), ids=UNSTORABLE.keys())
async def test_a_step_that_cannot_be_stored_is_refused_and_changes_nothing(
    database: Database, said: dict[str, Any]
) -> None:
    cue_id = await add_cue(database, await add_user(database))
    execution = await add_execution(database, cue_id)
    (delivery,) = await claim(database)

    with pytest.raises(Unstorable):
        await apply_transitions(database, [attempt_failed(delivery.fence, DEFAULT_RETRY, **said)])

    assert (await look_up(database, execution))["status"] == Status.DELIVERING


async def test_two_batches_over_the_same_cues_in_opposite_order_both_succeed(database: Database) -> None:
    user = await add_user(database)
    ids = [await add_cue(database, user, **ONE_TRY) for _ in range(8)]
    for _ in range(10):
        for cue_id in (*ids, *ids):
            await add_execution(database, cue_id)
        steps = [evaluate_attempt(one, Answered(500), duration=0.1, now=ago()) for one in await claim(database)]
        first, second = steps[: len(ids)], steps[len(ids) :]

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(apply_transitions, database, first)
                nursery.start_soon(apply_transitions, database, second[::-1])

    counts = await database.fetch("select run_count, consecutive_failures from cues")
    assert [tuple(row) for row in counts] == [(20, 20)] * 8


async def test_the_execution_of_an_earlier_time_makes_nothing_of_a_one_time_cue(database: Database) -> None:
    earlier, later = ago(hours=2), ago(hours=1)
    cue_id = await add_cue(database, await add_user(database), schedule_at=later, max_attempts=1, **ONCE)
    await add_execution(database, cue_id, triggered_by="scheduled", scheduled_for=earlier)
    (delivery,) = await claim(database)
    await apply_transitions(database, [evaluate_attempt(delivery, Answered(500), duration=0.1, now=ago())])
    between = (await look_up_cue(database, cue_id))["status"]

    await add_execution(database, cue_id, triggered_by="scheduled", scheduled_for=later)
    (delivery,) = await claim(database)
    await apply_transitions(database, [evaluate_attempt(delivery, Answered(200), duration=0.1, now=ago())])

    assert (between, (await look_up_cue(database, cue_id))["status"]) == ("active", "completed")
