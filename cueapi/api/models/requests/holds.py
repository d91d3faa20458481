"""Bodies about the brake of an account."""

from typing import Annotated

from pydantic import Field

from cueapi.api.models.requests.bodies import Closed, Short, optional
from cueapi.api.models.values import HoldMode
from cueapi.domain.audit import REASON_LIMIT


class HoldBody(Closed):
    """A hold; may be empty."""

    reason: Annotated[str, Field(max_length=REASON_LIMIT)] | None = optional("Why, for people.")
    mode: HoldMode | None = optional(
        "`fires` stops what would fire; `everything` also each claim of what has fired.", "fires"
    )
    until: Short | None = optional(
        "ISO 8601, at most a year ahead: when the hold ends by itself.", left_out="when it is released"
    )
