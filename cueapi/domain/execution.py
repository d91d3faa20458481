"""An execution's states, and the steps between them. Storage writes a step down; here it is decided."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from attrs import evolve, frozen

from cueapi.domain.errors import Refusal
from cueapi.domain.outcome import Belief, Report, believe
from cueapi.domain.retry import NO_RETRY, Retry

BOUNCES_ALLOWED = 5
"""Claims lost in a row before a lost claim counts as a failed try: a delivery that kills daemons must end."""


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
    """Why somebody is told."""

    CONSECUTIVE_FAILURES = "consecutive_failures"
    VERIFICATION_FAILED = "verification_failed"
    OUTCOME_TIMEOUT = "outcome_timeout"
    EXECUTION_FAILED = "execution_failed"
    MISSED_RUN = "missed_run"
    WORKER_OFFLINE = "worker_offline"


@frozen
class Fence:
    """What a decision was made upon; the step is written only where it still stands."""

    execution_id: UUID
    claim: UUID | None
    attempts: int
    status: str
    outcome_attempt: int | None = None


@frozen
class Wire:
    """What is kept of a try on the wire."""

    http_status: int | None
    response_body: str | None
    error_message: str | None
    duration_ms: int | None


@frozen
class Step:
    """
    One legal step of an execution, with all that follows from it.

    *pause* is the seconds until the next try may begin (None: as it stands), *deadline* the seconds in which
    an outcome is awaited. *streak* moves the cue's row of failures: 1 adds one, 0 ends it, None leaves it.
    *alert* says that the execution is lost, and why: what `on_failure` asks for follows.
    """

    fence: Fence
    status: Status
    pause: float | None = None
    handed_back: bool = False
    bounced: bool = False
    delivered: bool = False
    deadline: float | None = None
    wire: Wire | None = None
    error: str | None = None
    report: Report | None = None
    belief: Belief | None = None
    streak: int | None = None
    alert: AlertType | None = None
    logged_as: str | None = None
    dropped: tuple[str, ...] = ()

    @property
    def ends(self) -> bool:
        """True where no try follows."""
        return self.status in FINAL


def failed_try(
    fence: Fence,
    retry: Retry,
    *,
    wire: Wire | None = None,
    error: str | None = None,
    report: Report | None = None,
    at_least: float = 0.0,
) -> Step:
    """A try failed: on to the next one after its pause (and no earlier than *at_least*), or the end."""
    pause = retry.pause_after(fence.attempts)
    ended = pause is None
    return Step(
        fence,
        Status.FAILED if ended else Status.RETRYING,
        pause=None if pause is None else max(pause, at_least),
        wire=wire,
        error=error,
        report=report,
        belief=None if report is None else believe("none", report),
        streak=1 if ended else None,
        alert=AlertType.EXECUTION_FAILED if ended else None,
        logged_as="failed" if report is None else "reported_failure",
    )


def succeeded(fence: Fence, report: Report, mode: str, *, wire: Wire | None = None) -> Step:
    """A success report ends the execution; how far it is believed is the verification's."""
    belief = believe(mode, report)
    return Step(
        fence,
        Status.SUCCESS,
        delivered=True,
        wire=wire,
        report=report,
        belief=belief,
        streak=_believed(belief),
        logged_as="success",
    )


def _believed(belief: Belief) -> int | None:
    """What a success report does to the row of failures: it ends it, unless the evidence was missing."""
    return 0 if belief.missing is None else None


def lost_claim(fence: Fence, retry: Retry, *, bounces: int) -> Step:
    """The daemon that held the claim is gone: the same try again, up to a number of times in a row."""
    if bounces + 1 >= BOUNCES_ALLOWED:
        message = f"The delivery was interrupted {BOUNCES_ALLOWED} times in a row; nobody knows how it ended."
        return failed_try(fence, retry, error=message)
    return evolve(handed_back(fence), bounced=True)


def handed_back(fence: Fence) -> Step:
    """The claim is given up, and the try has not begun."""
    status = Status.PENDING if fence.attempts <= 1 else Status.RETRYING
    return Step(fence, status, pause=0.0, handed_back=True)


def never_claimed(fence: Fence) -> Step:
    """No worker came for it in time."""
    return Step(
        fence,
        Status.MISSED,
        error="No worker claimed this execution in time.",
        streak=1,
        alert=AlertType.MISSED_RUN,
    )


def deadline_passed(fence: Fence, retry: Retry) -> Step:
    """The handler was reached and did not report in time: the next try, or `outcome_timeout`."""
    message = "No outcome was reported before the deadline."
    pause = retry.pause_after(fence.attempts)
    if pause is not None:
        return Step(fence, Status.RETRYING, pause=pause, error=message, logged_as="outcome_timeout")
    return Step(
        fence,
        Status.OUTCOME_TIMEOUT,
        error=message,
        streak=1,
        alert=AlertType.OUTCOME_TIMEOUT,
        logged_as="outcome_timeout",
    )


@frozen
class Standing:
    """An execution as a report finds it."""

    fence: Fence
    transport: str
    mode: str
    retry: Retry
    held_by: str | None
    ready_at: datetime


def reported(standing: Standing, report: Report, *, worker_id: str | None) -> Step:
    """What a report makes of the execution; refuses a second one for a try, and a stranger's."""
    fence = standing.fence
    if worker_id is not None and standing.held_by not in {None, worker_id}:
        raise Refusal("not_execution_owner", f"This execution is claimed by worker {standing.held_by}.")
    if fence.outcome_attempt is not None and fence.outcome_attempt >= fence.attempts:
        raise Refusal("outcome_already_recorded", "An outcome was already recorded for this try.")
    if fence.status in FINAL:
        return _late(standing, report)
    if report.success:
        return succeeded(fence, report, standing.mode)
    if fence.status == Status.DELIVERING or not report.retry:
        retry = standing.retry if report.retry else NO_RETRY
        return failed_try(fence, retry, error=report.error, report=report)
    return Step(
        fence,
        Status(fence.status),
        report=report,
        belief=believe("none", report),
        logged_as="reported_failure",
    )


def _late(standing: Standing, report: Report) -> Step:
    """A report on what has ended: stored, and the status stays."""
    fence, belief = standing.fence, believe(standing.mode, report)
    news = fence.status == Status.SUCCESS and not report.success
    return Step(
        fence,
        Status(fence.status),
        report=report,
        belief=belief,
        streak=_believed(belief) if report.success else (1 if news else None),
        alert=AlertType.EXECUTION_FAILED if news else None,
        logged_as=belief.state,
    )
