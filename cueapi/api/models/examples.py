"""One example for each body and each answer, of one story with consistent ids; `/docs` shows them."""

import hashlib
import json
from typing import Any

from pydantic import BaseModel

from cueapi.api.models import brake_examples, target_examples, work_examples
from cueapi.api.models.account_examples import ACCOUNT_ANSWERS, ACCOUNT_BODIES
from cueapi.api.models.requests import alerts as alert_bodies
from cueapi.api.models.requests import cues as cue_bodies
from cueapi.api.models.requests import executions as execution_bodies
from cueapi.api.models.requests.bodies import Anything, ReasonBody
from cueapi.api.models.responses import (
    alerts,
    audit,
    cues,
    executions,
    health,
    outcomes,
    usage,
    webhooks,
    workers,
)

Example = dict[str, Any]

CUE_ID, WORKER_CUE_ID = "cue_k3v9x2m7q1ap", "cue_w8d4t6z0n5rb"
EXECUTION_ID, REPLAY_ID = "01985f3a-7c00-7b1e-9d42-5a6f0c8e2b17", "01985f61-2a40-7e05-8c3b-1f7d94a0e6c8"
ALERT_ID, OTHER_ALERT_ID = "01985f3a-9f20-7c88-b3d5-7e1a4c6f0b29", "01985e02-10d4-7a61-9c3f-2b8e5d7f4a16"
INCIDENT_ID = "01985f3a-9f20-7c88-b3d5-7e1a4c6f0b30"
DAY = "2026-06-0"
ACTOR = {"kind": "key", "id": "key_m4c8z1v6t0qd", "name": "ci"}
REASON = "The sales desk is closed this week."
PAYLOAD = {"task": "daily_brief", "topics": ["sales", "support"]}

# A field of a cue may bring its example itself.
CUE: Example = {name: field.examples[0] for name, field in cues.Cue.model_fields.items() if field.examples} | {
    "id": CUE_ID,
    "name": "morning-agent-brief",
    "description": "Writes the morning brief.",
    "status": "active",
    "status_changed": {"at": "2026-05-11T13:02:09.871002Z", "by": ACTOR, "reason": "The sales desk is open again."},
    "transport": "webhook",
    "schedule": {
        "type": "recurring", "timezone": "America/Los_Angeles", "cron": "0 9 * * *", "catchup": "latest",
        "overlap": "skip",
    },
    "callback": {"url": "https://your-agent.example.com/run", "method": "POST", "headers": {"X-Team": "research"}},
    "payload": PAYLOAD,
    "retry": {"max_attempts": 4, "backoff_minutes": [1, 5, 15]},
    "on_failure": {"email": True, "webhook": None, "pause": False},
    "verification": {
        "mode": "require_external_id", "assert": [{"field": "metadata.readers", "op": ">=", "value": 1}],
        "on_failed": "fail",
    },
    "delivery": {"timeout_seconds": 30, "outcome_deadline_seconds": 3600, "max_wait_seconds": 7200},
    "alerts": {"failure_threshold": 3, "recovery_threshold": 2},
    "next_run": f"{DAY}3T16:00:00Z",
    "last_run": f"{DAY}2T16:00:00Z",
    "run_count": 41,
    "fired_count": 41,
    "warning": None,
    "created_at": "2026-04-22T08:15:30.104233Z",
    "updated_at": "2026-05-11T13:02:09.871002Z",
}  # fmt: skip
CREATED = (
    "name",
    "description",
    "schedule",
    "callback",
    "payload",
    "retry",
    "on_failure",
    "verification",
    "delivery",
    "alerts",
)

