"""Answers about alerts."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from pydantic import BaseModel, Field

from cueapi.api.models.rendering import Columns, Rendered, json_in
from cueapi.api.models.responses.lists import Page
from cueapi.api.models.values import AlertType, CueId, Severity


class Alert(Rendered):
    """Something that went wrong."""

    columns: ClassVar[Columns] = {"metadata": json_in("metadata")}

    id: UUID = Field(description="Id of the alert.")
    cue_id: CueId | None = Field(description="Id of the cue that it is about; null where it is about none.")
    execution_id: UUID | None = Field(description="Id of the execution that it is about; null where it is about none.")
    alert_type: AlertType = Field(description="What happened.")
    severity: Severity = Field(description="How bad it is.")
    message: str = Field(description="What happened, in a sentence.")
    metadata: dict[str, Any] = Field(description="Further facts, by alert type.")
    acknowledged: bool = Field(description="Whether the alert was acknowledged.")
    created_at: datetime = Field(description="When the alert was raised.")
    incident_id: UUID | None = Field(description="Id of the incident that it belongs to; null: to none.")


class AcknowledgedAlerts(BaseModel):
    """Which alerts are acknowledged."""

    acknowledged: list[str] = Field(description="Ids of alerts that are acknowledged, now or since before.")
    not_found: list[str] = Field(description="Ids that are not those of an alert of the account.")


class AlertList(Page):
    """Alerts, newest first."""

    alerts: list[Alert] = Field(description="The alerts of this page.")
    next_cursor: str | None = Field(description="`cursor` of the next page; null at the end.")
