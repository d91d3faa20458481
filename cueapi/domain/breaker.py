"""
The circuit breaker of one target, which is an account's host and port: when it opens, and how it closes again.

closed ──most of its attempts say that it cannot serve──▶ open ──its pause is over──▶ half_open: one probe is under way
half_open ──the probe says that it serves──▶ closed, a few places at first · ──that it cannot──▶ open, for twice as long
"""

from collections import deque
from datetime import datetime
from enum import StrEnum
from math import inf

from attrs import define, field, frozen

from cueapi.domain.attempt import Answered, Result, Unreachable
from cueapi.domain.clock import iso
from cueapi.domain.outcome import clean_text

CANNOT_SERVE = frozenset({502, 503, 504})
"""Statuses by which a gateway, or a server that is overloaded, says that nothing can be served (RFC 9110, 15.6)."""

REASON_KEPT = 500
"""Characters of a reason that are kept."""


class TargetState(StrEnum):
    """Whether a target is sent to (`closed`), is not (`open`), or is sent one probe (`half_open`)."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@frozen
class BreakerRules:
    """
    Counts and seconds of a breaker.

    It opens where of the attempts of the last *window* seconds, *fewest* at least, *share* per cent say that the target
    cannot serve, and the last *in_a_row* all do.
    """

    window: float = 300.0
    fewest: int = 10
    share: int = 70
    in_a_row: int = 5
    first_pause: float = 30.0
    longest_pause: float = 900.0
    doubling: float = 1.0
    """Seconds in which the places of a target that has just closed double."""

    def pause_after(self, opens: int) -> float:
        """Seconds until the next probe of a target that has opened so often in a row."""
        # A power of 1,100 and more would be no float.
        return min(self.first_pause * 2.0 ** min(opens - 1, 60), self.longest_pause)

    def places(self, closed_for: float, most: int) -> int:
        """How many attempts a daemon makes at once, *closed_for* seconds after the target closed: 1, 2, 4, … *most*."""
        return int(min(2.0 ** int(min(max(closed_for, 0.0) / self.doubling, 60.0)), most))

    def slow_start(self, most: int) -> float:
        """Seconds until a target that has closed has all its *most* places again."""
        return self.doubling * (most - 1).bit_length()


RULES = BreakerRules()


def cannot_serve(result: Result) -> bool | None:
    """
    Whether *result* says that the target cannot serve; None where it says nothing of the target.

    No connection, no answer in time, 502, 503, 504, and 429 without `Retry-After` do. Another answer, 500 and a
    reported failure too, is the business of one handler.
    """
    match result:
        case Unreachable(_, refused):
            return None if refused else True
        case Answered(429, _, _, retry_after):
            return retry_after is None
        case Answered(status):
            return status in CANNOT_SERVE
        case _:
            return None


def why(result: Result) -> str:
    """What *result*, by which a target cannot serve, says of it: a few words without a stop."""
    told = f"it answered {result.status}" if isinstance(result, Answered) else getattr(result, "reason", "no answer")
    return clean_text(told)[:REASON_KEPT].rstrip(".")


PARTS = 30
"""Into how many parts of equal length the window is divided: attempts are counted by the part, not kept one by one."""


@define(eq=False)
class TargetCounts:
    """The attempts of one daemon at one target, within the window of *rules*."""

    rules: BreakerRules = RULES
    since: float = -inf
    """Attempts that began before this moment do not count: when it closed, what was under way told of another time."""
    _parts: deque[list[float]] = field(init=False, factory=deque)
    """Of each part of the window: when it began, how many attempts ended in it, and how many of them failed."""
    _failed_last: int = field(init=False, default=0)

    def add(self, failed: bool, now: float) -> None:
        """An attempt has ended *now*."""
        part = now - now % (self.rules.window / PARTS)
        if not self._parts or self._parts[-1][0] != part:
            self._parts.append([part, 0, 0])
            self._forget(now)
        self._parts[-1][1] += 1
        self._parts[-1][2] += failed
        self._failed_last = self._failed_last + 1 if failed else 0

    def told(self, now: float) -> tuple[int, int]:
        """How many attempts have ended within the window, and how many of them failed."""
        self._forget(now)
        return int(sum(part[1] for part in self._parts)), int(sum(part[2] for part in self._parts))

    def trips(self, now: float) -> bool:
        """Whether the target is to be opened."""
        if self._failed_last < self.rules.in_a_row:
            return False
        attempts, failures = self.told(now)
        return attempts >= self.rules.fewest and 100 * failures >= self.rules.share * attempts

    def restart(self, now: float) -> None:
        """The target has closed: what was counted, and what is under way, is of the time before."""
        self.since = now
        self._parts.clear()
        self._failed_last = 0

    def _forget(self, now: float) -> None:
        while self._parts and self._parts[0][0] <= now - self.rules.window:
            self._parts.popleft()


@frozen
class DownTarget:
    """A target that is down, as an execution is told of it that has waited for too long."""

    host: str
    since: datetime
    reason: str


def waited_too_long(target: DownTarget) -> str:
    """Why an attempt has failed that was never sent."""
    return f"target down since {iso(target.since)}: {target.host}, {target.reason}; nothing was sent"
