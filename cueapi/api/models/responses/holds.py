"""Answers about the brake of an account."""

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import BaseModel, Field

from cueapi.api.models.rendering import Columns, Computed, Rendered, stored
from cueapi.api.models.values import HoldMode


class HoldActor(BaseModel):
    """Who has set a hold."""

    kind: Literal["key", "session", "operator", "system", "mcp"] = Field(description="What kind of actor it is.")
    id: str | None = Field(description="What tells two of a kind apart; null where there is one.")
    name: str | None = Field(description="How people call the actor.")


class HoldInForce(Rendered):
    """What a hold stops, and why."""

    columns: ClassVar[Columns] = {"by": Computed("actor", stored)}

    mode: HoldMode | None = Field(description="What the hold stops; null where the account is not held.")
    reason: str | None = Field(description="Why; null where nothing was said.")
    until: datetime | None = Field(description="When the hold ends by itself; null where it does not.")
    since: datetime | None = Field(description="When the account was held; null where it is not.")
    by: HoldActor | None = Field(description="Who has set the hold; null where the account is not held.")


class Hold(HoldInForce):
    """Whether the account is held."""

    held: bool = Field(description="Whether the account is held: nothing fires by itself.")
