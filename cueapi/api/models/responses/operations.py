"""Answers about operations on many."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from cueapi.api.models.values import Count, CueId

Kind = Literal["replay", "dismiss", "pause", "resume", "delete", "backfill"]
OperationStatus = Literal["queued", "running", "done", "cancelled", "failed"]


class Sample(BaseModel):
    """One of those that match."""

    id: str | None = Field(description="Id of the execution or cue; null for a time of a backfill.")
    cue_id: CueId = Field(description="Id of the cue.")
    cue_name: str = Field(description="Name of the cue.")
    at: datetime = Field(description="When the dead letter has ended, the cue was made, or the time of a backfill.")


class DryRun(BaseModel):
    """What an operation would do."""

    matched: Count = Field(description="How many match.")
    matched_capped: bool = Field(description="Whether more match: it is counted up to 100,000.")
    sample: list[Sample] = Field(description="Some of them, at most 10.")
    warnings: list[str] = Field(description="What is good to know before.")


class StartedBy(BaseModel):
    """Who has begun it."""

    kind: str = Field(description="`key`, `session`, `operator`, `system` or `mcp`.")
    id: str | None = Field(description="Tells two of a kind apart.")
    name: str | None = Field(description="How people call it.")


class BulkOperation(BaseModel):
    """The same done to many, a batch at a time."""

    id: UUID = Field(description="Id of the operation.")
    kind: Kind = Field(description="What it does to each.")
    status: OperationStatus = Field(
        description="`queued`: three others of the account run, or a hold keeps it from firing."
    )
    filter: dict[str, Any] | None = Field(description="Which are meant; null where ids were named, or times.")
    backfill: dict[str, Any] | None = Field(description="The cue and the times of a backfill; else null.")
    as_of: datetime = Field(description="What is made later does not belong to it.")
    matched: Count = Field(description="How many match. At the end the sum of done, skipped and failed.")
    matched_capped: bool = Field(description="Whether more matched: it is counted up to 100,000.")
    done: Count = Field(
        description="How many were done. What a backfill has made and came to nothing counts as failed."
    )
    skipped: dict[str, int] = Field(description="How many were passed over, by reason.")
    failed: Count = Field(description="How many could not be done, or came to nothing.")
    rate_per_second: Count = Field(description="How many a second, at most.")
    started_at: datetime | None = Field(description="When its first batch began.")
    finished_at: datetime | None = Field(description="When it ended.")
    eta_seconds: int | None = Field(description="Seconds that the rest takes, at least; null when it has ended.")
    by: StartedBy = Field(description="Who has begun it.")
    reason: str | None = Field(description="Why.")


class OperationList(BaseModel):
    """Operations, newest first."""

    operations: list[BulkOperation] = Field(description="The operations of this page.")
    has_more: bool = Field(description="Whether there are more behind this page.")
    next_cursor: str | None = Field(description="`cursor` of the next page; null at the end.")
