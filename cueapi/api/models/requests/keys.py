"""Bodies about keys."""

from typing import Annotated

from pydantic import Field

from cueapi.api.models.requests.bodies import ReasonBody, Short, optional
from cueapi.api.models.values import GROUP, NOT_BLANK, Scope

Name = Annotated[str, Field(min_length=1, max_length=100, pattern=NOT_BLANK)]


class KeyBody(ReasonBody):
    """A new key."""

    name: Name = Field(description="What its owner calls it; audit entries name it so.")
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=20)] = Field(
        description="What it may do. None of them includes another."
    )
    groups: Annotated[list[Annotated[str, Field(pattern=GROUP)]], Field(min_length=1, max_length=20)] | None = optional(
        "Only cues of these groups exist for it.", left_out="all cues"
    )
    expires_at: Short | None = optional("ISO 8601 moment from which it is refused.", left_out="never")


class KeyPatch(ReasonBody):
    """What of a key may be changed."""

    name: Name = Field(description="What its owner calls it.")


class RotateBody(ReasonBody):
    """How a key is rotated; may be empty."""

    overlap_seconds: Annotated[int, Field(ge=0, le=604_800)] | None = optional(
        "Seconds for which the former text of the key serves beside the new one.", 0
    )
