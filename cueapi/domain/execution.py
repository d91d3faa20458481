"""An execution's states, and the transitions between them: decided here, written down by storage."""

from enum import StrEnum
from uuid import UUID

from attrs import evolve, frozen

from cueapi.domain.outcome import Report
from cueapi.domain.retry import NO_RETRY, Retry
from cueapi.domain.verification import NO_RULES, Verification, verify

LOST_CLAIMS_ALLOWED = 5
"""Claims lost in a row before a lost claim counts as a failed attempt: a delivery that kills daemons must end."""

SHORTAGE_PAUSE = 5.0
"""Seconds for which an attempt waits that our own resources do not suffice for."""


class Status(StrEnum):
    """What is stored; `retry_ready` is only how a `retrying` row whose time has come is shown."""

    PENDING = "pending"
    DELIVERING = "delivering"
    RETRYING = "retrying"
    SUCCESS = "success"
    FAILED = "failed"
    MISSED = "missed"
    OUTCOME_TIMEOUT = "outcome_timeout"


FINAL = frozenset({Status.SUCCESS, Status.FAILED, Status.MISSED, Status.OUTCOME_TIMEOUT})
SHOWN = frozenset({*Status, "retry_ready"})


class AlertType(StrEnum):
    """Why an alert is raised."""

    CONSECUTIVE_FAILURES = "consecutive_failures"
    VERIFICATION_FAILED = "verification_failed"
    OUTCOME_TIMEOUT = "outcome_timeout"
    EXECUTION_FAILED = "execution_failed"
    MISSED_RUN = "missed_run"
    WORKER_OFFLINE = "worker_offline"
    BUDGET_WARNING = "budget_warning"
    BUDGET_REACHED = "budget_reached"


@frozen
class Fence:
    """
    The state that a transition was decided from; it is written only while the row is still in that state.

    *cue_revision* is given where the cue was not looked at for the decision: it is written only while that stands.
    """

    execution_id: UUID
    claim: UUID | None
    attempts: int
    status: str
    outcome_attempt: int | None = None
    cue_revision: int | None = None


@frozen
class AttemptRecord:
    """What is kept of an attempt. Null are the milliseconds until what did not happen, and of what no daemon sent."""

    http_status: int | None
    response_body: str | None
    error_message: str | None
    duration_ms: int | None
    sent_after_ms: int | None = None
    first_byte_after_ms: int | None = None


@frozen
class Transition:
    """
    One legal move of an execution, with all its consequences.

    *pause* is the seconds until the next attempt may begin (None: as it stands), *deadline* the seconds in which
    an outcome is awaited. *consecutive_failures* moves the cue's counter: 1 adds one, 0 resets it, None
    leaves it. *alert* says that the execution has failed for good, and why: what `on_failure` asks for follows.
    """

    fence: Fence
    status: Status
    pause: float | None = None
    released: bool = False
    claim_lost: bool = False
    delivered: bool = False
    deadline: float | None = None
    record: AttemptRecord | None = None
    error: str | None = None
    report: Report | None = None
    verification: Verification | None = None
    consecutive_failures: int | None = None
    alert: AlertType | None = None
    logged_as: str | None = None
    dropped: tuple[str, ...] = ()
    overdue: bool = False
    """It follows from a deadline or a lease that has passed: a heartbeat that has moved it meanwhile is heard."""
    reported_attempt: int | None = None
    """The attempt that it is about, where that may be another than the present one."""
    completes: bool = False
    """Evidence, or a person, has said later that the work was done of which the recorded outcome tells."""

    @property
    def ends(self) -> bool:
        """True where no attempt follows."""
        return self.status in FINAL

    @property
    def is_done(self) -> bool:
        """True where a report, or what completes one, says that the work was done."""
        if self.report is None or self.verification is None:
            return self.completes
        return self.report.success and not self.verification.fails

    @property
    def is_good(self) -> bool:
        """
        Whether it counts towards the end of its cue's incidents.

        The work was done; or the handler has taken it, and owes no report.
        """
        if self.report is not None or self.completes:
            return self.consecutive_failures == 0
        return self.status is Status.SUCCESS and self.delivered and self.deadline is None

    @property
    def is_late(self) -> bool:
        """True for a report on an attempt that has come to its end already, and for what completes one."""
        return self.completes or (self.report is not None and self.fence.status != Status.DELIVERING)

    @property
    def reason(self) -> str | None:
        """Why the attempt did not succeed, without a word of what the handler said; None where it did."""
        if self.report is not None:
            return self._reason_of_report(self.report)
        return self.error if self.record is None else self.record.error_message

    def _reason_of_report(self, report: Report) -> str | None:
        if not report.success:
            return "The handler reported a failure."
        if self.verification is None or self.verification.lack is None:
            return None
        missing = self.verification.missing
        return f"The outcome was reported without {missing}." if missing else "The outcome does not meet an assertion."


