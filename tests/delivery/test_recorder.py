"""Results are written down, a batch at a time, and each is kept until it was."""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
from attrs import evolve, frozen
from structlog.testing import capture_logs
from trio.testing import MockClock

from cueapi.delivery.capacity import Capacity
from cueapi.delivery.quarantine import NOT_STORED
from cueapi.delivery.recorder import BATCH, GATHERING, Recorder
from cueapi.delivery.retries import Reminder
from cueapi.domain.attempt import Answered, Delivery, Result, Unreachable, evaluate_attempt
from cueapi.domain.execution import AttemptRecord, Transition
from cueapi.metrics import Metrics
from cueapi.storage.database import Database
from cueapi.trio_asyncpg.pool import open_pool
from supervisor import Channel, Periodic
from tests.delivery.siblings import Counting, alive, gone, quiet_hub, until
from tests.storage.rows import (
    ONCE,
    add_cue,
    add_execution,
    add_user,
    ago,
    alert_types,
    claim,
    look_up,
    look_up_cue,
    notified,
    queued,
    told,
)
from tests.trio_asyncpg.relay import relay_to


@pytest.fixture
def counting(database: Database) -> Counting:
    return Counting(database.pool)


@pytest.fixture
def recorder(counting: Counting) -> Recorder:
    results, retries = Channel[Transition]("results", 200), Channel[Reminder]("retries", 10)
    return Recorder(counting, results, retries, quiet_hub(), Metrics(), Capacity(256, 64), horizon=120.0)


async def claimed(database: Database, number: int, **columns: object) -> list[Delivery]:
    """So many attempts under way of one cue."""
    cue_id = await add_cue(database, await add_user(database), **columns)
    for _ in range(number):
        await add_execution(database, cue_id)
    return await claim(database)


def settled(delivery: Delivery, result: Result | None = None) -> Transition:
    return evaluate_attempt(delivery, result or Answered(200, b"ok"), duration=0.1, now=ago())


async def record(recorder: Recorder, steps: list[Transition]) -> None:
    """Send *steps* and let the recorder run dry."""
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(recorder.run)
            with recorder.results.sender() as results:
                for step in steps:
                    await results.send(step)
            recorder.results.end()


async def statuses(database: Database) -> list[str]:
    return [row["status"] for row in await database.fetch("select status from executions order by status")]


