"""Answers about targets."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from cueapi.api.models.rendering import Rendered
from cueapi.api.models.values import Count, TargetState


class Target(Rendered):
    """A host that cues of the account call."""

    host: str = Field(description="Its name, or address, and port.")
    state: TargetState = Field(description="`open`: what is for it waits; `half_open`: one probe is under way.")
    since: datetime | None = Field(description="Since when it is closed, or down; null where it has always served.")
    reason: str | None = Field(description="What last kept it from serving; null where nothing has.")
    failure_rate: Annotated[float, Field(ge=0, le=1)] | None = Field(
        description="The share of attempts that it could not serve, in the five minutes before it opened."
    )
    attempts: Count | None = Field(description="How many attempts these were, as one daemon counted them.")
    opens: Count | None = Field(
        description="How often it has opened in a row: once by its failures, then by each probe that failed."
    )
    waiting: Count = Field(description="Deliveries that wait for it, counted up to 10,000.")
    oldest_waiting_at: datetime | None = Field(description="When the first of them was due; null where none waits.")
    next_probe_at: datetime | None = Field(description="When it is next probed; null where it is closed.")
    cues: Count = Field(description="Cues that call it, counted up to 10,000.")


class TargetList(BaseModel):
    """Targets, by their hosts."""

    targets: list[Target] = Field(description="The targets of this page.")
    limit: Annotated[int, Field(ge=1, le=100)] = Field(description="Rows of a page, at most.")
    has_more: bool = Field(description="Whether there are rows behind this page.")
    next_cursor: str | None = Field(description="`cursor` of the next page; null at the end.")


class Probed(BaseModel):
    """What came of asking for a probe."""

    host: str = Field(description="The target.")
    probed: bool = Field(
        description="Whether it is being probed; `false` where nothing waits for it, or a hold stops what does."
    )
