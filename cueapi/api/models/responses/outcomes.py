"""Answers to reports, verdicts and evidence."""

from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from cueapi.api.models.rendering import Column, Columns, Rendered
from cueapi.api.models.values import Count, OutcomeState, Status


class VerificationPending(BaseModel):
    """An outcome that waits for a person's verdict."""

    execution_id: UUID = Field(description="Id of the execution.")
    outcome_state: OutcomeState = Field(description="How far the outcome is believed.")


class OutcomeRecorded(VerificationPending):
    """What followed from a report."""

    outcome_recorded: Literal[True] = Field(description="Always `true`.")
    will_retry: bool = Field(description="Whether another attempt follows.")
    reason: str | None = Field(description="When the next attempt comes, or which evidence is missing.")
    truncated: list[str] | None = Field(
        default=None, description="Fields that were longer than what is kept; left out where there are none."
    )


class Verified(VerificationPending):
    """An outcome with a person's verdict."""

    valid: bool = Field(description="Whether the outcome was verified (`true`) or rejected.")
    reason: str | None = Field(description="The reason that was given, up to 500 characters.")


class EvidenceUpdated(VerificationPending):
    """An outcome with further evidence."""

    evidence_updated: Literal[True] = Field(description="Always `true`.")


class ReportedExecution(Rendered):
    """An execution as it shows itself to those who report on it: nothing of its payload and its evidence."""

    columns: ClassVar[Columns] = {"execution_id": Column("id"), "status": Column("shown_status")}

    execution_id: UUID = Field(description="Id of the execution.")
    cue_name: str = Field(description="Name of the cue that fired.")
    status: Status = Field(description="The status of the execution.")
    outcome_state: OutcomeState | None = Field(description="How far the outcome is believed; null: none is there yet.")
    outcome_deadline_at: datetime | None = Field(description="Until when an outcome must be reported.")


class Reported(ReportedExecution):
    """What has become of an attempt's execution."""

    attempt: Count = Field(description="The attempt that the report URL was given to.")


class AttemptHeartbeatTaken(BaseModel):
    """A handler's heartbeat was taken."""

    execution_id: UUID = Field(description="Id of the execution.")
    attempt: Count = Field(description="The attempt that the report URL was given to.")
    outcome_deadline_at: datetime | None = Field(
        description="Until when its outcome must be reported; null: without a deadline, or it is not awaited."
    )
    lease_until: datetime | None = Field(description="Until when its worker holds the claim; null: no worker does.")
    cancel: bool = Field(
        description="`true`: stop working. The cue was deleted, another attempt has succeeded, or the account is held "
        "and this was not forced."
    )