def attempt_failed(
    fence: Fence,
    retry: Retry,
    *,
    record: AttemptRecord | None = None,
    error: str | None = None,
    report: Report | None = None,
    at_least: float = 0.0,
) -> Transition:
    """A failed attempt: the next one follows after its pause (at least *at_least* seconds), or the execution ends."""
    pause = retry.pause_after(fence.attempts)
    ended = pause is None
    return Transition(
        fence,
        Status.FAILED if ended else Status.RETRYING,
        pause=None if pause is None else max(pause, at_least),
        record=record,
        error=error,
        report=report,
        verification=None if report is None else verify(NO_RULES, report),
        consecutive_failures=1 if ended else None,
        alert=AlertType.EXECUTION_FAILED if ended else None,
        logged_as="failed" if report is None else "reported_failure",
    )


def succeeded(
    fence: Fence, report: Report, verification: Verification, *, record: AttemptRecord | None = None
) -> Transition:
    """A success report ends the execution, whatever its verification has come to."""
    return Transition(
        fence,
        Status.SUCCESS,
        delivered=True,
        record=record,
        report=report,
        verification=verification,
        consecutive_failures=ends_failures(verification),
        logged_as="success",
    )


def report_failed(
    fence: Fence, retry: Retry, report: Report, verification: Verification, *, record: AttemptRecord | None = None
) -> Transition:
    """A report that is a failed attempt: of a failure, or of a success that fails its verification."""
    reason = report.error if verification.lack is None else f"{verification.lack}."
    if record is not None:
        record = evolve(record, error_message=reason or "The handler reported a failure.")
    step = attempt_failed(fence, retry if report.retry else NO_RETRY, record=record, error=reason, report=report)
    logged_as = "reported_failure" if verification.lack is None else "verification_failed"
    return evolve(step, verification=verification, logged_as=logged_as)


def ends_failures(verification: Verification) -> int | None:
    """What a success report does to the failures in a row: it resets them, unless its verification failed."""
    return 0 if verification.lack is None else None


def claim_lost(fence: Fence, retry: Retry, *, lost_claims: int) -> Transition:
    """The daemon that held the claim is gone, or stood still: the same attempt again, up to some times in a row."""
    if lost_claims + 1 >= LOST_CLAIMS_ALLOWED:
        message = f"The delivery was interrupted {LOST_CLAIMS_ALLOWED} times in a row; its result is unknown."
        return attempt_failed(fence, retry, error=message)
    return evolve(released(fence), claim_lost=True)


def released(fence: Fence) -> Transition:
    """The claim is released before the attempt has begun."""
    status = Status.PENDING if fence.attempts <= 1 else Status.RETRYING
    return Transition(fence, status, pause=0.0, released=True)


def held_back(fence: Fence) -> Transition:
    """Its target has opened since it was claimed: it is released, and keeps its place among those that wait."""
    return evolve(released(fence), pause=None)


def postponed(fence: Fence) -> Transition:
    """Our own resources do not suffice for the attempt: it is released, and begun again a little later."""
    return evolve(released(fence), pause=SHORTAGE_PAUSE)


def unclaimed(fence: Fence) -> Transition:
    """No worker came for it in time."""
    return Transition(
        fence,
        Status.MISSED,
        error="No worker claimed this execution in time.",
        consecutive_failures=1,
        alert=AlertType.MISSED_RUN,
    )


def deadline_passed(fence: Fence, retry: Retry) -> Transition:
    """The handler was reached and did not report in time: the next attempt, or `outcome_timeout`."""
    message = "No outcome was reported before the deadline."
    pause = retry.pause_after(fence.attempts)
    if pause is not None:
        return Transition(fence, Status.RETRYING, pause=pause, error=message, logged_as="outcome_timeout", overdue=True)
    return Transition(
        fence,
        Status.OUTCOME_TIMEOUT,
        error=message,
        consecutive_failures=1,
        alert=AlertType.OUTCOME_TIMEOUT,
        logged_as="outcome_timeout",
        overdue=True,
    )
