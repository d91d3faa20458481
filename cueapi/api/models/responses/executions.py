"""Answers about executions, and about the work that workers claim."""

from datetime import datetime
from typing import Any, ClassVar, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from cueapi.api.models.rendering import Column, Columns, Rendered, json_in
from cueapi.api.models.responses.lists import Page
from cueapi.api.models.responses.received import BodyReceived
from cueapi.api.models.values import Count, CueId, OutcomeState, Status, TriggeredBy


class Outcome(Rendered):
    """What the handler reported."""

    columns: ClassVar[Columns] = {
        "success": Column("outcome_success"),
        "result": Column("outcome_result"),
        "error": Column("outcome_error"),
        "metadata": json_in("outcome_metadata"),
        "recorded_at": Column("outcome_recorded_at"),
    }

    success: bool = Field(description="Whether the handler did its work.")
    result: str | None = Field(description="What came of it, up to 2,000 characters.")
    error: str | None = Field(description="What went wrong, up to 2,000 characters.")
    metadata: dict[str, Any] | None = Field(description="Whatever the handler added, up to 10 KiB.")
    recorded_at: datetime = Field(description="When the outcome was recorded.")


class Evidence(Rendered):
    """What proves the work."""

    columns: ClassVar[Columns] = {"artifacts": json_in("artifacts")}

    external_id: str | None = Field(description="Id of the result in another system.")
    result_url: str | None = Field(description="Where the result can be seen.")
    result_ref: str | None = Field(description="Any other reference to the result.")
    result_type: str | None = Field(description="What kind of result it is.")
    summary: str | None = Field(description="The result in a sentence; a reason of `verify` is added to it.")
    artifacts: list[Any] | None = Field(description="What was produced, up to 64 KiB as JSON.")
    validation_state: Literal["valid", "missing", "rejected"] | None = Field(
        description="Whether the evidence was accepted; null where none was asked for."
    )


class WaitingFor(BaseModel):
    """What keeps an execution from its next attempt. No attempt is used up by it."""

    kind: Literal["target"] = Field(description="`target`: the host that it calls is down.")
    host: str = Field(description="That host and its port.")
    since: datetime = Field(description="Since when it has been down.")
    next_probe_at: datetime = Field(description="When it is next looked whether it serves again.")


class Execution(Rendered):
    """One firing of a cue."""

    columns: ClassVar[Columns] = {"execution_id": Column("id"), "waiting_for": json_in("waiting_for")}

    id: UUID = Field(description="Id of the execution.")
    execution_id: UUID = Field(description="The same id.")
    cue_id: CueId = Field(description="Id of the cue that fired.")
    cue_name: str = Field(description="Name of that cue.")
    scheduled_for: datetime = Field(description="The time for which the execution was made.")
    status: Status = Field(description="`retry_ready`: the pause is over and the next attempt is about to begin.")
    triggered_by: TriggeredBy = Field(
        description="Whether the schedule, a fire by hand, a replay or a backfill made it."
    )
    attempts: Count = Field(description="Attempts that have begun.")
    http_status: int | None = Field(description="Status that the webhook answered the last attempt with.")
    response_body: str | None = Field(description="The first 2,000 characters of that answer.")
    error_message: str | None = Field(description="Why the last attempt failed.")
    started_at: datetime | None = Field(description="When the first attempt began.")
    delivered_at: datetime | None = Field(description="When the handler accepted it.")
    last_attempt_at: datetime | None = Field(description="When the last attempt began.")
    next_retry: datetime | None = Field(description="When the next attempt begins; null where none follows.")
    next_run: datetime | None = Field(description="When the cue fires next.")
    claimed_by_worker: str | None = Field(description="The worker that holds the claim, or held it at the end.")
    claimed_at: datetime | None = Field(description="When that worker claimed it.")
    outcome: Outcome | None = Field(description="What the handler reported; null until it has.")
    outcome_success: bool | None = Field(description="`outcome.success`.")
    outcome_state: OutcomeState | None = Field(description="How far the outcome is believed.")
    evidence: Evidence | None = Field(description="What proves the work; null where nothing was given.")
    outcome_deadline_at: datetime | None = Field(description="Until when an outcome must be reported.")
    progress: float | None = Field(description="The part of the present attempt that its handler has told to be done.")
    message: str | None = Field(description="What its handler has told of the present attempt.")
    missed_runs: Count = Field(description="Other missed times that this execution stands for.")
    late: bool = Field(description="Whether a hold of the account stopped it at its time.")
    waiting_for: WaitingFor | None = Field(
        description="What keeps it from its next attempt; null where nothing does.", examples=[None]
    )
    created_at: datetime = Field(description="When the execution was made.")
    updated_at: datetime = Field(description="When it last changed.")


