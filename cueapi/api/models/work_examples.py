"""Examples for what workers claim, and for what handlers report by the token of an attempt."""

from typing import Any

from pydantic import BaseModel

from cueapi.api.models.requests import executions as bodies
from cueapi.api.models.responses import executions, outcomes, workers

WORK_ID, EXECUTION_ID = "01985f44-9b10-7d63-a1f0-c52e8b7d3a94", "01985f3a-7c00-7b1e-9d42-5a6f0c8e2b17"
REPORT_URL = "http://localhost:8000/v1/report/run_AZhfRJsQfWOh8MUui306lAABoqyrMalyFJrJMTV8MIFMNHlz"
NIGHT, DEADLINE = "2026-06-02T02:00:00Z", "2026-06-02T17:00:00.187345Z"

WORK: dict[str, Any] = {
    "execution_id": WORK_ID, "cue_id": "cue_w8d4t6z0n5rb", "cue_name": "nightly-report", "task": "nightly_report",
    "scheduled_for": NIGHT, "payload": {"task": "nightly_report", "region": "emea"}, "attempt": 1,
    "report_url": REPORT_URL,
}  # fmt: skip

BODIES: dict[type[BaseModel], Any] = {
    bodies.AttemptHeartbeatBody: {"progress": 0.4, "message": "Page 12 of 30."},
}

ANSWERS: dict[type[BaseModel], Any] = {
    executions.ClaimableList: {"executions": [WORK]},
    executions.Claimed: {
        "claimed": True, "execution_id": WORK_ID, "lease_seconds": 900, "report_url": REPORT_URL,
    },
    executions.LeaseExtended: {
        "execution_id": WORK_ID, "lease_extended_until": "2026-06-02T02:17:41.220518Z", "acknowledged": True,
        "report_url": REPORT_URL,
    },
    workers.HeartbeatTaken: {
        "acknowledged": True, "server_time": "2026-06-02T16:00:31.550419Z", "worker_id": "worker-1",
        "executions": [{**WORK, "lease_seconds": 900}],
    },
    outcomes.Reported: {
        "execution_id": EXECUTION_ID, "outcome_state": "verified_success", "cue_name": "morning-agent-brief",
        "attempt": 1, "status": "success", "outcome_deadline_at": DEADLINE,
    },
    outcomes.AttemptHeartbeatTaken: {
        "execution_id": EXECUTION_ID, "attempt": 1, "outcome_deadline_at": DEADLINE, "lease_until": None,
        "cancel": False,
    },
}  # fmt: skip