OUTCOME: Example = {
    "success": True, "result": "Sent to 14 readers.", "error": None, "metadata": {"tokens": 5120},
    "recorded_at": f"{DAY}2T16:00:04.337210Z",
}  # fmt: skip
EVIDENCE: Example = {
    "external_id": "msg_8842", "result_url": "https://brief.example.com/2026-06-02", "result_ref": None,
    "result_type": "email", "summary": "Morning brief of 2 June.",
    "artifacts": [{"name": "brief.html", "bytes": 18230}],
}  # fmt: skip
EXECUTION: Example = {
    "id": EXECUTION_ID,
    "execution_id": EXECUTION_ID,
    "cue_id": CUE_ID,
    "cue_name": "morning-agent-brief",
    "scheduled_for": f"{DAY}2T16:00:00Z",
    "status": "success",
    "triggered_by": "scheduled",
    "attempts": 1,
    "http_status": 202,
    "response_body": "accepted",
    "error_message": None,
    "started_at": f"{DAY}2T16:00:00.021874Z",
    "delivered_at": f"{DAY}2T16:00:00.187345Z",
    "last_attempt_at": f"{DAY}2T16:00:00.021874Z",
    "next_retry": None,
    "next_run": f"{DAY}3T16:00:00Z",
    "claimed_by_worker": None,
    "claimed_at": None,
    "outcome": OUTCOME,
    "outcome_success": True,
    "outcome_state": "verified_success",
    "evidence": {**EVIDENCE, "validation_state": "valid"},
    "outcome_deadline_at": f"{DAY}2T17:00:00.187345Z",
    "progress": 1.0,
    "message": "Sent to 14 of 14 readers.",
    "missed_runs": 0,
    "late": False,
    "waiting_for": None,
    "created_at": f"{DAY}2T16:00:00.008112Z",
    "updated_at": f"{DAY}2T16:00:04.337210Z",
}
ATTEMPT: Example = {
    "attempt": 1, "started_at": f"{DAY}2T16:00:00.021874Z", "duration_ms": 165, "sent_after_ms": 38,
    "first_byte_after_ms": 164, "http_status": 202, "error": None, "outcome": "success", "response_body": "accepted",
}  # fmt: skip
FIRED: Example = {
    "id": EXECUTION_ID, "cue_id": CUE_ID, "scheduled_for": f"{DAY}2T16:00:00Z", "status": "pending",
    "triggered_by": "manual_fire",
}  # fmt: skip
WORKER: Example = {
    "worker_id": "worker-1", "last_heartbeat": f"{DAY}2T16:00:31.550419Z", "seconds_since_heartbeat": 12,
    "heartbeat_status": "active", "handlers": ["nightly_report"], "registered_since": "2026-05-30T07:41:00.002918Z",
}  # fmt: skip
ALERT: Example = {
    "id": ALERT_ID, "cue_id": CUE_ID, "execution_id": EXECUTION_ID, "alert_type": "verification_failed",
    "severity": "warning", "message": "morning-agent-brief reported success without external_id.",
    "metadata": {"missing": "external_id", "outcome_state": "verification_failed", "transport": "webhook"},
    "acknowledged": False, "created_at": f"{DAY}2T16:00:04.337210Z", "incident_id": INCIDENT_ID,
}  # fmt: skip
AUDITED: Example = {
    "at": "2026-05-04T07:00:12.480116Z", "actor": ACTOR, "action": "cue.paused",
    "subject": {"kind": "cue", "id": CUE_ID, "name": "morning-agent-brief"},
    "changes": [{"path": "status", "from": "active", "to": "paused"}], "reason": REASON,
    "request_id": "5d0f6c3a9b7e4812a6c1d93e07f2b485", "address": "203.0.113.7",
}  # fmt: skip
PAGE: Example = {"total": 1, "limit": 20, "offset": 0, "has_more": False}
STATE: Example = {"execution_id": EXECUTION_ID, "outcome_state": "verified_success"}
USED: Example = {"used": 7, "limit": 1000, "remaining": 993, "percent_used": 0.7}
MONTH: Example = {"start": "2026-06-01T00:00:00Z", "end": "2026-07-01T00:00:00Z"}

FIRE: Example = {"payload_override": {"topics": ["sales"]}, "send_at": f"{DAY}2T16:00:00Z"}
FIRE_SHA256 = hashlib.sha256(json.dumps(FIRE).encode()).hexdigest()

BODIES: dict[type[BaseModel], Any] = brake_examples.BODIES | work_examples.BODIES | ACCOUNT_BODIES | {
    cue_bodies.CueBody: {name: CUE[name] for name in CREATED},
    cue_bodies.CuePatch: {"schedule": {"cron": "30 8 * * 1-5"}, "status": "active"},
    cue_bodies.PreviewBody: {
        "schedule": {"type": "recurring", "cron": "0 9 * * *", "timezone": "America/Los_Angeles"}, "count": 2,
    },
    cue_bodies.FireBody: FIRE,
    alert_bodies.AlertIds: {"ids": [ALERT_ID, OTHER_ALERT_ID]},
    cue_bodies.Ids: {"ids": [CUE_ID, WORKER_CUE_ID]},
    execution_bodies.ClaimBody: {"worker_id": "worker-1", "task": "nightly_report"},
    execution_bodies.OutcomeBody: {"success": True, "result": "Sent to 14 readers.", "external_id": "msg_8842"},
    execution_bodies.EvidenceBody: EVIDENCE,
    execution_bodies.VerifyBody: {"valid": False, "reason": "The numbers are those of May."},
    execution_bodies.HeartbeatBody: {
        "worker_id": "worker-1", "handlers": ["nightly_report"], "running": [], "claim": 5,
    },
    Anything: {"hello": "world"},
    ReasonBody: {"reason": REASON},
}  # fmt: skip

