"""What follows from a report: by the key of the account on the present attempt, or by the token of an attempt."""

from datetime import datetime

from attrs import evolve, frozen

from cueapi.domain.errors import Refusal
from cueapi.domain.execution import (
    FINAL,
    AlertType,
    Fence,
    Status,
    Transition,
    ends_failures,
    report_failed,
    succeeded,
)
from cueapi.domain.outcome import Report
from cueapi.domain.retry import Retry
from cueapi.domain.verification import Verification, VerificationRules, verify


@frozen
class ExecutionState:
    """An execution as a report finds it; *elapsed_ms* since the attempt began that is reported on."""

    fence: Fence
    transport: str
    rules: VerificationRules
    retry: Retry
    held_by: str | None
    ready_at: datetime
    elapsed_ms: int | None = None
    reported_attempt: int | None = None
    """The attempt that the recorded outcome is about."""
    has_counted: bool = False
    """As good: for its cue's failures in a row, and for the end of its incidents."""

    def verify(self, report: Report) -> Verification:
        """What a report comes to by the rules of the cue."""
        return verify(self.rules, report, self.elapsed_ms)


def apply_report(state: ExecutionState, report: Report, *, worker_id: str | None) -> Transition:
    """The transition that follows from a report. Refuses a second report for one attempt, and another worker's."""
    fence = state.fence
    if worker_id is not None and state.held_by not in {None, worker_id}:
        raise Refusal("not_execution_owner", f"This execution is claimed by worker {state.held_by}.")
    if fence.outcome_attempt is not None and fence.outcome_attempt >= fence.attempts:
        raise Refusal("outcome_already_recorded", "An outcome was already recorded for this attempt.")
    verification = state.verify(report)
    if fence.status in FINAL:
        return _late(fence, report, verification)
    if _has_succeeded(report, verification):
        return succeeded(fence, report, verification)
    if fence.status == Status.DELIVERING or not report.retry:
        return report_failed(fence, state.retry, report, verification)
    return Transition(
        fence,
        Status(fence.status),
        report=report,
        verification=verification,
        logged_as=verification.state,
    )


def apply_attempt_report(state: ExecutionState, report: Report, *, attempt: int) -> Transition:
    """
    The transition that follows from the report of the one that *attempt* was given to.

    The work was done, whichever attempt has done it: a success ends an unfinished execution, also after a failure that
    was reported for it. A failure counts for the present attempt only: refuses one of an earlier attempt.
    """
    verification = state.verify(report)
    if not _has_succeeded(report, verification):
        if attempt < state.fence.attempts:
            message = (
                f"Attempt {attempt} is over; attempt {state.fence.attempts} has begun, and only its failure counts."
            )
            raise Refusal("attempt_is_over", message)
    elif state.fence.status not in FINAL:
        return evolve(succeeded(state.fence, report, verification), reported_attempt=attempt)
    return evolve(apply_report(state, report, worker_id=None), reported_attempt=attempt)


def complete(state: ExecutionState, verification: Verification) -> Transition | None:
    """
    The transition where evidence, or a person, completes the recorded outcome to *verification*: the work was done.

    As a success that is reported late: it ends an unfinished execution, whichever attempt waits or is under way; what
    has ended keeps its status, and is made good. None where nothing follows, since it has counted as good.
    """
    fence = state.fence
    has_ended = fence.status in FINAL
    if has_ended and state.has_counted:
        return None
    return Transition(
        fence,
        Status(fence.status) if has_ended else Status.SUCCESS,
        delivered=not has_ended,
        consecutive_failures=0,
        logged_as=verification.state if has_ended else "success",
        reported_attempt=state.reported_attempt,
        completes=True,
    )


def _has_succeeded(report: Report, verification: Verification) -> bool:
    return report.success and not verification.fails


def _late(fence: Fence, report: Report, verification: Verification) -> Transition:
    """A report on what has ended: stored, and the status stays."""
    succeeds = _has_succeeded(report, verification)
    news = fence.status == Status.SUCCESS and not succeeds
    return Transition(
        fence,
        Status(fence.status),
        report=report,
        verification=verification,
        consecutive_failures=ends_failures(verification) if succeeds else (1 if news else None),
        alert=AlertType.EXECUTION_FAILED if news else None,
        logged_as=verification.state,
    )
