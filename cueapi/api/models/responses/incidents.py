"""Answers about incidents and mutes."""

from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from cueapi.api.models.rendering import Column, Columns, Rendered
from cueapi.api.models.values import Count, CueId, IncidentKind, IncidentStatus, Severity


class IncidentSubject(Rendered):
    """What an incident is about."""

    columns: ClassVar[Columns] = {"kind": Column("subject_kind"), "id": Column("subject")}

    kind: Literal["cue", "worker", "target", "account", "group", "channel"] = Field(description="What it is.")
    id: str = Field(description="Its id; of a worker its name, of a target its host and port.")
    name: str = Field(description="How people call it.")


class Incident(Rendered):
    """What is wrong with one subject, until it is over."""

    id: UUID = Field(description="Id of the incident.")
    kind: IncidentKind = Field(description="What is wrong.")
    subject: IncidentSubject = Field(description="What it is about.")
    severity: Severity = Field(description="How bad it is.")
    status: IncidentStatus = Field(description="What was snoozed is open again at the end of its time.")
    title: str = Field(description="What is wrong, in a sentence; where it was ended by a pause or a person, why.")
    cue_id: CueId | None = Field(description="Id of the cue that it is about; null where it is about none.")
    opened_at: datetime = Field(description="When it began.")
    acknowledged_at: datetime | None = Field(description="When a person has acknowledged it; null: not yet.")
    note: str | None = Field(description="What that person has said of it.")
    snoozed_until: datetime | None = Field(description="Until when it may wait; null where it is not snoozed.")
    resolved_at: datetime | None = Field(description="When it was over; null: not yet.")
    resolution: str | None = Field(
        description="Why it was ended; null where its subject has recovered, or it is not over."
    )
    events: Count = Field(description="How often it has happened: failed executions, late firings.")
    first_execution_id: UUID | None = Field(description="The execution that has opened it.")
    last_execution_id: UUID | None = Field(description="The last one that has counted.")
    resolved_by_execution_id: UUID | None = Field(description="The good execution that has ended it.")


class IncidentList(BaseModel):
    """Incidents, newest first."""

    incidents: list[Incident] = Field(description="The incidents of this page.")
    has_more: bool = Field(description="Whether there are incidents behind this page.")
    next_cursor: str | None = Field(description="`cursor` of the next page; null at the end.")


class Mute(BaseModel):
    """What no notices are sent of."""

    cue_id: CueId | None = Field(description="The cue that is muted; null where it is none.")
    cue_name: str | None = Field(description="Its name.")
    group: str | None = Field(description="The group that is muted; null where it is none.", examples=["briefs"])
    account: bool = Field(description="Whether everything is muted.")
    until: datetime | None = Field(description="Until when; null: until it is deleted.")
    reason: str | None = Field(description="Why.")
    created_at: datetime = Field(description="Since when.")


class MuteList(BaseModel):
    """The mutes that are in force, newest first."""

    mutes: list[Mute] = Field(description="The mutes.")
