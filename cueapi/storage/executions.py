"""Executions as they are shown, and what a report or a person changes in them."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from attrs import frozen

from cueapi.domain.execution import ExecutionState, Fence
from cueapi.domain.outcome import Evidence, Verification
from cueapi.domain.retry import Retry
from cueapi.storage.database import Executor, Row
from cueapi.storage.paging import Page, numbered, paged

COLUMNS: LiteralString = """
e.id, e.cue_id, c.name as cue_name, c.next_run, e.scheduled_for,
case when e.status = 'retrying' and e.ready_at <= now() then 'retry_ready' else e.status end as status,
e.triggered_by, e.attempts, e.http_status, e.response_body, e.error_message, e.started_at, e.delivered_at,
e.last_attempt_at, case when e.status = 'retrying' then e.ready_at end as next_retry,
e.claimed_by_worker, e.claimed_at, e.outcome_attempt, e.outcome_success, e.outcome_result, e.outcome_error,
e.outcome_metadata, e.outcome_recorded_at, e.outcome_state, e.external_id, e.result_url, e.result_ref,
e.result_type, e.summary, e.artifacts, e.validation_state, e.outcome_deadline_at, e.missed_runs,
e.created_at, e.updated_at
"""

SOURCE: LiteralString = "executions e join cues c on c.id = e.cue_id and c.deleted_at is null"

# As many rows, but few cues are deleted: a join with those that live takes five times as long to count. $1 the user.
COUNTED: LiteralString = """
(select *
   from executions
  where cue_id not in (select id from cues where user_id = $1 and deleted_at is not null)) e
"""


@frozen
class Filter:
    """Which executions of a user; None leaves a condition out."""

    user: int
    cue: str | None = None
    status: str | None = None
    outcome_state: str | None = None
    triggered_by: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: tuple[datetime, UUID] | None = None


_STATUS: dict[str, LiteralString] = {
    "retrying": "e.status = 'retrying' and e.ready_at > now()",
    "retry_ready": "e.status = 'retrying' and e.ready_at <= now()",
}


def _conditions(wanted: Filter) -> tuple[LiteralString, list[object]]:
    """The conditions of *wanted*, with the values of their parameters."""
    terms: list[tuple[LiteralString, object]] = [("e.user_id = ?", wanted.user)]
    if wanted.cue is not None:
        terms.append(("e.cue_id = ?", wanted.cue))
    if wanted.outcome_state is not None:
        terms.append(("e.outcome_state = ?", wanted.outcome_state))
    if wanted.triggered_by is not None:
        terms.append(("e.triggered_by = ?", wanted.triggered_by))
    if wanted.since is not None:
        terms.append(("e.created_at >= ?", wanted.since))
    if wanted.until is not None:
        terms.append(("e.created_at <= ?", wanted.until))
    if wanted.status is not None and wanted.status not in _STATUS:
        terms.append(("e.status = ?", wanted.status))
    text = numbered([term for term, _ in terms])
    if wanted.status in _STATUS:
        text += " and " + _STATUS[wanted.status]
    return text, [value for _, value in terms]


async def page(db: Executor, wanted: Filter, *, limit: int, offset: int) -> Page:
    """One page of executions, newest first, ties by id; with one row more where there is one."""
    where, values = _conditions(wanted)
    return await paged(
        db,
        columns=COLUMNS,
        source=SOURCE,
        counted=COUNTED,
        where=where,
        values=values,
        alias="e",
        before=wanted.before,
        limit=limit,
        offset=offset,
    )


SHOW = "select " + COLUMNS + ", e.transport from " + SOURCE + " where e.id = $1 and e.user_id = $2"


async def show(db: Executor, *, execution: UUID, user: int) -> Row | None:
    """One execution; None where it is not this user's."""
    return await db.fetch_one(SHOW, execution, user)


ATTEMPTS = """
select attempt, started_at, duration_ms, http_status, error, outcome
  from attempts
 where execution_id = $1
 order by attempt
"""


