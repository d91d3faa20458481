"""Examples for what is said of targets."""

from typing import Any

from pydantic import BaseModel

from cueapi.api.models.responses import targets

TARGET = {
    "host": "your-agent.example.com:443", "state": "open", "since": "2026-06-02T16:02:11.402915Z",
    "reason": "it answered 503", "failure_rate": 0.917, "attempts": 12, "opens": 3, "waiting": 41,
    "oldest_waiting_at": "2026-06-02T16:03:00Z", "next_probe_at": "2026-06-02T16:05:41.402915Z", "cues": 4,
}  # fmt: skip

ANSWERS: dict[type[BaseModel], Any] = {
    targets.TargetList: {"targets": [TARGET], "limit": 50, "has_more": False, "next_cursor": None},
    targets.Probed: {"host": "your-agent.example.com:443", "probed": True},
}
