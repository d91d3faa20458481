"""Answers about channels."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from cueapi.api.models.values import ChannelKind, IncidentKind, NoticeEvent, Severity, WebhookSecret


class NotificationChannel(BaseModel):
    """Where a user hears of incidents."""

    id: UUID = Field(description="Id of the channel.")
    kind: ChannelKind = Field(description="How it is spoken to.")
    name: str = Field(description="Name for people.")
    url: str | None = Field(description="Where messages go; of slack and discord masked, since it is a secret.")
    topic: str | None = Field(description="Topic of ntfy.")
    address: str | None = Field(description="Mail address.")
    has_token: bool = Field(description="Whether there is an access token; it is never shown.")
    on: list[NoticeEvent] = Field(description="What is told.")
    min_severity: Severity = Field(description="Only incidents that are at least so bad are told of.")
    groups: list[str] | None = Field(description="Only incidents of cues of these groups; null: of all.")
    kinds: list[IncidentKind] | None = Field(description="Only incidents of these kinds; null: of all.")
    confirmed: bool = Field(description="Whether its mail box is known to be there; nothing is sent before.")
    failing_since: datetime | None = Field(description="Since when no message was taken; null: the last one was.")
    last_error: str | None = Field(description="Why the last message was not taken.")
    disabled_at: datetime | None = Field(description="When it was disabled; null: messages are sent.")
    created_at: datetime = Field(description="When it was made.")
    updated_at: datetime = Field(description="When it was changed last.")
    secret: WebhookSecret | None = Field(
        default=None, description="What messages to a webhook are signed with; shown this once, when it was made."
    )


class ChannelList(BaseModel):
    """A user's channels, the oldest first."""

    channels: list[NotificationChannel] = Field(description="The channels.")


class ChannelTested(BaseModel):
    """What came of a test message."""

    delivered: bool = Field(description="Whether it was taken.")
    status: Annotated[int, Field(ge=100, le=999)] | None = Field(
        description="Status of the answer; null where there was none, and of mail."
    )
    error: str | None = Field(description="Why it was not taken.")
