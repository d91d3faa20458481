"""Answers about dead letters."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from pydantic import BaseModel, Field

from cueapi.api.models.rendering import Column, Columns, Rendered
from cueapi.api.models.responses.executions import Execution
from cueapi.api.models.values import Count, CueId, Status


class LastReplay(Rendered):
    """The newest replay of a dead letter."""

    columns: ClassVar[Columns] = {"execution_id": Column("replay_id"), "status": Column("replay_status")}

    execution_id: UUID = Field(description="Id of the replay.")
    status: Status = Field(description="Its status; it has not succeeded.")


class DeadLetter(Execution):
    """An execution that has ended without success."""

    columns: ClassVar[Columns] = {**Execution.columns, "group": Column("group_name")}

    group: str | None = Field(description="The group of its cue.")
    host: str | None = Field(description="Host and port that its cue calls now: where a replay goes; null for workers.")
    dead_at: datetime = Field(description="When it has ended.")
    last_replay: LastReplay | None = Field(description="The newest replay of it; null where there is none.")


class DeadLetterList(BaseModel):
    """Dead letters, newest first."""

    dead: list[DeadLetter] = Field(description="The dead letters of this page.")
    has_more: bool = Field(description="Whether there are more behind this page.")
    next_cursor: str | None = Field(description="`cursor` of the next page; null at the end.")


class DeadGroup(Rendered):
    """Dead letters of one cue that have failed in the same way."""

    cue_id: CueId = Field(description="Id of their cue.")
    cue_name: str = Field(description="Name of that cue.")
    host: str | None = Field(description="Host and port that the cue calls now; null for workers.")
    http_status: int | None = Field(
        description="Status that the last attempts were answered with; null: none, and the filter says `none`."
    )
    error: str | None = Field(
        description="Why they failed, the first 200 characters; null: no reason was given, and the filter says `none`."
    )
    count: Count = Field(description="How many there are.")
    first_at: datetime = Field(description="When the first of them has ended.")
    last_at: datetime = Field(description="When the last of them has ended.")


class DeadSummary(BaseModel):
    """What dead letters have in common."""

    groups: list[DeadGroup] = Field(description="The largest groups, at most 50.")
    truncated: bool = Field(description="Whether there are more than the newest 10,000, which are counted here.")
