"""The examples of what fails in bulk: dead letters, and operations on many at once."""

from typing import Any

from pydantic import BaseModel

from cueapi.api.models.examples import CUE_ID, DAY, EXECUTION, EXECUTION_ID, REPLAY_ID, Example
from cueapi.api.models.requests.operations import OperationBody
from cueapi.api.models.responses import dead_letters, operations

HOST, ERROR = "your-agent.example.com:443", "The handler answered 503."

DEAD: Example = EXECUTION | {
    "status": "failed", "attempts": 4, "http_status": 503, "response_body": "out of credit", "error_message": ERROR,
    "outcome": None, "outcome_success": None, "outcome_state": None, "evidence": None, "delivered_at": None,
    "outcome_deadline_at": None, "group": "briefs", "host": HOST, "dead_at": f"{DAY}2T16:21:02.440125Z",
    "last_replay": {"execution_id": REPLAY_ID, "status": "retrying"},
}  # fmt: skip

OPERATION: Example = {
    "id": "01985fa0-3e10-7a52-8d47-60b1f2c9e7d3", "kind": "replay", "status": "running",
    "filter": {"http_status": 503, "since": f"{DAY}2T16:00:00Z"}, "backfill": None,
    "as_of": f"{DAY}2T17:10:00.551203Z", "matched": 412, "matched_capped": False, "done": 300,
    "skipped": {"in_flight": 2}, "failed": 0, "rate_per_second": 50, "started_at": f"{DAY}2T17:10:00.570018Z",
    "finished_at": None, "eta_seconds": 3, "by": {"kind": "key", "id": "cue_sk_3f9a1c7", "name": "cue_sk_3f9a1c7"},
    "reason": "The credit was topped up.",
}  # fmt: skip

BODIES: dict[type[BaseModel], Any] = {
    OperationBody: {
        "kind": "replay", "filter": {"http_status": 503, "since": f"{DAY}2T16:00:00Z"}, "rate_per_second": 50,
        "reason": "The credit was topped up.",
    },
}  # fmt: skip

ANSWERS: dict[type[BaseModel], Any] = {
    dead_letters.DeadLetterList: {"dead": [DEAD], "has_more": False, "next_cursor": None},
    dead_letters.DeadSummary: {
        "groups": [
            {
                "cue_id": CUE_ID, "cue_name": "morning-agent-brief", "host": HOST, "http_status": 503, "error": ERROR,
                "count": 412, "first_at": f"{DAY}2T16:21:02.440125Z", "last_at": f"{DAY}2T17:03:44.018552Z",
            },
        ],
        "truncated": False,
    },
    operations.BulkOperation: OPERATION,
    operations.OperationList: {"operations": [OPERATION], "has_more": False, "next_cursor": None},
    operations.DryRun: {
        "matched": 412, "matched_capped": False, "warnings": [],
        "sample": [
            {"id": EXECUTION_ID, "cue_id": CUE_ID, "cue_name": "morning-agent-brief", "at": f"{DAY}2T16:21:02.440125Z"},
        ],
    },
}  # fmt: skip
