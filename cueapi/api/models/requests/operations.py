"""The body of an operation on many."""

from typing import Annotated, Literal

from pydantic import Field, create_model

from cueapi.api.models.requests.bodies import Closed, ReasonBody, Short, optional
from cueapi.api.models.values import GROUP, STATUS_OR_NONE, CueStatus

MOST_IDS = 1_000


Named = Annotated[Short, Field(min_length=1)]
"""Not empty, as of a shell's variable that is not set: without it more would match."""


class FilterBody(Closed):
    """The query of the list that it came from: of `GET /v1/dead` to replay or dismiss, else of `GET /v1/cues`."""

    cue_id: Named | None = optional("Only dead letters of this cue.")
    group: Annotated[str, Field(pattern=GROUP)] | None = optional("Only those of this group.")
    host: Named | None = optional("Only dead letters of cues that call this host and port now.")
    http_status: Annotated[int, Field(ge=100, le=999)] | Annotated[str, Field(pattern=STATUS_OR_NONE)] | None = (
        optional("Only dead letters whose last attempt was answered so; `none`: that have no status.")
    )
    error: Named | None = optional(
        "Only dead letters with this error, as a summary shows it; `none`: for which no reason was given."
    )
    since: Named | None = optional("ISO 8601: only dead letters that have ended then or later.")
    until: Named | None = optional("ISO 8601: only dead letters that have ended then or earlier.")
    status: CueStatus | None = optional("Only cues in this status.")
    name: Named | None = optional("Only the cue of exactly this name.")


class OperationFields(ReasonBody):
    """What is done to many, and to which."""

    kind: Literal["replay", "dismiss", "pause", "resume", "delete", "backfill"] = Field(
        description="`replay` and `dismiss` work on dead letters, `pause`, `resume` and `delete` on cues; `backfill` "
        "makes the executions of a cue's times in the past."
    )
    filter: FilterBody | None = optional("Which are meant. An empty filter is refused.", left_out="`ids` say it")
    ids: Annotated[list[Short], Field(min_length=1, max_length=MOST_IDS)] | None = optional(
        "Ids of executions or cues, at most 1,000.", left_out="`filter` says it"
    )
    dry_run: bool | None = optional("Only say how many match.", False)
    expected: Annotated[int, Field(ge=0)] | None = optional(
        "How many are expected to match. Needed where more than 1,000 do; refused where it differs by over 1 %."
    )
    rate_per_second: Annotated[int, Field(ge=1, le=1_000)] | None = optional("How many a second, at most.", 50)
    cue_id: Short | None = optional("Of a backfill: the cue.")
    to: Short | None = optional("Of a backfill, ISO 8601: the last moment, included; not in the future.")
    only_missing: bool | None = optional(
        "Of a backfill: leave times alone that have an execution, unless it is `missed`.", True
    )


FROM = "from"
"""A word of Python's: a class cannot have a field of that name."""

_from: object = (Short | None, optional("Of a backfill, ISO 8601: the first moment, included."))
OperationBody = create_model(
    "OperationBody", __base__=OperationFields, __doc__=OperationFields.__doc__, **{FROM: _from}
)  # type: ignore[call-overload]  # (pydantic's annotation of create_model knows no fields by name)
