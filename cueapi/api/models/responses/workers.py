"""Answers to and about workers."""

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import BaseModel, Field

from cueapi.api.models.rendering import Columns, Computed, Rendered
from cueapi.api.models.responses.executions import ClaimableWork
from cueapi.api.models.values import Count

ACTIVE_SECONDS, STALE_SECONDS = 180, 900


def _heartbeat_status(silent: float) -> str:
    if silent < ACTIVE_SECONDS:
        return "active"
    return "stale" if silent < STALE_SECONDS else "dead"


class ClaimedWork(ClaimableWork):
    """An execution that a heartbeat has claimed."""

    lease_seconds: Count = Field(description="Seconds for which the claim holds.")


class HeartbeatTaken(BaseModel):
    """A heartbeat was recorded."""

    acknowledged: Literal[True] = Field(description="Always `true`.")
    server_time: datetime = Field(description="The server's time.")
    worker_id: str = Field(description="The worker's name.")
    executions: list[ClaimedWork] | None = Field(
        default=None, description="What was claimed; left out where the heartbeat claims nothing."
    )


class Worker(Rendered):
    """A pull worker."""

    columns: ClassVar[Columns] = {
        "seconds_since_heartbeat": Computed("silent", lambda silent: int(max(silent, 0.0))),
        "heartbeat_status": Computed("silent", _heartbeat_status),
    }

    worker_id: str = Field(description="The worker's name.")
    last_heartbeat: datetime = Field(description="When its last heartbeat came.")
    seconds_since_heartbeat: Count = Field(description="Seconds since then.")
    heartbeat_status: Literal["active", "stale", "dead"] = Field(
        description="`active` under 180 seconds, `stale` under 900, then `dead`."
    )
    handlers: list[str] = Field(description="Names of cues or tasks that it works on; empty: all.")
    registered_since: datetime = Field(description="When its first heartbeat came.")


class WorkerList(BaseModel):
    """The workers of the account."""

    workers: list[Worker] = Field(description="The workers of this page, the one heard of last first.")
    has_more: bool = Field(description="Whether there are workers behind this page.")
    next_cursor: str | None = Field(description="`cursor` of the next page; null at the end.")
