"""Executions as they are shown, and what a report or a person changes in them."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from attrs import frozen

from cueapi.domain.audit import Act
from cueapi.domain.execution import Fence
from cueapi.domain.outcome import Evidence
from cueapi.domain.reporting import ExecutionState
from cueapi.domain.retry import Retry
from cueapi.domain.verification import Verification
from cueapi.storage.database import Executor, Row, fetch_value
from cueapi.storage.statements import load
from cueapi.storage.verification_rules import to_rules


class ExecutionRow(Row):
    """An execution as it is shown; *outcome_metadata*, *artifacts* and *waiting_for* are JSON."""

    id: UUID
    cue_id: str
    cue_name: str
    next_run: datetime | None
    scheduled_for: datetime
    status: str
    transport: str
    triggered_by: str
    attempts: int
    http_status: int | None
    response_body: str | None
    error_message: str | None
    started_at: datetime | None
    delivered_at: datetime | None
    last_attempt_at: datetime | None
    next_retry: datetime | None
    claimed_by_worker: str | None
    claimed_at: datetime | None
    reported_attempt: int | None
    outcome_success: bool | None
    outcome_result: str | None
    outcome_error: str | None
    outcome_metadata: str | None
    outcome_recorded_at: datetime | None
    outcome_state: str | None
    external_id: str | None
    result_url: str | None
    result_ref: str | None
    result_type: str | None
    summary: str | None
    artifacts: str | None
    validation_state: str | None
    outcome_deadline_at: datetime | None
    progress: float | None
    message: str | None
    missed_runs: int
    late: bool
    waiting_for: str | None
    created_at: datetime
    updated_at: datetime


COLUMNS: LiteralString = """
e.id, e.cue_id, c.name as cue_name, c.next_run, e.scheduled_for,
case when e.status = 'retrying' and e.ready_at <= now() then 'retry_ready' else e.status end as status,
e.transport, e.triggered_by, e.attempts, e.http_status, e.response_body, e.error_message, e.started_at, e.delivered_at,
e.last_attempt_at, case when e.status = 'retrying' then e.ready_at end as next_retry,
e.claimed_by_worker, e.claimed_at, e.reported_attempt, e.outcome_success, e.outcome_result, e.outcome_error,
e.outcome_metadata, e.outcome_recorded_at, e.outcome_state, e.external_id, e.result_url, e.result_ref,
e.result_type, e.summary, e.artifacts, e.validation_state, e.outcome_deadline_at,
case when e.progress_attempt = e.attempts then e.progress end as progress,
case when e.progress_attempt = e.attempts then e.progress_message end as message, e.missed_runs, e.late,
case when e.finished_at is null and e.status in ('pending', 'retrying') and e.transport = 'webhook'
     then (select json_build_object('kind', 'target', 'host', t.host, 'since', iso(t.since),
                                    'next_probe_at', iso(t.next_probe_at))
             from outbox o
             join targets t on t.user_id = o.user_id and t.host = o.host and t.state <> 'closed'
            where o.execution_id = e.id and o.waits_until is not null) end as waiting_for,
e.created_at, e.updated_at
"""

LIVING_CUE: LiteralString = "cues c on c.id = e.cue_id and c.deleted_at is null"
SOURCE: LiteralString = "executions e join " + LIVING_CUE


# What is decided upon what is read then, no report and no attempt changes meanwhile.
LOCK = "select id from executions where id = $1 and user_id = $2 for no key update"


async def lock(db: Executor, *, execution: UUID, user: int) -> None:
    """Have other changes of the execution wait until the transaction ends."""
    await db.execute(LOCK, execution, user)


SHOW = "select " + COLUMNS + " from " + SOURCE + " where e.id = $1 and e.user_id = $2"


async def show(db: Executor, *, execution: UUID, user: int) -> ExecutionRow | None:
    """One execution; None where it is not this user's."""
    return await db.fetch_one(SHOW, execution, user, row=ExecutionRow)


class ExecutionDetail(ExecutionRow):
    """An execution with its payload, which is JSON of up to 1 MiB: lists leave it out."""

    payload: str


DETAIL = "select " + COLUMNS + ", e.payload from " + SOURCE + " where e.id = $1 and e.user_id = $2"


async def detail(db: Executor, *, execution: UUID, user: int) -> ExecutionDetail | None:
    """One execution with its payload; None where it is not this user's."""
    return await db.fetch_one(DETAIL, execution, user, row=ExecutionDetail)


class AttemptRow(Row):
    """One attempt of an execution's log."""

    attempt: int
    started_at: datetime | None
    duration_ms: int | None
    sent_after_ms: int | None
    first_byte_after_ms: int | None
    http_status: int | None
    error: str | None
    outcome: str | None
    response_body: str | None