ANSWERS: dict[type[BaseModel], Any] = work_examples.ANSWERS | brake_examples.ANSWERS | target_examples.ANSWERS
ANSWERS |= ACCOUNT_ANSWERS | {
    cues.Cue: CUE,
    cues.WrittenCue: CUE,
    cues.CueList: {"cues": [CUE], **PAGE, "limit": 50},
    cues.CueWithHistory: {
        **CUE, "executions": [EXECUTION], "execution_total": 41, "execution_limit": 1, "execution_offset": 0,
    },
    cues.Upcoming: {"upcoming": [f"{DAY}{day}T16:00:00Z" for day in range(3, 8)]},
    cues.PreviewedTimes: {
        "upcoming": [{"at": f"{DAY}{day}T16:00:00Z", "local": f"{DAY}{day}T09:00:00-07:00"} for day in (3, 4)],
    },
    cues.BulkDeleted: {"deleted": [CUE_ID], "not_found": [WORKER_CUE_ID], "skipped": [WORKER_CUE_ID]},
    executions.FiredByHand: {**FIRED, "body_received": FIRE, "body_received_sha256": FIRE_SHA256},
    executions.Replayed: {**FIRED, "id": REPLAY_ID, "triggered_by": "replay", "replayed_from": EXECUTION_ID},
    executions.ExecutionList: {"executions": [EXECUTION], **PAGE, "next_cursor": None},
    executions.LoggedExecution: {**EXECUTION, "payload": {"task": "daily_brief"}, "attempt_log": [ATTEMPT]},
    outcomes.OutcomeRecorded: {**STATE, "outcome_recorded": True, "will_retry": False, "reason": None},
    outcomes.Verified: {
        **STATE, "outcome_state": "verification_failed", "valid": False, "reason": "The numbers are those of May.",
    },
    outcomes.VerificationPending: {**STATE, "outcome_state": "verification_pending"},
    outcomes.EvidenceUpdated: {**STATE, "evidence_updated": True},
    workers.WorkerList: {"workers": [WORKER], "has_more": False, "next_cursor": None},
    alerts.Alert: {**ALERT, "acknowledged": True},
    alerts.AcknowledgedAlerts: {"acknowledged": [ALERT_ID], "not_found": [OTHER_ALERT_ID]},
    alerts.AlertList: {"alerts": [ALERT], **PAGE, "next_cursor": None},
    audit.Audit: {"audit": [AUDITED], "has_more": False, "next_cursor": None},
    usage.Usage: {
        "plan": "self_hosted",
        "billing_period": {**MONTH, "days_remaining": 28},
        "period": MONTH,
        "cues": {**USED, "active": 6},
        "executions": {
            "used": 214, "limit": 1000000, "remaining": 999786, "percent_used": 0.02, "percentage": 0.02,
            "projected_month_end": 3852, "will_exceed_limit": False,
        },
        "outcomes": {"reported": 198, "succeeded": 191, "failed": 7},
        "rate_limit": {"requests_per_minute": 600, "limit": 600, "current_usage": 3},
        "upgrade_url": None,
    },
    health.Stored: {"stored": True},
    health.Echo: {
        "status": "delivered", "payload": {"execution_id": EXECUTION_ID, "attempt": 1},
        "headers": {"content-type": "application/json", "x-cueapi-attempt": "1"},
        "received_at": f"{DAY}2T16:00:00.150388Z",
    },
    health.Readiness: {"status": "healthy"},
    health.Info: {
        "name": "CueAPI", "version": "1.0.0", "api_version": "v1", "registration_open": True,
        "worker_evidence": False, "transports": ["webhook", "worker"],
        "verification_modes": ["none", "require_external_id", "require_result_url", "require_artifacts", "manual"],
        "limits": {"body_bytes": 1048576, "payload_bytes": 1048576},
    },
    health.Health: {
        "status": "healthy",
        "version": "1.0.0",
        "timestamp": f"{DAY}2T16:00:31.550419Z",
        "services": {"postgres": "ok", "redis": "none", "poller": "running", "worker": "ok"},
        "poller": {
            "last_run": f"{DAY}2T16:00:30.004712Z", "seconds_ago": 1.546, "cues_last_cycle": 1,
            "cycle_duration_ms": 4.2,
        },
        "workers": {"active_count": 1},
        "queue": {
            "pending_outbox": 0,
            "stale_executions": 0,
            "pending_retries": 0,
            "pending_worker_claims": 0,
            "oldest_due_seconds": 0.0,
        },
        "siblings": {"poller": {"state": "running", "restarts": 0, "since": f"{DAY}1T05:12:44.120933Z"}},
    },
    webhooks.DeliverySent: {
        "execution_id": EXECUTION_ID, "cue_id": CUE_ID, "name": "morning-agent-brief",
        "scheduled_for": f"{DAY}2T16:00:00Z", "attempt": 1, "payload": PAYLOAD,
    },
    webhooks.AlertSent: {
        "alert_id": ALERT_ID, **{name: value for name, value in ALERT.items() if name not in {"id", "acknowledged"}},
    },
    webhooks.FailureSent: {
        "event": "cue.failed", "cue_id": CUE_ID, "cue_name": "morning-agent-brief", "execution_id": EXECUTION_ID,
        "attempts": 4, "last_http_status": 500, "last_error": "The webhook answered 500.",
        "failed_at": f"{DAY}2T16:21:02.440125Z",
    },
}  # fmt: skip
