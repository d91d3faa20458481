"""Answers to reports, verdicts and evidence."""

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from cueapi.api.models.values import OutcomeState


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
