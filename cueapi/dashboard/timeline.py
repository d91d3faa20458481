"""The timeline of an execution: a lane for each attempt, and the waits between them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from attrs import frozen

from cueapi.dashboard.filters import duration
from cueapi.storage.dashboard.execution import ShownExecution
from cueapi.storage.executions import AttemptRow

WIDTH = 1000
"""Units of a lane."""


@frozen
class TimelineMark:
    """A moment of an attempt; *after* is the seconds since the mark before it."""

    name: str
    at: datetime
    x: int
    after: float | None


@frozen
class Lane:
    """An attempt: its marks to scale, from *begins* on; and for how many seconds nothing happened before it."""

    attempt: int
    sign: str
    word: str
    marks: list[TimelineMark]
    wait: float | None
    row: AttemptRow | None

    @property
    def seconds(self) -> float:
        """From its first mark to its last."""
        return (self.marks[-1].at - self.marks[0].at).total_seconds()

    @property
    def starts(self) -> int:
        """Where its bar begins: until it is sent, or claimed by a worker, its handler has nothing to do."""
        begins = {mark.name: mark.x for mark in self.marks}
        return begins.get("sent", begins.get("claimed", 0))

    @property
    def waits(self) -> list[tuple[TimelineMark, TimelineMark]]:
        """From each of its marks to the next."""
        return list(pairwise(self.marks))

    @property
    def words(self) -> str | None:
        """How long it took until the request went out, and then until the answer; None where nothing is known of it."""
        row = self.row
        if row is None or row.sent_after_ms is None or row.duration_ms is None:
            return None
        sent, came = row.sent_after_ms, row.first_byte_after_ms
        begins = f"Sent after {_in_words(sent)}; "
        if came is None:
            return f"{begins}not a byte of an answer came within the next {_in_words(row.duration_ms - sent)}."
        first = f"{begins}the first byte of the answer came {_in_words(came - sent)} later, "
        return f"{first}and the rest within {_in_words(row.duration_ms - came)}."


_WORDS = {
    "delivered": ("succeeded", "delivered"),
    "success": ("succeeded", "succeeded"),
    "failed": ("failed", "failed"),
    "reported_failure": ("failed", "reported failed"),
    "verification_failed": ("failed", "not verified"),
    "reported_success": ("succeeded", "succeeded"),
    "verified_success": ("succeeded", "verified"),
    "verification_pending": ("unknown", "to verify"),
    "outcome_timeout": ("failed", "no outcome"),
    "called_off": ("unknown", "called off"),
}


def timeline(execution: ShownExecution, attempts: Sequence[AttemptRow]) -> list[Lane]:
    """The attempts in their order; one that runs is the last."""
    lanes: list[Lane] = []
    ended: datetime | None = None
    for row in attempts:
        if row.started_at is None:
            continue
        sign, word = _WORDS.get(row.outcome or "", ("unknown", row.outcome or "ended"))
        moments = _moments(execution, row)
        lanes.append(_lane(row.attempt, sign, word, moments, ended, row))
        ended = moments[-1][1]
    is_logged = bool(lanes) and lanes[-1].attempt == execution.attempts
    if execution.status == "delivering" and execution.last_attempt_at is not None and not is_logged:
        moments = [("claimed", execution.last_attempt_at), ("now", max(execution.now, execution.last_attempt_at))]
        if execution.attempts == 1:
            moments.insert(0, ("due", execution.scheduled_for))
        lanes.append(_lane(execution.attempts, "running", "running", moments, ended, None))
    return lanes


def _moments(execution: ShownExecution, row: AttemptRow) -> list[tuple[str, datetime]]:
    """When what happened."""
    assert row.started_at is not None
    moments = [("claimed", row.started_at)]
    if row.attempt == 1 and execution.scheduled_for <= row.started_at:
        moments.insert(0, ("due", execution.scheduled_for))
    for name, after in (("sent", row.sent_after_ms), ("first byte", row.first_byte_after_ms)):
        if after is not None:
            moments.append((name, row.started_at + timedelta(milliseconds=after)))
    if row.duration_ms is not None:
        ended = row.started_at + timedelta(milliseconds=row.duration_ms)
        moments.append(("answered" if row.http_status is not None else "ended", ended))
    recorded = execution.outcome_recorded_at
    if recorded is None or execution.reported_attempt != row.attempt:
        return moments
    # A report within the answer has no moment of its own.
    if execution.transport == "worker" or recorded - moments[-1][1] > timedelta(milliseconds=200):
        moments = [one for one in moments if one[0] != "ended"]
        moments.append(("outcome", max(recorded, moments[-1][1])))
    return moments


def _in_words(milliseconds: int) -> str:
    return duration(max(milliseconds, 0) / 1000)


def _lane(
    attempt: int, sign: str, word: str, moments: list[tuple[str, datetime]], ended: datetime | None,
    row: AttemptRow | None,
) -> Lane:  # fmt: skip
    first, whole = moments[0][1], (moments[-1][1] - moments[0][1]).total_seconds()
    marks = []
    for number, (name, at) in enumerate(moments):
        since = (at - first).total_seconds()
        after = None if number == 0 else (at - moments[number - 1][1]).total_seconds()
        marks.append(TimelineMark(name, at, round(WIDTH * since / whole) if whole else WIDTH * number, after))
    wait = None if ended is None else max((first - ended).total_seconds(), 0.0)
    return Lane(attempt, sign, word, marks, wait, row)