ATTEMPTS = """
select attempt, started_at, duration_ms, sent_after_ms, first_byte_after_ms, http_status, error, outcome,
       response_body
  from attempts
 where execution_id = $1
 order by attempt
"""


async def attempts(db: Executor, execution: UUID) -> list[AttemptRow]:
    """The log of attempts, in their order."""
    return await db.fetch(ATTEMPTS, execution, row=AttemptRow)


class StateRow(Row):
    """An execution's state, and what its cue says of retries and verification."""

    id: UUID
    user_id: int
    claim: UUID | None
    attempts: int
    status: str
    outcome_attempt: int | None
    reported_attempt: int | None
    counted: bool
    transport: str
    claimed_by_worker: str | None
    ready_at: datetime
    lost_claims: int
    max_attempts: int
    backoff_minutes: list[int]
    verification: str
    assertions: str | None
    verification_on_failed: str
    elapsed_ms: int | None


STATES = """
select s.* from execution_states s where s.id = any ($1::uuid[]) and s.user_id = any ($2::bigint[])
   and s.deleted_at is null
"""


async def states(db: Executor, wanted: Sequence[tuple[UUID, int]]) -> list[ExecutionState | None]:
    """The executions as reports find them, each of its user; None where there is no such."""
    ids, users = [execution for execution, _ in wanted], [user for _, user in wanted]
    found = {(row.id, row.user_id): row for row in await db.fetch(STATES, ids, users, row=StateRow)}
    return [None if (row := found.get(one)) is None else to_execution_state(row) for one in wanted]


def to_execution_state(row: StateRow) -> ExecutionState:
    """A row as a decision about the execution needs it."""
    outcome = -1 if row.outcome_attempt is None else row.outcome_attempt
    return ExecutionState(
        fence=Fence(row.id, row.claim, row.attempts, row.status, outcome),
        transport=row.transport,
        rules=to_rules(row),
        retry=Retry(row.max_attempts, tuple(row.backoff_minutes)),
        held_by=row.claimed_by_worker,
        ready_at=row.ready_at,
        elapsed_ms=row.elapsed_ms,
        reported_attempt=row.reported_attempt,
        has_counted=row.counted,
    )


# From its own start, where another one has begun since.
REPORTED_AFTER = """
select round(extract(epoch from e.outcome_recorded_at - coalesce(a.started_at, e.last_attempt_at)) * 1000)::bigint
  from executions e
  left join attempts a on a.execution_id = e.id and a.attempt = e.reported_attempt and a.attempt < e.attempts
 where e.id = $1
"""


async def reported_after(db: Executor, execution: UUID) -> int | None:
    """How many milliseconds the attempt had taken that the recorded outcome is of."""
    return await fetch_value(db, REPORTED_AFTER, execution, kind=int)


VERIFY = load("verify_execution", ("execution", "user", "seen", "state", "validation", "reason", "act", "alone"))


async def verify(  # noqa: PLR0913 (one argument a fact)
    db: Executor, *, execution: UUID, user: int, seen: str | None, verification: Verification, reason: str | None,
    act: Act, alone: bool = True,
) -> bool:  # fmt: skip
    """
    Store a person's verdict, with *reason* in the evidence; False where the outcome has changed meanwhile.

    *alone* where no transition goes with it, which would count it.
    """
    verdict = verification.state, verification.validation
    return await db.execute(VERIFY, execution, user, seen, *verdict, reason, act.text(), alone) > 0


ADD_EVIDENCE = load(
    "add_evidence",
    (
        "execution", "user", "external_id", "result_url", "result_ref", "result_type", "summary", "artifacts",
        "metadata", "state", "validation", "seen", "alone",
    ),
)  # fmt: skip


@frozen
class Addition:
    """Evidence and metadata to be added; None leaves what stands there."""

    evidence: Evidence
    metadata: Mapping[str, Any] | None
    verification: Verification | None


async def add_evidence(
    db: Executor, *, execution: UUID, user: int, seen: str | None, addition: Addition, alone: bool = True
) -> str | None:
    """The outcome's state after the addition; None where the outcome has moved meanwhile. *alone* as in `verify`."""
    evidence, verification = addition.evidence, addition.verification
    return await fetch_value(
        db,
        ADD_EVIDENCE,
        execution,
        user,
        evidence.external_id,
        evidence.result_url,
        evidence.result_ref,
        evidence.result_type,
        evidence.summary,
        None if evidence.artifacts is None else json.dumps(evidence.artifacts),
        None if addition.metadata is None else json.dumps(addition.metadata),
        verification and verification.state,
        verification and verification.validation,
        seen,
        alone,
        kind=str,
    )