async def attempts(db: Executor, execution: UUID) -> list[Row]:
    """The log of tries, in their order."""
    return await db.fetch(ATTEMPTS, execution)


STATE = """
select e.id, e.claim, e.attempts, e.status, e.outcome_attempt, e.transport, e.claimed_by_worker, e.ready_at,
       e.lost_claims, c.max_attempts, c.backoff_minutes, c.verification
  from executions e
  join cues c on c.id = e.cue_id and c.deleted_at is null
 where e.id = $1
   and e.user_id = $2
"""


async def state(db: Executor, *, execution: UUID, user: int) -> ExecutionState | None:
    """The execution as a report finds it."""
    row = await db.fetch_one(STATE, execution, user)
    return None if row is None else to_execution_state(row)


def to_execution_state(row: Row) -> ExecutionState:
    """A row with the columns of STANDING."""
    outcome = -1 if row["outcome_attempt"] is None else row["outcome_attempt"]
    return ExecutionState(
        fence=Fence(row["id"], row["claim"], row["attempts"], row["status"], outcome),
        transport=row["transport"],
        mode=row["verification"],
        retry=Retry(row["max_attempts"], tuple(row["backoff_minutes"])),
        held_by=row["claimed_by_worker"],
        ready_at=row["ready_at"],
    )


# $3 the state it was read in: a person's word counts for what they saw.
VERIFY = """
with believed as (
    update executions e
       set outcome_state = $4, validation_state = coalesce($5, e.validation_state),
           summary = case when $6::text is null then e.summary
                          when coalesce(e.summary, '') = '' then $6
                          else e.summary || ' — ' || $6 end,
           updated_at = clock_timestamp()
     where e.id = $1
       and e.user_id = $2
       and e.outcome_state is not distinct from $3
 returning e.id, e.user_id, e.outcome_state
), settled as (
    update alerts a
       set acknowledged = true
      from believed b
     where a.execution_id = b.id
       and a.alert_type = 'verification_failed'
       and b.outcome_state = 'verified_success'
)
select id from believed
"""


async def verify(
    db: Executor, *, execution: UUID, user: int, seen: str | None, verification: Verification, reason: str | None
) -> bool:
    """Write a person's word down; False where the outcome has moved meanwhile."""
    row = await db.fetch_one(VERIFY, execution, user, seen, verification.state, verification.validation, reason)
    return row is not None


# What is null stays. $12/$13 the new state where the evidence completes the outcome; $14 the state it was read in.
ADD_EVIDENCE = """
with added as (
    update executions e
       set external_id = coalesce($3, e.external_id), result_url = coalesce($4, e.result_url),
           result_ref = coalesce($5, e.result_ref), result_type = coalesce($6, e.result_type),
           summary = coalesce($7, e.summary), artifacts = coalesce($8, e.artifacts),
           outcome_metadata = coalesce($9, e.outcome_metadata),
           outcome_state = coalesce($10, e.outcome_state), validation_state = coalesce($11, e.validation_state),
           updated_at = clock_timestamp()
     where e.id = $1
       and e.user_id = $2
       and e.outcome_state is not distinct from $12
 returning e.id, e.outcome_state
), settled as (
    update alerts a
       set acknowledged = true
      from added b
     where a.execution_id = b.id
       and a.alert_type = 'verification_failed'
       and $10 is not null
)
select id, outcome_state from added
"""


@frozen
class Addition:
    """Evidence and metadata to be added; None leaves what stands there."""

    evidence: Evidence
    metadata: Mapping[str, Any] | None
    verification: Verification | None


async def add_evidence(db: Executor, *, execution: UUID, user: int, seen: str | None, addition: Addition) -> str | None:
    """The outcome's state after the addition; None where the outcome has moved meanwhile."""
    evidence, verification = addition.evidence, addition.verification
    row = await db.fetch_one(
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
    )
    return None if row is None else row["outcome_state"]
