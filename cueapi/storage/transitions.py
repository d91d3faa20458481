"""Writes what was decided of executions, with everything that follows from it."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from attrs import asdict

from cueapi.domain.budget import cost_of
from cueapi.domain.execution import Transition
from cueapi.storage.database import ROLLBACK_PATIENCE, Database, Executor, Row, Transaction, TransactionRolledBack
from cueapi.storage.operation_executions import count_failed
from cueapi.storage.statements import load


class TransitionResult(Row):
    """
    An execution that was moved, and its cue.

    *is_told* where its user may hear of it: it failed, lacks evidence, or has ended an incident. *has_paused* where
    `on_failure` has paused the cue because of it.
    """

    id: UUID
    user_id: int
    status: str
    ready_at: datetime
    cue_id: str
    cue_name: str | None
    is_told: bool
    has_paused: bool
    is_backfill: bool
    budget_alerts: list[str]


class Written(dict[UUID, TransitionResult]):
    """What was written, by execution, and the types of the alerts that were raised with it."""

    alerts: tuple[str, ...] = ()


class FailuresRecorded(Row):
    """
    What failures have led to: the types of the alerts, and how many notifications `on_failure` has asked for.

    *tracked* are how many reports and failures incidents were looked up for.
    """

    alerts: list[str]
    notices: int
    tracked: int


log = structlog.get_logger("cueapi.executions")

APPLY_TRANSITIONS = load("apply_transitions", ("transitions",))

RECORD_FAILURES = load("record_failures", ("failures",))


async def apply_transitions(db: Database | Transaction, transitions: Iterable[Transition]) -> Written:
    """Write *transitions*, at most one for an execution, and log them; those whose fence still stood, by id."""
    given = list(transitions)
    return _logged(given, await write_transitions(db, given))


async def write_transitions(db: Database | Transaction, transitions: Iterable[Transition]) -> Written:
    """As `apply_transitions`, for callers that log what is theirs: `log_transition`."""
    return await _apply_all(db, [_record(ord_, transition) for ord_, transition in enumerate(transitions)])


# $1 as JSON records: what each transition has made of its execution, unless that has moved on since.
FIND_APPLIED = """
select e.id, e.user_id, e.status, e.ready_at, e.cue_id, c.name as cue_name,
       x.is_told and e.triggered_by <> 'backfill' as is_told, false as has_paused,
       e.triggered_by = 'backfill' as is_backfill, '{}'::text[] as budget_alerts
  from json_to_recordset($1::json) as x(
       id uuid, attempts int, left_attempts int, status text, logged_as text, is_told bool)
  join executions e on e.id = x.id
  left join cues c on c.id = e.cue_id
 where e.claim is null
   and e.status || '' = x.status
   and e.attempts = x.left_attempts
   and (x.logged_as is null
        or exists (select from attempts a
                    where a.execution_id = x.id and a.attempt = x.attempts and a.outcome = x.logged_as))
