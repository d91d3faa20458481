"""What happens with the times that a cue has missed while no daemon was running."""

from datetime import datetime, timedelta
from enum import StrEnum

from attrs import frozen

from cueapi.domain.schedule import next_run, previous_runs

PUNCTUAL = timedelta(seconds=60)
"""A time not later than this simply fires."""

MOST = 1000
"""Times that fire at once, and how far those that do not are counted."""

FEW = 2
"""Times that can be punctual at once, since a minute lies between two of them."""

INSTANT = timedelta(microseconds=1)


class Catchup(StrEnum):
    """A cue's policy for times that were missed."""

    LATEST = "latest"
    ALL = "all"
    NONE = "none"


CATCH_UP = {
    "run_once_if_missed": Catchup.LATEST,
    "skip_missed": Catchup.NONE,
    "replay_all": Catchup.ALL,
}
"""The same policies in the words of `catch_up`."""


class Overlap(StrEnum):
    """What a cue does at its time while an earlier execution is unfinished."""

    ALLOW = "allow"
    SKIP = "skip"


@frozen
class Occurrence:
    """One execution to be: its time, and for how many other times it stands (1,000 means: or more)."""

    scheduled_for: datetime
    missed_runs: int = 0


@frozen
class FiringPlan:
    """What a poll does with a due cue: fire these, oldest first, record one as missed, and look again at *next_run*."""

    fire: tuple[Occurrence, ...]
    missed: Occurrence | None
    next_run: datetime | None


def plan_firings(
    policy: Catchup, overlap: Overlap, *, cron: str | None, timezone: str, oldest: datetime, now: datetime
) -> FiringPlan:
    """
    Decide what fires at *now*, where *oldest* is the stored next run of a cue, its first unfired time.

    A one-time cue has no *cron*, and always fires.
    """
    if cron is None:
        return FiringPlan((Occurrence(oldest),), None, None) if oldest <= now else FiringPlan((), None, oldest)
    if oldest > now:
        return FiringPlan((), None, oldest)
    # While one execution runs the others would be skipped, so that one is all that can fire late.
    most = MOST if policy is Catchup.ALL and overlap is Overlap.ALLOW else 1
    unfired = _unfired(cron, timezone, oldest, now, most + MOST + FEW)
    if now - oldest <= PUNCTUAL:
        fire, missed = _each(unfired), None
    elif policy is Catchup.NONE:
        fire, missed = _punctual(unfired, now)
    else:
        fire, missed = _newest(unfired, most), None
    return FiringPlan(fire, missed, next_run(cron, timezone, now))


def is_late(multiplier: int | None, *, cron: str | None, timezone: str, due: datetime, now: datetime) -> bool:
    """Whether a firing comes later than *multiplier* × the time to the next one; False without a *multiplier*."""
    if multiplier is None or cron is None or now - due <= PUNCTUAL:
        return False
    after = next_run(cron, timezone, due)
    return after is not None and now - due > multiplier * (after - due)


def _unfired(cron: str, timezone: str, oldest: datetime, now: datetime, limit: int) -> list[datetime]:
    """The newest *limit* unfired times, newest first; *oldest* is one of them."""
    unfired = previous_runs(cron, timezone, now, oldest - INSTANT, limit)
    if len(unfired) < limit and unfired[-1:] != [oldest]:
        # The rules of the zone changed since it was stored. It was promised, so it holds.
        unfired.append(oldest)
    return unfired


def _newest(unfired: list[datetime], most: int) -> tuple[Occurrence, ...]:
    """At most *most* of them, where the first stands for those that are dropped."""
    *later, first = unfired[:most]
    return (_standing_for(first, unfired[most:]), *_each(later))


def _punctual(unfired: list[datetime], now: datetime) -> tuple[tuple[Occurrence, ...], Occurrence]:
    """Those that are not late, and one that stands for those that are."""
    punctual = [moment for moment in unfired if now - moment <= PUNCTUAL]
    newest, *others = unfired[len(punctual) :]
    return _each(punctual), _standing_for(newest, others)


def _standing_for(moment: datetime, others: list[datetime]) -> Occurrence:
    return Occurrence(moment, min(len(others), MOST))


def _each(newest_first: list[datetime]) -> tuple[Occurrence, ...]:
    return tuple(Occurrence(moment) for moment in reversed(newest_first))