async def test_a_batch_is_one_statement_and_the_last_ones_are_written_at_the_end(
    database: Database, recorder: Recorder, counting: Counting
) -> None:
    deliveries = await claimed(database, BATCH // 2) + await claimed(database, BATCH // 2)

    with recorder.results.sender() as results:
        for delivery in deliveries:
            await results.send(settled(delivery))
    await record(recorder, [])

    assert await statuses(database) == ["success"] * BATCH
    assert counting.said == ["with"]
    assert await queued(database) == []


async def test_after_a_pause_a_result_is_written_at_once_and_what_comes_soon_after_it_gathers(
    database: Database, recorder: Recorder, counting: Counting, mock_clock: MockClock
) -> None:
    first, *later = await claimed(database, 3)

    async with alive(recorder.run):
        with recorder.results.sender() as results:
            await results.send(settled(first))
            await in_standing_time(partial(is_settled, database, first))
            for delivery in later:
                await results.send(settled(delivery))
            await trio.to_thread.run_sync(time.sleep, 0.05)
            assert counting.said == ["with"]

            mock_clock.jump(GATHERING)
            await in_standing_time(partial(is_settled, database, later[-1]))

    assert await statuses(database) == ["success"] * 3
    assert counting.said == ["with"] * 2


async def in_standing_time(found: Callable[[], Awaitable[bool]]) -> None:
    """Look again and again, while the clock of the siblings stands still."""
    for _ in range(1_000):
        if await found():
            return
        await trio.to_thread.run_sync(time.sleep, 0.01)
    raise AssertionError("it waits for time to pass")


async def test_while_postgresql_is_away_results_are_kept_and_written_when_it_is_back(
    database: Database, recorder: Recorder, postgres_url: str, database_url: str
) -> None:
    deliveries = await claimed(database, 3)

    with capture_logs() as lines, trio.fail_after(20):
        async with gone(postgres_url, database_url):
            with recorder.results.sender() as results:
                for delivery in deliveries:
                    await results.send(settled(delivery))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(record, recorder, [])
                await until(lambda: lines)
                nursery.cancel_scope.cancel()
        # What a former life kept comes first.
        recorder.results = Channel("results", 200)
        await record(recorder, [])

    assert lines[0]["event"] == "results_waited"
    assert await statuses(database) == ["success"] * 3


async def test_it_goes_on_by_itself_when_postgresql_is_back(
    database: Database, recorder: Recorder, postgres_url: str, database_url: str
) -> None:
    deliveries = await claimed(database, 2)

    with capture_logs() as lines, trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            async with gone(postgres_url, database_url):
                nursery.start_soon(record, recorder, [settled(delivery) for delivery in deliveries])
                await until(lambda: lines)

    assert await statuses(database) == ["success"] * 2
    assert "attempt_settled" in {line["event"] for line in lines}


async def test_a_result_that_cannot_be_stored_fails_alone(database: Database, recorder: Recorder) -> None:
    deliveries = await claimed(database, 5)
    bad = evolve(settled(deliveries[2]), record=AttemptRecord(200, "a\x00b", None, 1))

    await record(recorder, [settled(one) if one is not deliveries[2] else bad for one in deliveries])

    row = await look_up(database, deliveries[2].execution_id)
    assert await statuses(database) == ["failed", *["success"] * 4]
    assert (row["status"], row["error_message"]) == ("failed", NOT_STORED)
    assert await queued(database) == []
    assert await alert_types(database) == ["execution_failed"]


async def test_an_execution_whose_cue_has_come_to_the_end_of_its_counters_fails_alone_and_its_user_is_told(
    database: Database, recorder: Recorder
) -> None:
    (broken,) = await claimed(
        database, 1, name="broken", max_attempts=1, on_failure_webhook="http://127.0.0.1:9/", **ONCE
    )
    sound = await claimed(database, 4, on_failure_email=False)
    await database.execute(
        "update executions set triggered_by = 'scheduled', scheduled_for = c.schedule_at"
        "  from cues c where c.id = cue_id and c.id = $1",
        broken.cue_id,
    )
    await database.execute("update cues set run_count = 9223372036854775807 where id = $1", broken.cue_id)

    await record(recorder, [settled(one, Answered(500)) for one in (*sound[:2], broken, *sound[2:])])

    row = await look_up(database, broken.execution_id)
    assert await statuses(database) == ["failed", *["retrying"] * 4]
    assert (row["status"], row["error_message"]) == ("failed", NOT_STORED)
    assert await told(database, broken.execution_id) == [("execution_failed", f"broken: {NOT_STORED}")]
    assert await notified(database) == ["failure_mail", "failure_webhook"]
    assert (await look_up_cue(database, broken.cue_id))["status"] == "failed"


async def test_a_result_whose_claim_was_lost_is_dropped_and_forgotten(database: Database, recorder: Recorder) -> None:
    good, stale = await claimed(database, 2)
    await database.execute("update executions set claim = gen_random_uuid() where id = $1", stale.execution_id)

    with capture_logs() as lines:
        await record(recorder, [settled(good), settled(stale, Answered(500))])

    assert await statuses(database) == ["delivering", "success"]
    assert [line["event"] for line in lines] == ["attempt_settled", "result_dropped"]


@pytest.mark.parametrize(
    ("minutes", "reminded", "woken"),
    [(0, [], True), (1, [Reminder(60.0)], False), (5, [], False)],
    ids=["at once", "before the poll after the next", "later"],
)
async def test_a_retry_is_armed_where_it_comes_before_the_polls_can_arm_it(
    database: Database, recorder: Recorder, minutes: int, reminded: list[Reminder], *, woken: bool
) -> None:
    deliveries = await claimed(database, 1, backoff_minutes=[minutes])
    await recorder.hub.dispatches.wait()

    await record(recorder, [settled(deliveries[0], Answered(500))])

    armed = []
    with recorder.retries.receiver() as retries:
        while recorder.retries.depth:
            armed.append(retries.receive_nowait())
    assert armed == reminded
    assert is_woken(recorder.hub.dispatches) is woken


async def test_a_full_retry_channel_holds_nothing_up(database: Database, recorder: Recorder) -> None:
    deliveries = await claimed(database, 20, backoff_minutes=[1])

    await record(recorder, [settled(delivery, Answered(500)) for delivery in deliveries])

    assert await statuses(database) == ["retrying"] * 20
    assert recorder.retries.depth == 10


COMMIT = b"COMMIT\0"
"""What PostgreSQL answers to it."""


@frozen
class LostAnswer:
    """What a recorder did whose connection ended between the commit and its answer."""

    lines: list[Any]
    armed: list[Reminder]
    dispatched: bool
    notified: bool


async def lose_the_answer(
    recorder: Recorder, database_url: str, transitions: list[Transition], at: bytes
) -> LostAnswer:
    """Record through a relay that ends the connection where PostgreSQL says *at*."""
    with capture_logs() as lines, trio.fail_after(30):
        async with relay_to(database_url) as relay, open_pool(relay.through(database_url), size=1) as pool:
            recorder.database = Database(pool)
            await recorder.hub.dispatches.wait()
            await recorder.hub.notifications.wait()
            relay.cut_at = at
            await record(recorder, transitions)
    with recorder.retries.receiver() as retries:
        armed = [retries.receive_nowait() for _ in range(recorder.retries.depth)]
    return LostAnswer(lines, armed, is_woken(recorder.hub.dispatches), is_woken(recorder.hub.notifications))


def is_woken(ticks: Periodic) -> bool:
    """Whether its next turn would begin at once."""
    return ticks._next_wake <= trio.current_time()


@pytest.mark.parametrize(
    ("minutes", "armed", "dispatched"), [(0, [], True), (1, [Reminder(60.0)], False)], ids=["at once", "in a minute"]
)
async def test_a_retry_whose_write_lost_its_answer_is_armed_and_logged_as_if_it_had_come(
    database: Database, database_url: str, recorder: Recorder, minutes: int, armed: list[Reminder], *, dispatched: bool
) -> None:
    deliveries = await claimed(database, 2, backoff_minutes=[minutes])
    transitions = [settled(deliveries[0], Answered(500)), settled(deliveries[1])]

    lost = await lose_the_answer(recorder, database_url, transitions, deliveries[0].execution_id.bytes)

    assert [line["event"] for line in lost.lines] == ["results_waited", "attempt_settled", "attempt_settled"]
    assert (lost.armed, lost.dispatched, lost.notified) == (armed, dispatched, False)
    assert await statuses(database) == ["retrying", "success"]


async def test_an_alert_whose_commit_lost_its_answer_is_sent_at_once(
    database: Database, database_url: str, recorder: Recorder
) -> None:
    (delivery,) = await claimed(database, 1, max_attempts=1, on_failure_webhook="http://127.0.0.1:9/")

    lost = await lose_the_answer(recorder, database_url, [settled(delivery, Answered(500))], COMMIT)

    assert [line["event"] for line in lost.lines] == ["results_waited", "attempt_settled"]
    assert lost.notified
    assert await alert_types(database) == ["execution_failed"]


async def test_what_cannot_be_told_to_be_written_wakes_all_that_may_wait_for_it(
    database: Database, database_url: str, recorder: Recorder
) -> None:
    (delivery,) = await claimed(database, 1, backoff_minutes=[0])
    transition = settled(delivery, Answered(500))
    recorder._sent.add(delivery.execution_id)
    await database.execute("update executions set status = 'success', claim = null, finished_at = now()")

    lost = await lose_the_answer(recorder, database_url, [transition], b"never said")

    assert [line["event"] for line in lost.lines] == ["result_dropped"]
    assert (lost.dispatched, lost.notified) == (True, True)


async def is_settled(database: Database, delivery: Delivery) -> bool:
    return (await look_up(database, delivery.execution_id))["status"] == "success"


async def test_a_channel_that_does_not_end_is_written_from_as_results_come(
    database: Database, recorder: Recorder
) -> None:
    first, second = await claimed(database, 2)

    with trio.fail_after(10):
        async with alive(recorder.run):
            with recorder.results.sender() as results:
                for delivery in (first, second):
                    await results.send(settled(delivery))
                    await until(partial(is_settled, database, delivery))

    assert await queued(database) == []


async def test_a_result_is_logged_once_with_its_cue_its_outcome_and_why_but_not_in_the_handler_s_words(
    database: Database, recorder: Recorder
) -> None:
    columns = {"name": "nightly", "max_attempts": 1, "on_failure_pause": True}
    (first, *rest) = await claimed(database, 5, **columns)
    answers = [
        Answered(202),
        Answered(200, b'{"success": true, "metadata": 5}'),
        Answered(200, b'{"success": false, "error": "in confidence"}'),
        Unreachable("no answer within 30 s"),
        Answered(500, b"in confidence"),
    ]

    with capture_logs() as lines:
        await record(recorder, [settled(one, answer) for one, answer in zip((first, *rest), answers, strict=True)])

    told = {line["execution_id"]: line for line in lines if line["event"] == "attempt_settled"}
    facts = [
        {name: told[str(one.execution_id)][name] for name in ("outcome", "status", "reason", "http_status", "dropped")}
        for one in (first, *rest)
    ]
    assert [tuple(fact.values()) for fact in facts] == [
        ("delivered", "success", None, 202, None),
        ("success", "success", None, 200, ["metadata"]),
        ("reported_failure", "failed", "The handler reported a failure.", 200, None),
        ("failed", "failed", "no answer within 30 s", None, None),
        ("failed", "failed", "The handler answered 500.", 500, None),
    ]
    assert {(line["cue_id"], line["cue"], line["attempt"]) for line in told.values()} == {(first.cue_id, "nightly", 1)}
    assert [(line["cue"], line["log_level"]) for line in lines if line["event"] == "cue_paused"] == [
        ("nightly", "warning")
    ]
    assert "in confidence" not in str(lines)
