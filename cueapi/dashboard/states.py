"""States as people see them: each has a sign, the same everywhere, and a word."""

from typing import Protocol

from attrs import frozen

from cueapi.domain.execution import Status
from cueapi.domain.outcome import OutcomeState


class Standing(Protocol):
    """What the state of an execution follows from."""

    @property
    def status(self) -> str:
        """As the contract shows it."""
        ...

    @property
    def outcome_state(self) -> str | None:
        """Of the last report, which may be that of an earlier attempt."""
        ...

    @property
    def is_reported(self) -> bool:
        """Whether that report was on the last attempt."""
        ...

    @property
    def is_awaited(self) -> bool:
        """Whether a report may still come."""
        ...


@frozen
class ShownState:
    """A sign of the dashboard (`succeeded`, `failed`, …) and the word beside it."""

    sign: str
    word: str


_SIGNS = {
    Status.PENDING: ShownState("waiting", "waiting"),
    Status.DELIVERING: ShownState("running", "running"),
    Status.RETRYING: ShownState("waiting", "retrying"),
    Status.FAILED: ShownState("failed", "failed"),
    Status.MISSED: ShownState("missed", "missed"),
    Status.OUTCOME_TIMEOUT: ShownState("failed", "no outcome"),
}

_OUTCOMES = {
    OutcomeState.REPORTED_FAILURE: ShownState("failed", "reported failed"),
    OutcomeState.VERIFICATION_FAILED: ShownState("failed", "not verified"),
    OutcomeState.VERIFICATION_PENDING: ShownState("unknown", "to verify"),
}


def state_of(execution: Standing) -> ShownState:
    """What is true of an execution: one that was delivered has succeeded unless its outcome says otherwise."""
    if execution.status == "retry_ready":
        return _SIGNS[Status.RETRYING]
    if execution.status != Status.SUCCESS:
        return _SIGNS[Status(execution.status)]
    if execution.is_reported and execution.outcome_state in _OUTCOMES:
        return _OUTCOMES[OutcomeState(execution.outcome_state)]
    return ShownState("unknown", "outcome awaited") if execution.is_awaited else ShownState("succeeded", "succeeded")


STATUSES: dict[str, str] = {
    Status.PENDING: "waiting",
    Status.DELIVERING: "running",
    Status.RETRYING: "retrying",
    Status.SUCCESS: "delivered or succeeded",
    Status.FAILED: "failed",
    Status.MISSED: "missed",
    Status.OUTCOME_TIMEOUT: "no outcome in time",
}
"""What a list may be filtered by, in words."""

OUTCOME_STATES: dict[str, str] = {
    OutcomeState.REPORTED_SUCCESS: "reported success",
    OutcomeState.REPORTED_FAILURE: "reported failure",
    OutcomeState.VERIFIED_SUCCESS: "verified",
    OutcomeState.VERIFICATION_FAILED: "not verified",
    OutcomeState.VERIFICATION_PENDING: "to be verified",
}
"""Likewise."""
