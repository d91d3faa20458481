"""Bodies about incidents and mutes."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from cueapi.api.models.requests.bodies import Reason, ReasonBody, Short, optional
from cueapi.api.models.values import GROUP

Remark = Annotated[str, Field(max_length=500)]
YEAR_IN_MINUTES = 527_040


def _no_number(given: object) -> object:
    # To Python 1 equals True, and so a Literal takes it.
    if isinstance(given, int | float) and not isinstance(given, bool):
        raise PydanticCustomError("bool_type", "must be true")
    return given


Yes = Annotated[Literal[True], BeforeValidator(_no_number)]


class AcknowledgeBody(ReasonBody):
    """That a person looks after an incident."""

    note: Remark | None = optional("What the person has to say of it.")


class SnoozeBody(ReasonBody):
    """Until when an incident may wait; one of both."""

    until: Short | None = optional("ISO 8601, in the future, within a year.", left_out="`minutes` says it")
    minutes: Annotated[int, Field(ge=1, le=YEAR_IN_MINUTES)] | None = optional(
        "Minutes from now on.", left_out="`until` says it"
    )


class ResolveBody(ReasonBody):
    """Why an incident is over."""

    reason: Reason | None = optional("Why it is over: its title says so.", left_out="the header X-Reason says it")


class MuteSubject(ReasonBody):
    """What is muted: one of the three."""

    cue_id: Short | None = optional("The cue.", left_out="another one is named")
    group: Annotated[str, Field(pattern=GROUP)] | None = optional("The group.", left_out="another one is named")
    account: Yes | None = optional("`true`: everything.", left_out="another one is named")


class MuteBody(MuteSubject):
    """What is muted, until when, and why."""

    until: Short | None = optional("ISO 8601, in the future, within a year.", left_out="until the mute is deleted")
    reason: Reason | None = optional("Why; it stands in the audit, too.")
