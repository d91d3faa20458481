"""
Operations on many at once: what they can do, how far one has come, and what it passes over and why.

At the end of an operation `matched` is the sum of what it has done, skipped and failed.
"""

from collections.abc import Mapping
from enum import StrEnum

from attrs import evolve, frozen

from cueapi.domain.execution import FINAL

AT_ONCE = 3
"""Operations of an account that run at once; a further one is queued."""

MOST_IDS = 1_000
"""Ids that one operation may name; also how many may match without `expected`."""

BATCH = 100
"""The most that one transaction of an operation works on."""

BATCH_SECONDS = 0.25
"""An operation goes in steps of as many seconds, so that its rate is even, as far as a batch is large enough."""

HELD_PAUSE = 3.0
"""Seconds after which an operation that a hold keeps from firing looks again."""

COUNT_CAP = 100_000
"""How far it is counted what a filter matches."""


class Kind(StrEnum):
    """What an operation does to each."""

    REPLAY = "replay"
    DISMISS = "dismiss"
    PAUSE = "pause"
    RESUME = "resume"
    DELETE = "delete"
    BACKFILL = "backfill"


OF_CUES = frozenset({Kind.PAUSE, Kind.RESUME, Kind.DELETE})
FIRING = frozenset({Kind.REPLAY, Kind.BACKFILL})


class OperationStatus(StrEnum):
    """How far an operation is. `failed`: what it goes by cannot be read, and nothing more is done."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


class SkipReason(StrEnum):
    """Why one was passed over."""

    NOT_FOUND = "not_found"  # no such execution or cue in this account
    CUE_DELETED = "cue_deleted"
    IN_FLIGHT = "in_flight"  # it, or a replay of it, has not ended
    NOT_DEAD = "not_dead"  # it was never a dead letter, or is none any more
    SUPERSEDED = "superseded"  # a replay of it is a dead letter, too, and stands for it
    BUDGET_REACHED = "budget_reached"
    NOT_ACTIVE = "not_active"
    NOT_PAUSED = "not_paused"
    SCHEDULE_OVER = "schedule_over"  # a one-time cue whose time has passed
    NO_LONGER_MATCHES = "no_longer_matches"
    HAS_EXECUTION = "has_execution"  # a time that has its execution meanwhile
    CANCELLED = "cancelled"


@frozen
class DeadLetterState:
    """A dead letter as an operation finds it."""

    status: str
    is_dead: bool
    is_deleted: bool
    has_replay_in_flight: bool
    has_dead_replay: bool


def replay_refusal(state: DeadLetterState | None) -> SkipReason | None:
    """Why an execution is not replayed; None where it is. No *state*: there is no such execution."""
    if state is None:
        return SkipReason.NOT_FOUND
    if state.is_deleted:
        return SkipReason.CUE_DELETED
    if state.status not in FINAL:
        return SkipReason.IN_FLIGHT
    if not state.is_dead:
        return SkipReason.NOT_DEAD
    if state.has_replay_in_flight:
        return SkipReason.IN_FLIGHT
    return SkipReason.SUPERSEDED if state.has_dead_replay else None


def dismiss_refusal(state: DeadLetterState | None) -> SkipReason | None:
    """Why an execution is not dismissed; None where it is."""
    if state is None or state.is_deleted or state.status not in FINAL:
        return replay_refusal(state)
    return None if state.is_dead else SkipReason.NOT_DEAD


LEFT = {
    Kind.REPLAY: SkipReason.NOT_DEAD,
    Kind.DISMISS: SkipReason.NOT_DEAD,
    Kind.PAUSE: SkipReason.NO_LONGER_MATCHES,
    Kind.RESUME: SkipReason.NO_LONGER_MATCHES,
    Kind.DELETE: SkipReason.NO_LONGER_MATCHES,
    Kind.BACKFILL: SkipReason.HAS_EXECUTION,
}
"""What has become of those that were counted at the beginning and not met any more."""


@frozen
class Step:
    """What one transaction has come to. *cursor* is where the next one goes on; *ends*: none follows."""

    cursor: str | None
    ends: bool
    done: int = 0
    failed: int = 0
    skipped: Mapping[SkipReason, int] = {}

    @property
    def size(self) -> int:
        """How many it has worked on."""
        return self.done + self.failed + sum(self.skipped.values())


@frozen
class Progress:
    """How far an operation has come."""

    matched: int
    done: int = 0
    failed: int = 0
    skipped: Mapping[str, int] = {}

    @property
    def left(self) -> int:
        """How many of those that were counted are still to come, at least."""
        return max(self.matched - self.worked, 0)

    @property
    def worked(self) -> int:
        """How many it has done, skipped or failed at."""
        return self.done + self.failed + sum(self.skipped.values())


def advanced(progress: Progress, step: Step, kind: Kind) -> Progress:
    """*progress* after *step*. More than was counted may be met: up to `COUNT_CAP` it is counted, and others end it."""
    skipped = dict(progress.skipped)
    for reason, number in step.skipped.items():
        skipped[reason] = skipped.get(reason, 0) + number
    moved = evolve(progress, done=progress.done + step.done, failed=progress.failed + step.failed, skipped=skipped)
    moved = evolve(moved, matched=max(moved.matched, moved.worked))
    return rest_skipped(moved, LEFT[kind]) if step.ends else moved


def rest_skipped(progress: Progress, reason: SkipReason) -> Progress:
    """*progress* where nothing more is done: the rest is skipped for *reason*."""
    if not progress.left:
        return progress
    skipped = {**progress.skipped, reason: progress.skipped.get(reason, 0) + progress.left}
    return evolve(progress, skipped=skipped)


def batch_size(rate: int) -> int:
    """How many one transaction works on, at *rate* a second."""
    return min(max(int(rate * BATCH_SECONDS), 1), BATCH)


def is_expected(matched: int, expected: int | None) -> bool:
    """Whether an operation may begin: many need a number that was seen before, and it may be off by 1 %."""
    if expected is None:
        return matched <= MOST_IDS
    return abs(matched - expected) * 100 <= matched


def eta_seconds(progress: Progress, rate: int) -> int:
    """Seconds that the rest takes at *rate* a second, at least."""
    return -(-progress.left // rate)
