"""One attempt: what is delivered, what came back, and the transition that follows from it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import inf
from typing import TypeAlias
from uuid import UUID

from attrs import evolve, field, frozen

from cueapi.domain.clock import iso
from cueapi.domain.execution import (
    AttemptRecord,
    Fence,
    Status,
    Transition,
    attempt_failed,
    claim_lost,
    postponed,
    report_failed,
    succeeded,
)
from cueapi.domain.outcome import TEXT_KEPT, ReportUnreadable, clean_text, read_inline
from cueapi.domain.retry import DEFAULT_RETRY, NO_RETRY, Retry
from cueapi.domain.verification import NO_RULES, VerificationRules, verify

ANSWER_LIMIT = 64 * 1024
"""Bytes of an answer that are read."""

RETRY_AFTER_LIMIT = 86_400.0
"""Seconds that a handler may put off the next attempt."""

ReportUrl: TypeAlias = Callable[[UUID, int], str]
"""Where the handler of an execution's attempt reports, without a key."""


@frozen
class Delivery:
    """An execution claimed for exactly one attempt, with everything that the request needs."""

    execution_id: UUID
    cue_id: str
    cue_name: str
    user_id: int
    claim: UUID
    attempt: int
    scheduled_for: datetime
    method: str
    url: str
    headers: dict[str, str] = field(repr=False)
    body: bytes
    secrets: tuple[str, ...] = field(repr=False)
    report_url: str = field(repr=False)
    timeout: float
    host: str
    retry: Retry = DEFAULT_RETRY
    verification: VerificationRules = NO_RULES
    outcome_deadline: float | None = None
    lost_claims: int = 0
    claimed_at: float = -inf
    """In seconds of a clock that nothing sets: from before the claim was asked for."""
    is_backfill: bool = False
    """It is for a time of the past, so it is not late."""
    unsendable: str | None = None
    """Why nothing can be sent: its attempt fails with this reason."""
    opens: int | None = None
    """Where it is the probe of a target that is down: how often in a row that has opened."""

    @property
    def fence(self) -> Fence:
        """What the result may be written upon."""
        return Fence(self.execution_id, self.claim, self.attempt, Status.DELIVERING)


@frozen
class Answered:
    """The handler answered: a status, at most *ANSWER_LIMIT* bytes of body, and its Retry-After."""

    status: int
    body: bytes = b""
    cut: bool = False
    retry_after: str | None = None
    packed: str | None = None
    """The content coding that the body could not be decoded from."""
    sent_after: float | None = field(default=None, eq=False)
    first_byte_after: float | None = field(default=None, eq=False)
    """In seconds of the attempt, as in `Unreachable`."""

    @property
    def why_unread(self) -> str | None:
        """Why no report can be read from the body; None where one can."""
        if self.cut:
            return f"The answer was longer than {ANSWER_LIMIT // 1024} KiB; no outcome was read."
        if self.packed is not None:
            coding = self.packed[:64]
            return f"The answer could not be decoded from {coding}, which was not asked for; no outcome was read."
        return None


@frozen
class Unreachable:
    """
    No answer came; *reason* is a sentence that a person understands.

    Where it was *refused* by our own rules, or could not be written, nothing was sent. *sent_after* are the seconds
    from the beginning of the attempt until the request went out, *first_byte_after* until an answer began; None where
    that did not happen.
    """

    reason: str
    refused: bool = False
    sent_after: float | None = field(default=None, eq=False)
    first_byte_after: float | None = field(default=None, eq=False)


@frozen
class Postponed:
    """The request could not be sent for want of our own resources; *reason* says of which."""

    reason: str


@frozen
class Interrupted:
    """The attempt was ended by ourselves; what the handler has done is not known."""


Result: TypeAlias = Answered | Unreachable | Postponed | Interrupted


