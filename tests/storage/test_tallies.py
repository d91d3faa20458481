"""The rollup of ended executions: whatever is decided, it says what a count of the executions would say."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
import trio
from attrs import define

from cueapi.domain.attempt import Answered, Result, Unreachable, evaluate_attempt
from cueapi.domain.audit import SYSTEM
from cueapi.domain.catchup import FiringPlan, Occurrence
from cueapi.domain.errors import Refusal
from cueapi.domain.execution import Transition, deadline_passed, unclaimed
from cueapi.domain.ids import new_uuid7
from cueapi.domain.outcome import Evidence, OutcomeState, Report
from cueapi.domain.reporting import apply_report
from cueapi.domain.retry import NO_RETRY
from cueapi.domain.verification import Verification, manual_verdict
from cueapi.storage import due_cues, executions, fires, janitor
from cueapi.storage.database import Database
from cueapi.storage.due_cues import DueCue
from cueapi.storage.executions import Addition
from cueapi.storage.fires import ManualFire
from cueapi.storage.quarantine import quarantine_execution
from cueapi.storage.transitions import apply_transitions
from tests.storage.recounting import differences
from tests.storage.rows import (
    MONTHLY,
    ONCE,
    add_cue,
    add_execution,
    add_user,
    ago,
    claim,
    claim_as_worker,
    fence_of,
    headroom,
    standing_of,
    wait_for_locks,
)

ANSWERS: tuple[Result, ...] = (
    Answered(200, b"ok"),
    Answered(200, b'{"success": true}'),
    Answered(200, b'{"success": false, "error": "no paper"}'),
    Answered(500),
    Answered(410),
    Unreachable("refused"),
)
REPORTS = (
    Report(success=True),
    Report(success=True, evidence=Evidence(external_id="x")),
    Report(success=False),
    Report(success=False, retry=False),
)


async def tallies(database: Database, *columns: str) -> list[tuple[Any, ...]]:
    """These columns of the rollup, in their order."""
    rows = await database.fetch(f"select {', '.join(columns)} from tallies order by bucket, status")
    return [tuple(row.values()) for row in rows]


@define
class Play:
    """Moves of executions, as they may come."""

    database: Database
    random: Random
    user: int
    cues: list[str]

    async def step(self) -> None:
        """Any of them."""
        await self.random.choice(
            [
                *[self.fire, self.deliver] * 2,
                *(self.work, self.report, self.verify, self.prove, self.overdue, self.give_up, self.quarantine),
            ]
        )()

    async def fire(self) -> None:
        """Some are fired by hand; one in ten when the month is spent."""
        for cue_id in self.random.choices(self.cues, k=4):
            fire, monthly = ManualFire(new_uuid7()), 10**9 if self.random.random() < 0.9 else 0
            await fires.fire(self.database, cue_id=cue_id, user=self.user, manual_fire=fire, monthly=monthly)

    async def deliver(self) -> None:
        """A batch of attempts ends as it may."""
        deliveries = await claim(self.database, among=headroom(6))
        answers = self.random.choices(ANSWERS, k=len(deliveries))
        await self.write(
            [evaluate_attempt(*both, duration=0.1, now=ago()) for both in zip(deliveries, answers, strict=True)]
        )

    async def work(self) -> None:
        """A worker claims."""
        await claim_as_worker(self.database, self.user, most=2)

    async def report(self) -> None:
        """A report comes, perhaps late, perhaps in vain."""
        for execution in await self.some("attempts > 0"):
            try:
                transition = apply_report(
                    await standing_of(self.database, execution), self.random.choice(REPORTS), worker_id=None
                )
            except Refusal:
                continue
            await self.write([transition])

    async def verify(self) -> None:
        """A person accepts or rejects."""
        for execution in await self.some("outcome_state is not null"):
            row = await self.row(execution)
            try:
                verdict = manual_verdict(row, valid=self.random.random() < 0.5)
            except Refusal:
                continue
            await executions.verify(
                self.database,
                execution=execution,
                user=self.user,
                seen=row,
                verification=verdict,
                reason=None,
                act=SYSTEM,
            )

    async def prove(self) -> None:
        """Evidence comes later."""
        for execution in await self.some("outcome_state = 'verification_failed'"):
            addition = Addition(Evidence(external_id="y"), None, Verification(OutcomeState.VERIFIED_SUCCESS, "valid"))
            await executions.add_evidence(
                self.database, execution=execution, user=self.user, seen="verification_failed", addition=addition
            )

    async def overdue(self) -> None:
        """Deadlines pass."""
        found = await self.some("status = 'success' and outcome_attempt is distinct from attempts")
        states = [await standing_of(self.database, one) for one in found]
        await self.write([deadline_passed(state.fence, state.retry) for state in states])

    async def give_up(self) -> None:
        """No worker comes."""
        found = await self.some("status = 'pending' and transport = 'worker'")
        await self.write([unclaimed(await fence_of(self.database, one)) for one in found])

    async def quarantine(self) -> None:
        """One cannot be worked with."""
        for execution in await self.some("status = 'retrying' or outcome_deadline_at is not null"):
            await quarantine_execution(self.database, execution, reason="x")

    async def write(self, transitions: list[Transition]) -> None:
        """As the daemon does."""
        await apply_transitions(self.database, transitions)
        await self.database.execute("update outbox set ready_at = now() - interval '1 second'")

    async def some(self, which: str) -> list[UUID]:
        """Two executions at most."""
        rows = await self.database.fetch(f"select id from executions where {which} order by id")
        return [row["id"] for row in self.random.sample(rows, min(2, len(rows)))]

    async def row(self, execution: UUID) -> str | None:
        """The state of its outcome."""
        rows = await self.database.fetch("select outcome_state from executions where id = $1", execution)
        state: str | None = rows[0]["outcome_state"]
        return state


@pytest.mark.parametrize("seed", range(4))
async def test_the_rollup_is_what_a_recount_gives_whatever_happens(database: Database, seed: int) -> None:
    user = await add_user(database)
    modes = ("none", "manual", "require_external_id")
    cues = [await add_cue(database, user, verification=mode, backoff_minutes=[0]) for mode in modes]
    cues += [await add_cue(database, user, transport="worker", callback_url=None, callback_host=None, max_attempts=2)]
    play = Play(database, Random(seed), user, cues)

    with trio.fail_after(120):
        for _ in range(60):
            await play.step()

    ended = await database.fetch("select distinct status from executions where finished_at is not null")
    assert len(ended) >= 3
    assert await differences(database) == []


async def test_a_batch_writes_one_row_for_each_user_time_and_status(database: Database) -> None:
    for user in (await add_user(database), await add_user(database)):
        cue_id = await add_cue(database, user, max_attempts=1)
        for _ in range(4):
            await add_execution(database, cue_id, scheduled_for=ago(seconds=2))
    deliveries = await claim(database)
    answers = [Answered(200 if number % 4 < 2 else 500) for number in range(8)]  # claimed by turns
    transitions = [evaluate_attempt(*both, duration=0.1, now=ago()) for both in zip(deliveries, answers, strict=True)]

    await apply_transitions(database, transitions)

    assert await tallies(database, "count", "status") == [(2, "failed"), (2, "failed"), (2, "success"), (2, "success")]
    for lag_sum, lag_max in await tallies(database, "lag_sum", "lag_max"):
        assert 2_000 <= lag_max <= lag_sum
    assert await differences(database) == []


async def test_what_is_attempted_again_after_its_deadline_is_taken_away_again(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database))
    execution = await add_execution(database, cue_id)
    (delivery,) = await claim(database)
    await apply_transitions(database, [evaluate_attempt(delivery, Answered(200), duration=0.1, now=ago())])
    before = await tallies(database, "status", "count")

    state = await standing_of(database, execution)
    await apply_transitions(database, [deadline_passed(state.fence, state.retry)])

    assert before == [("success", 1)]
    assert await tallies(database, "status", "count", "lag_sum") == [("success", 0, 0)]
    assert await differences(database) == []


async def test_a_failure_that_is_reported_late_is_counted_where_its_delivery_was(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database))
    execution = await add_execution(database, cue_id)
    (delivery,) = await claim(database)
    await apply_transitions(database, [evaluate_attempt(delivery, Answered(200), duration=0.1, now=ago())])

    report = apply_report(await standing_of(database, execution), Report(success=False), worker_id=None)
    await apply_transitions(database, [report])

    assert await tallies(database, "status", "count", "unsuccessful") == [("success", 1, 1)]


@pytest.mark.parametrize("missed", [True, False], ids=["missed", "in a month that is spent"])
async def test_what_ends_as_it_is_fired_is_counted_without_a_lag(database: Database, missed: bool) -> None:
    user, at = await add_user(database), ago(minutes=1)
    cue_id = await add_cue(database, user, next_run=at, **ONCE)
    if not missed:
        await database.execute("update users set grace_until = now(), grace_month = date_trunc('month', now())")
    (row,) = await due_cues.due(database, 10)
    firing = Occurrence(at, 0)
    plan = FiringPlan(fire=() if missed else (firing,), missed=firing if missed else None, next_run=None)

    await due_cues.fire_due(
        database, [DueCue(cue_id, row.next_run, row.revision, plan)], MONTHLY if missed else {"self_hosted": 0}
    )

    status = "missed" if missed else "failed"
    assert await tallies(database, "status", "count", "lag_sum", "lag_max") == [(status, 1, 0, None)]
    assert await differences(database) == []


async def test_a_transition_that_is_dropped_counts_nothing(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database))
    await add_execution(database, cue_id)
    (delivery,) = await claim(database)
    transition = evaluate_attempt(delivery, Answered(200), duration=0.1, now=ago())

    for _ in range(2):
        await apply_transitions(database, [transition])

    assert await tallies(database, "status", "count") == [("success", 1)]


async def test_recorders_of_many_accounts_do_not_deadlock_on_their_tallies(database: Database) -> None:
    users = [await add_user(database) for _ in range(6)]
    # One-time cues move their users' counts of live cues, too.
    once = [[await add_cue(database, user, **ONCE, schedule_at=ago(days=1)) for _ in range(4)] for user in users]
    for cues in once:
        for cue_id in cues:
            await add_execution(database, cue_id, triggered_by="scheduled")
    deliveries = await claim(database)
    batches = [deliveries[number::4] for number in range(4)]

    async def write(number: int) -> None:
        batch = Random(number).sample(batches[number], 6)
        answers = [evaluate_attempt(one, Answered(200), duration=0.1, now=ago()) for one in batch]
        assert len(await apply_transitions(database, answers)) == 6

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(write, number)

    (row,) = await database.fetch("select deadlocks from pg_stat_database where datname = current_database()")
    assert row["deadlocks"] == 0
    assert await differences(database) == []


Deciding = Callable[[Database, str], Awaitable[object]]


async def end_by_answer(database: Database, cue_id: str) -> None:
    """The execution of a one-time cue ends it."""
    await add_execution(database, cue_id, triggered_by="scheduled")
    answers = [evaluate_attempt(one, Answered(500), duration=0.1, now=ago()) for one in await claim(database)]
    await apply_transitions(database, answers)


async def end_by_poll(database: Database, cue_id: str) -> None:
    """A one-time cue ends since its only time was missed."""
    await database.execute("update cues set next_run = schedule_at")
    (row,) = await due_cues.due(database, 10)
    plan = FiringPlan(fire=(), missed=Occurrence(row.next_run, 0), next_run=None)
    await due_cues.fire_due(database, [DueCue(cue_id, row.next_run, row.revision, plan)], MONTHLY)


async def end_by_quarantine(database: Database, cue_id: str) -> None:
    """Its execution cannot be worked with."""
    execution = await add_execution(database, cue_id, triggered_by="scheduled")
    await quarantine_execution(database, execution, reason="x")


@pytest.mark.parametrize("end", [end_by_answer, end_by_poll, end_by_quarantine])
async def test_tallies_are_locked_behind_users_and_before_the_gates_of_alerts(
    database: Database, end: Deciding
) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, **ONCE, schedule_at=ago(days=1), max_attempts=1)
    rows = (
        "insert into tallies (user_id, bucket, status, count)"
        " select $1, five_minutes(now()) + n * interval '5 minutes', s, 0"
        "   from generate_series(0, 2) n, unnest(array['failed', 'missed']) s"
    )
    gates = (
        "select from pg_locks where relation = 'alert_gates'::regclass"
        " and database = (select oid from pg_database where datname = current_database())"
    )

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            async with database.transaction() as tx:
                await tx.execute(rows, user)
                nursery.start_soon(end, database, cue_id)
                await wait_for_locks(database)
                free = await database.fetch("select id from users for no key update skip locked")
                told = await database.fetch(gates)

    assert (free, told) == ([], [])
    assert [row[1] for row in await tallies(database, "status", "count") if row[1]] == [1]


async def add_tally(database: Database, user: int, bucket: datetime, count: int = 1) -> None:
    await database.execute(
        "insert into tallies (user_id, bucket, status, count, lag_sum, lag_max) values ($1, $2, 'success', $3, 10, 7)",
        user, bucket, count,
    )  # fmt: skip


async def test_tallies_are_merged_into_hours_after_eight_days_and_go_after_the_retention(database: Database) -> None:
    user = await add_user(database)
    hour = (await database.fetch("select date_trunc('hour', now() - interval '9 days', 'utc') as at"))[0]["at"]
    for minutes in (0, 5, 55, 60):
        await add_tally(database, user, hour + timedelta(minutes=minutes))
    await add_tally(database, user, ago(days=7))

    first = [await janitor.merge_tallies(database) for _ in range(2)]
    await add_tally(database, user, hour + timedelta(minutes=5), -1)
    again = await janitor.merge_tallies(database)

    hours = await database.fetch("select bucket, count, lag_sum, lag_max from hourly_tallies order by bucket")
    assert (first, again) == ([2, 0], 1)
    assert [tuple(row.values()) for row in hours] == [(hour, 2, 40, 7), (hour + timedelta(hours=1), 1, 10, 7)]
    assert await tallies(database, "count") == [(1,)]
    assert [await janitor.apply_retention(database, days) for days in (10, 8, 8)] == [0, 2, 0]


async def test_a_correction_of_an_hour_that_was_closed_comes_out_right(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database))
    execution = await add_execution(database, cue_id)
    (delivery,) = await claim(database)
    await apply_transitions(database, [evaluate_attempt(delivery, Answered(200), duration=0.1, now=ago())])
    await database.execute("update executions set finished_at = finished_at - interval '9 days'")
    await database.execute("update tallies set bucket = five_minutes(bucket - interval '9 days')")
    await janitor.merge_tallies(database)

    await apply_transitions(database, [deadline_passed(await fence_of(database, execution), NO_RETRY)])
    differing = [await differences(database)]
    await janitor.merge_tallies(database)

    assert [*differing, await differences(database)] == [[], []]
    assert await tallies(database, "count") == []