"""


async def find_applied(db: Executor, transitions: Iterable[Transition]) -> Written:
    """Of *transitions* that were sent without an answer, find and log those that were written."""
    given = list(transitions)
    rows = await db.fetch(FIND_APPLIED, _json([_trace(one) for one in given]), row=TransitionResult)
    return _logged(given, Written((row.id, row) for row in rows))


def _trace(transition: Transition) -> dict[str, Any]:
    """What a transition leaves of its execution."""
    return {
        "id": str(transition.fence.execution_id),
        "attempts": transition.fence.attempts,
        "left_attempts": transition.fence.attempts - (1 if transition.released else 0),
        "status": transition.status,
        "logged_as": transition.logged_as,
        "is_told": _is_told(_record(0, transition)),
    }


async def _apply_all(db: Database | Transaction, records: list[dict[str, Any]]) -> Written:
    if not any(map(_is_told, records)):
        return await _apply(db, records)
    if isinstance(db, Transaction):
        return await _apply_with_failures(db, records)
    for _ in range(ROLLBACK_PATIENCE - 1):
        try:
            async with db.transaction() as tx:
                return await _apply_with_failures(tx, records)
        except TransactionRolledBack:
            continue
    async with db.transaction() as tx:
        return await _apply_with_failures(tx, records)


def _logged(transitions: Iterable[Transition], written: Written) -> Written:
    for transition in transitions:
        if (row := written.get(transition.fence.execution_id)) is not None:
            log_transition(transition, row)
    return written


def log_transition(transition: Transition, row: TransitionResult) -> None:
    """One line for what was written, and one where it has paused the cue."""
    record, subject = transition.record, {"cue_id": row.cue_id, "cue": row.cue_name, "execution_id": str(row.id)}
    facts = subject | {
        "attempt": transition.reported_attempt or transition.fence.attempts,
        "outcome": transition.logged_as,
        "status": transition.status,
        "reason": transition.reason,
        "http_status": record and record.http_status,
        "duration_ms": record and record.duration_ms,
        "dropped": list(transition.dropped) or None,
    }
    if transition.released:
        # Of a shortage of ours there is one line a minute, not one for each attempt that waits for its end.
        write_log = log.debug if transition.pause else log.info
        write_log("attempt_released", **facts)
    elif transition.logged_as is None:
        log.info("execution_missed", **facts)
    elif transition.is_late:
        log.info("outcome_reported", **facts)
    else:
        log.info("attempt_settled", **facts)
    if row.has_paused:
        log.warning("cue_paused", **subject, reason=transition.reason)


def has_alerts(written: Written) -> bool:
    """True where what was written may have raised alerts or notifications."""
    return bool(written.alerts) or _is_any_told(written)


def _is_any_told(written: Written) -> bool:
    return any(row.is_told for row in written.values())


async def _apply(db: Executor, records: list[dict[str, Any]]) -> Written:
    rows = await db.fetch(APPLY_TRANSITIONS, _json(records), row=TransitionResult)
    written = Written((row.id, row) for row in rows)
    if rows:
        written.alerts = tuple(rows[0].budget_alerts)
    return written


async def _apply_with_failures(tx: Transaction, records: list[dict[str, Any]]) -> Written:
    written = await _apply(tx, records)
    # An alert says why one has come to nothing, also one that was delivered and whose failure is reported later.
    dead = {record["id"] for record in records if record["alert"] is not None}
    lost = [row.id for row in written.values() if row.is_backfill and str(row.id) in dead]
    if lost:
        await count_failed(tx, lost)
    if _is_any_told(written):
        ids = {str(row.id) for row in written.values() if not row.is_backfill}
        failures = _json([_failure(record) for record in records if record["id"] in ids])
        recorded = await tx.fetch_one(RECORD_FAILURES, failures, row=FailuresRecorded)
        assert recorded is not None
        written.alerts += tuple(recorded.alerts)
    return written


def _is_told(record: dict[str, Any]) -> bool:
    return record["consecutive_failures"] == 1 or record["alert"] is not None or record.get("missing") is not None


def _failure(record: dict[str, Any]) -> dict[str, Any]:
    """Of a record, what record_failures.sql needs."""
    names = (
        "ord", "id", "attempts", "seen", "http_status", "alert", "missing", "unmet", "consecutive_failures", "good",
        "report",
    )  # fmt: skip
    return {name: record.get(name) for name in names} | {"error": record["error_message"] or record.get("error")}


def _json(records: list[dict[str, Any]]) -> str:
    return json.dumps(records, separators=(",", ":"))


def _record(ord_: int, transition: Transition) -> dict[str, Any]:
    """A transition as a JSON record; what it leaves out is null."""
    fence = transition.fence
    record: dict[str, Any] = {
        "ord": ord_,
        "id": str(fence.execution_id),
        "claim": fence.claim and str(fence.claim),
        "attempts": fence.attempts,
        "seen": fence.status,
        "seen_outcome": fence.outcome_attempt,
        "cue_revision": fence.cue_revision,
        "status": transition.status,
        "pause": transition.pause,
        "released": transition.released,
        "claim_lost": transition.claim_lost,
        "delivered": transition.delivered,
        "deadline": transition.deadline,
        "final": transition.ends,
        "wire": transition.record is not None,
        "error_message": transition.error,
        "report": transition.report is not None,
        "consecutive_failures": transition.consecutive_failures,
        "alert": transition.alert,
        "logged_as": transition.logged_as,
        "good": transition.is_good,
        "overdue": transition.overdue,
        "reported": transition.reported_attempt,
        "done": transition.is_done,
    }
    if transition.record is not None:
        record |= asdict(transition.record)
    if transition.report is not None and transition.verification is not None:
        report, verification = transition.report, transition.verification
        record |= {
            "success": report.success,
            "result": report.result,
            "error": report.error,
            "metadata": report.metadata,
            "cost": cost_of(report.metadata),
            "state": verification.state,
            "validation": verification.validation,
            "missing": None if verification.fails else verification.missing or verification.unmet,
            "unmet": verification.unmet is not None,
            **asdict(report.evidence),
        }
    return record