def webhook_body(
    *, execution_id: UUID, cue_id: str, name: str, scheduled_for: datetime, attempt: int, payload: str
) -> bytes:
    """
    The request's body as `json.dumps(…, sort_keys=True)` writes it; *payload* is such a text already.

    Keys stand in their sorted order, so that the payload need not be parsed again for each attempt.
    """
    return (
        f'{{"attempt": {attempt}, "cue_id": {json.dumps(cue_id)}, "execution_id": "{execution_id}", '
        f'"name": {json.dumps(name)}, "payload": {payload}, "scheduled_for": "{iso(scheduled_for)}"}}'
    ).encode("ascii")


def evaluate_attempt(delivery: Delivery, result: Result, *, duration: float, now: datetime) -> Transition:
    """The transition that follows from an attempt of *duration* seconds. The only place where that is decided."""
    match result:
        case Postponed():
            return postponed(delivery.fence)
        case Interrupted():
            return claim_lost(delivery.fence, delivery.retry, lost_claims=delivery.lost_claims)
        case Unreachable(reason):
            record = _record(result, duration, error=clean_text(reason)[:TEXT_KEPT])
            return attempt_failed(delivery.fence, delivery.retry, record=record)
        case Answered(status) if 200 <= status < 300:
            return _evaluate_success(delivery, result, _record(result, duration, error=result.why_unread))
        case Answered(status, _, _, retry_after):
            record = _record(result, duration, error=_refusal(status))
            pause = retry_after_seconds(retry_after, now) if status in {429, 503} else 0.0
            retry = NO_RETRY if status == 410 else delivery.retry
            return attempt_failed(delivery.fence, retry, record=record, at_least=pause)


def _record(result: Answered | Unreachable, duration: float, error: str | None) -> AttemptRecord:
    status, text = (result.status, _text(result)) if isinstance(result, Answered) else (None, None)
    sent, first_byte = _milliseconds(result.sent_after), _milliseconds(result.first_byte_after)
    return AttemptRecord(status, text, error, round(duration * 1000), sent, first_byte)


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def _evaluate_success(delivery: Delivery, answer: Answered, record: AttemptRecord) -> Transition:
    """2xx: an inline report where there is one; else delivered, and the handler reports later."""
    try:
        inline = None if answer.why_unread else read_inline(answer.body)
    except ReportUnreadable as unreadable:
        reason = f"The answer reports on the work and cannot be read as JSON: {unreadable}"
        return attempt_failed(delivery.fence, delivery.retry, record=evolve(record, error_message=reason))
    if inline is None:
        return Transition(
            delivery.fence,
            Status.SUCCESS,
            delivered=True,
            deadline=delivery.outcome_deadline,
            record=record,
            logged_as="delivered",
        )
    report, verification = inline.report, verify(delivery.verification, inline.report, record.duration_ms)
    if report.success and not verification.fails:
        step = succeeded(delivery.fence, report, verification, record=record)
    else:
        step = report_failed(delivery.fence, delivery.retry, report, verification, record=record)
        step = evolve(step, delivered=True)
    return evolve(step, dropped=inline.dropped) if inline.dropped else step


def retry_after_seconds(header: str | None, now: datetime) -> float:
    """
    How long a handler asks us to wait, at most a day; what cannot be read is ignored.

    Sent twice, by a proxy say, two lines are one list: the longest counts.
    """
    # A date has a comma behind the day of the week, which it can be read without.
    return max((_seconds(part.strip(), now) for part in (header or "").split(",")), default=0.0)


def _seconds(text: str, now: datetime) -> float:
    """Of one number or date."""
    if text.isascii() and text.isdigit():
        return min(float(text), RETRY_AFTER_LIMIT)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return 0.0
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return min(max((moment - now).total_seconds(), 0.0), RETRY_AFTER_LIMIT)


def _text(answer: Answered) -> str:
    return clean_text(answer.body.decode("utf-8", "replace"))[:TEXT_KEPT]


def _refusal(status: int) -> str:
    if status == 101:
        return "The handler answered 101 (switching protocols), which was not asked for."
    if 300 <= status < 400:
        return f"The handler answered {status}; redirects are not followed."
    if status == 410:
        return "The handler answered 410 (gone); it is not tried again."
    return f"The handler answered {status}."
