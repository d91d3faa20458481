"""JSON out: rows as the contract shows them."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from quart import Response

from cueapi.domain.clock import iso
from cueapi.storage.alerts import AlertRow
from cueapi.storage.cues import CueColumns
from cueapi.storage.executions import AttemptRow, ExecutionRow
from cueapi.storage.paging import PAGE_CAP, Page
from cueapi.storage.worker_claims import Work
from cueapi.storage.workers import WorkerRow

EVIDENCE = ("external_id", "result_url", "result_ref", "result_type", "summary")


def answer(value: Mapping[str, Any], status: int = 200) -> Response:
    """*value* as JSON: a moment in UTC, as PostgreSQL tells it, as the contract writes it; an id as its text."""
    return Response(_written(value), status, content_type="application/json")


def _written(value: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(value, default=_text, option=orjson.OPT_UTC_Z)
    except TypeError:
        # A payload may hold a number beyond 64 bits, or be nested deep; this takes ten times as long, and knows it.
        return json.dumps(value, default=_text).encode()


def _text(value: object) -> str:
    """What JSON has no form for. The driver's ids are of a class of its own."""
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return iso(value)
    raise TypeError


def parsed(text: str | None) -> Any:  # noqa: ANN401 (JSON)
    """Stored JSON, or null."""
    return None if text is None else json.loads(text)


def cue(row: CueColumns) -> dict[str, Any]:
    """A cue, with every field of the contract."""
    schedule: dict[str, Any] = {"type": row.schedule_type, "timezone": row.timezone}
    if row.schedule_type == "recurring":
        schedule["cron"] = row.cron
    else:
        schedule["at"] = row.schedule_at
    schedule |= {"catchup": row.catchup, "overlap": row.overlap}
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "status": row.status,
        "transport": row.transport,
        "schedule": schedule,
        "callback": {
            "url": row.callback_url,
            "method": row.callback_method,
            "headers": parsed(row.callback_headers),
        },
        "payload": parsed(row.payload),
        "retry": {"max_attempts": row.max_attempts, "backoff_minutes": list(row.backoff_minutes)},
        "on_failure": row.on_failure,
        "verification": {"mode": row.verification},
        "delivery": row.delivery,
        "alerts": row.alerts,
        "next_run": row.next_run,
        "last_run": row.last_run,
        "run_count": row.run_count,
        "fired_count": row.fired_count,
        "warning": row.warning,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def execution(row: ExecutionRow) -> dict[str, Any]:
    """An execution, with every field of the contract."""
    identity = row.id
    return {
        "id": identity,
        "execution_id": identity,
        "cue_id": row.cue_id,
        "cue_name": row.cue_name,
        "scheduled_for": row.scheduled_for,
        "status": row.status,
        "triggered_by": row.triggered_by,
        "attempts": row.attempts,
        "http_status": row.http_status,
        "response_body": row.response_body,
        "error_message": row.error_message,
        "started_at": row.started_at,
        "delivered_at": row.delivered_at,
        "last_attempt_at": row.last_attempt_at,
        "next_retry": row.next_retry,
        "next_run": row.next_run,
        "claimed_by_worker": row.claimed_by_worker,
        "claimed_at": row.claimed_at,
        "outcome": _outcome(row),
        "outcome_success": row.outcome_success,
        "outcome_state": row.outcome_state,
        "evidence": _evidence(row),
        "outcome_deadline_at": row.outcome_deadline_at,
        "missed_runs": row.missed_runs,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def _outcome(row: ExecutionRow) -> dict[str, Any] | None:
    if row.outcome_recorded_at is None:
        return None
    return {
        "success": row.outcome_success,
        "result": row.outcome_result,
        "error": row.outcome_error,
        "metadata": parsed(row.outcome_metadata),
        "recorded_at": row.outcome_recorded_at,
    }


def _evidence(row: ExecutionRow) -> dict[str, Any] | None:
    if row.outcome_recorded_at is None:
        return None
    fields = {name: getattr(row, name) for name in EVIDENCE}
    fields |= {"artifacts": parsed(row.artifacts), "validation_state": row.validation_state}
    return fields if any(value is not None for value in fields.values()) else None


def attempt(row: AttemptRow) -> dict[str, Any]:
    """One line of an execution's log of tries."""
    return {
        "attempt": row.attempt,
        "started_at": row.started_at,
        "duration_ms": row.duration_ms,
        "http_status": row.http_status,
        "error": row.error,
        "outcome": row.outcome,
    }


def work(row: Work) -> dict[str, Any]:
    """A claimable, or just claimed, execution as a worker sees it."""
    return {
        "execution_id": row.id,
        "cue_id": row.cue_id,
        "cue_name": row.cue_name,
        "task": row.task,
        "scheduled_for": row.scheduled_for,
        "payload": parsed(row.payload),
        "attempt": row.attempts,
    }


def alert(row: AlertRow) -> dict[str, Any]:
    """An alert."""
    return {
        "id": row.id,
        "cue_id": row.cue_id,
        "execution_id": row.execution_id,
        "alert_type": row.alert_type,
        "severity": row.severity,
        "message": row.message,
        "metadata": parsed(row.metadata),
        "acknowledged": row.acknowledged,
        "created_at": row.created_at,
    }


def worker(row: WorkerRow) -> dict[str, Any]:
    """A worker: alive under 180 s of silence, stale under 900 s, then dead."""
    silent = max(row.silent, 0.0)
    state = "active" if silent < 180 else "stale" if silent < 900 else "dead"
    return {
        "worker_id": row.worker_id,
        "last_heartbeat": row.last_heartbeat,
        "seconds_since_heartbeat": int(silent),
        "heartbeat_status": state,
        "handlers": list(row.handlers),
        "registered_since": row.registered_since,
    }


def listed(page: Page[Any], *, limit: int, offset: int) -> dict[str, Any]:
    """What every list carries beside its rows."""
    shown: dict[str, Any] = {
        "total": min(page.total, PAGE_CAP),
        "limit": limit,
        "offset": offset,
        "has_more": page.more,
    }
    if page.total > PAGE_CAP:
        shown["total_capped"] = True
    return shown