class Attempt(Rendered):
    """One entry of the log of attempts."""

    attempt: int = Field(description="Its number, from 1.")
    started_at: datetime | None = Field(description="When it began.")
    duration_ms: int | None = Field(description="How long it took, in milliseconds.")
    sent_after_ms: int | None = Field(
        description="Milliseconds of it until the request went out; null where none did, and for workers."
    )
    first_byte_after_ms: int | None = Field(
        description="Milliseconds of it until the first byte of an answer came; null where none did."
    )
    http_status: int | None = Field(description="Status that the webhook answered with.")
    error: str | None = Field(description="Why it failed.")
    outcome: str | None = Field(description="How it ended.")
    response_body: str | None = Field(description="The first 2,000 characters of the webhook's answer.")


class DetailedExecution(Execution):
    """An execution with its payload."""

    columns: ClassVar[Columns] = {**Execution.columns, "payload": json_in("payload")}

    payload: dict[str, Any] = Field(description="What it carries to its handler, with each attempt.")


class LoggedExecution(DetailedExecution):
    """An execution with its payload and its log of attempts."""

    attempt_log: list[Attempt] = Field(description="Its attempts, in their order.")


class ExecutionList(Page):
    """Executions, newest first."""

    executions: list[Execution] = Field(description="The executions of this page.")
    next_cursor: str | None = Field(description="`cursor` of the next page; null at the end.")


class Fired(BaseModel):
    """A new execution, fired by hand."""

    id: UUID = Field(description="Id of the new execution.")
    cue_id: CueId = Field(description="Id of its cue.")
    scheduled_for: datetime = Field(description="When it is due: now, or `send_at`.")
    status: Literal["pending", "failed"] = Field(description="`failed` where the month's executions are used up.")
    triggered_by: TriggeredBy = Field(description="How it was made.")


class FiredByHand(BodyReceived, Fired):
    """A new execution, fired by hand."""


class Replayed(Fired):
    """A new execution with the payload of an earlier one."""

    replayed_from: UUID = Field(description="Id of the execution that is repeated.")


class Work(Rendered):
    """An execution that a worker can claim, or has claimed."""

    columns: ClassVar[Columns] = {
        "execution_id": Column("id"),
        "payload": json_in("payload"),
        "attempt": Column("attempts"),
    }

    execution_id: UUID = Field(description="Id of the execution.")
    cue_id: CueId = Field(description="Id of its cue.")
    cue_name: str = Field(description="Name of its cue.")
    task: str | None = Field(description="`payload.task`, where that is a text of at most 255 characters.")
    scheduled_for: datetime = Field(description="The time for which the execution was made.")
    payload: dict[str, Any] = Field(description="What it carries.")
    attempt: Count = Field(description="Attempts that have begun.")


class ClaimableWork(Work):
    """An execution that a worker can claim, and where its handler reports."""

    report_url: str = Field(description="Where the handler of the attempt that a claim begins reports, without a key.")


class ClaimableList(BaseModel):
    """What a worker could claim."""

    executions: list[ClaimableWork] = Field(description="Executions, the oldest first, at most 50.")


class Claimed(BaseModel):
    """A claim."""

    claimed: Literal[True] = Field(description="Always `true`.")
    execution_id: UUID = Field(description="Id of the claimed execution.")
    lease_seconds: Count = Field(description="Seconds for which the claim holds; a heartbeat extends it.")
    report_url: str = Field(description="Where the handler of this attempt reports, without a key.")


class LeaseExtended(BaseModel):
    """A claim that holds for longer."""

    execution_id: UUID = Field(description="Id of the execution.")
    lease_extended_until: datetime = Field(description="Until when the claim holds now.")
    report_url: str = Field(description="Where the handler of this attempt reports, without a key.")
    acknowledged: Literal[True] = Field(description="Always `true`.")
