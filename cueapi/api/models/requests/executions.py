"""Bodies about executions, their outcomes and evidence."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from cueapi.api.models.requests.bodies import Closed, Short, optional


class EvidenceBody(Closed):
    """Evidence, and metadata; empty texts and lists count as missing."""

    external_id: Annotated[str, Field(max_length=500)] | None = optional("Id of the result in another system.")
    result_url: Annotated[str, Field(max_length=2_000)] | None = optional("Where the result can be seen.")
    result_ref: Annotated[str, Field(max_length=500)] | None = optional("Any other reference to the result.")
    result_type: Annotated[str, Field(max_length=100)] | None = optional("What kind of result it is.")
    summary: Annotated[str, Field(max_length=500)] | None = optional("The result in a sentence.")
    artifacts: list[Any] | None = optional("What was produced, up to 64 KiB as JSON.")
    metadata: dict[str, Any] | None = optional("Whatever else is of interest, up to 10 KiB as JSON.")


class OutcomeBody(EvidenceBody):
    """What the handler reports."""

    success: bool = Field(description="Whether the handler did its work.")
    result: str | None = optional("What came of it; the first 2,000 characters are kept.")
    error: str | None = optional("What went wrong; the first 2,000 characters are kept.")
    retry: bool | None = optional("After a failure: whether another attempt may follow.", True)


class VerifyBody(Closed):
    """A person's verdict on an outcome; may be empty."""

    valid: bool | None = optional("`true` verifies the outcome, `false` rejects it.", True)
    reason: str | None = optional("Why; the first 500 characters are kept.")


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        # A TypeError would not become a refusal (Pydantic, "Validators").
        raise ValueError("must be a number from 0 to 1, not true or false")  # noqa: TRY004
    return value


class AttemptHeartbeatBody(Closed):
    """How far an attempt has come; may be empty."""

    progress: Annotated[float, Field(ge=0, le=1, strict=False), BeforeValidator(_no_boolean)] | None = optional(
        "The part of the work that is done, 0 to 1.", left_out="as it was told before"
    )
    message: Annotated[str, Field(max_length=200)] | None = optional(
        "What is being done, in a sentence.", left_out="as it was told before"
    )


class ClaimBody(Closed):
    """A claim; may be empty."""

    worker_id: Annotated[str, Field(min_length=1, max_length=255)] | None = optional("The worker's name.", "default")
    task: Short | None = optional("Claim only an execution whose `payload.task` is this.")


class HeartbeatBody(Closed):
    """A worker's sign of life, which may also claim work; may be empty."""

    worker_id: Annotated[str, Field(min_length=1, max_length=255)] | None = optional("The worker's name.", "default")
    handlers: Annotated[list[Annotated[str, Field(max_length=255)]], Field(max_length=1_000)] | None = optional(
        "Names of cues or tasks that the worker works on.", left_out="all"
    )
    running: Annotated[list[Short], Field(max_length=1_000)] | None = optional(
        "Ids of the executions that the worker still runs. One that it holds for over a minute and does not name "
        "is a failed attempt."
    )
    claim: Annotated[int, Field(ge=0, le=50)] | None = optional("Executions to claim, at most.", left_out="none")
    wait_seconds: Annotated[float, Field(ge=0, le=30, strict=False)] | None = optional(
        "Seconds to wait for the first execution to claim.", 0
    )
