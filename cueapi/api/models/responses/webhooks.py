"""What webhooks are sent, and what a refusal says of a field."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from cueapi.api.models.responses.incidents import Incident
from cueapi.api.models.values import AlertType, Count, CueId, Severity


class DeliverySent(BaseModel):
    """What a webhook handler is sent, unless its method is GET."""

    execution_id: UUID = Field(description="Id of the execution, the same on every attempt.")
    cue_id: CueId = Field(description="Id of its cue.")
    name: str = Field(description="Name of its cue.")
    scheduled_for: datetime = Field(description="The time for which the execution was made.")
    attempt: Annotated[int, Field(ge=1)] = Field(description="Number of this attempt, from 1.")
    payload: dict[str, Any] = Field(description="The execution's payload.")


class AlertSent(BaseModel):
    """What an alert webhook is sent."""

    alert_id: UUID = Field(description="Id of the alert.")
    alert_type: AlertType = Field(description="What happened.")
    severity: Severity = Field(description="How bad it is.")
    message: str = Field(description="What happened, in a sentence.")
    execution_id: UUID | None = Field(description="Id of the execution that it is about.")
    cue_id: CueId | None = Field(description="Id of the cue that it is about.")
    created_at: datetime = Field(description="When the alert was raised.")
    metadata: dict[str, Any] = Field(description="Further facts, by alert type.")
    incident_id: UUID | None = Field(description="Id of the incident that it belongs to; null: to none.")


class IncidentSent(BaseModel):
    """What a channel of the kind `webhook` is sent; a digest of many has numbers and some titles instead."""

    event: Literal["incident.opened", "incident.resolved", "incident.reminder", "incident.digest", "channel.test"] = (
        Field(description="What has happened.")
    )
    incident: Incident | None = Field(default=None, description="The incident as it was then.")
    since: datetime | None = Field(default=None, description="Of a digest: since when.")
    opened: Count | None = Field(default=None, description="Of a digest: incidents that have opened.")
    resolved: Count | None = Field(default=None, description="Of a digest: incidents that are over.")
    reminders: Count | None = Field(default=None, description="Of a digest: incidents that are still open.")
    titles: list[str] | None = Field(default=None, description="Of a digest: some of their titles.")
    message: str | None = Field(default=None, description="Of a test: that it is one.")


class FailureSent(BaseModel):
    """What `on_failure.webhook` is sent."""

    event: Literal["cue.failed"] = Field(description="Always `cue.failed`.")
    cue_id: CueId = Field(description="Id of the cue.")
    cue_name: str = Field(description="Name of the cue.")
    execution_id: UUID = Field(description="Id of the execution that failed for good.")
    attempts: Count = Field(description="Attempts that it had.")
    last_http_status: int | None = Field(description="Status that the last attempt was answered with.")
    last_error: str | None = Field(description="Why the last attempt failed.")
    failed_at: datetime = Field(description="When it failed for good.")


class ProblemDetail(BaseModel):
    """One field that is wrong."""

    field: str = Field(description="Where it stands, for example `body.schedule.cron`.")
    message: str = Field(description="What is wrong with it.")
