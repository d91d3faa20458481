"""A backfill: which times of a cue's schedule lie between two moments of the past."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from attrs import frozen

from cueapi.domain.clock import iso, parse_moment
from cueapi.domain.errors import Invalid, Problem, Refusal
from cueapi.domain.schedule import runs_between

LONGEST = timedelta(days=366)
MOST_TIMES = 10_000
"""How far apart the ends of a backfill may lie, and how many times it may have."""


@frozen
class Backfill:
    """The times of a cue's schedule as it was when the backfill began, from one moment to another, both included."""

    cue_id: str
    since: datetime
    until: datetime
    only_missing: bool
    cron: str | None
    timezone: str
    at: datetime | None

    def times(self, behind: datetime | None, limit: int) -> list[datetime]:
        """The first *limit* of its times, of those after *behind*."""
        if self.cron is not None:
            return runs_between(self.cron, self.timezone, behind, self.since, self.until, limit)
        is_next = self.at is not None and self.since <= self.at <= self.until and (behind is None or behind < self.at)
        return [self.at] if is_next and self.at else []

    def scope(self) -> dict[str, Any]:
        """As it is stored."""
        return {
            "cue_id": self.cue_id,
            "from": iso(self.since),
            "to": iso(self.until),
            "only_missing": self.only_missing,
            "cron": self.cron,
            "timezone": self.timezone,
            "at": self.at and iso(self.at),
        }

    @classmethod
    def of(cls, scope: Mapping[str, Any]) -> "Backfill":
        """As it was stored. Raises KeyError, TypeError or ValueError where it cannot be read."""
        return cls(
            scope["cue_id"],
            parse_moment(scope["from"]),
            parse_moment(scope["to"]),
            bool(scope["only_missing"]),
            scope["cron"],
            scope["timezone"],
            scope["at"] and parse_moment(scope["at"]),
        )


def check_span(since: datetime, until: datetime, now: datetime) -> None:
    """Refuses times to come, ends in the wrong order, and more than 366 days."""
    if until > now:
        raise Invalid(Problem("body.to", f"must not lie in the future; now is {iso(now)}"))
    if since > until:
        raise Invalid(Problem("body.from", "must not be after `to`"))
    if until - since > LONGEST:
        raise too_many_times(f"from and to lie more than {LONGEST.days} days apart; backfill a part at a time.")


def check_number(times: int) -> None:
    """Refuses more than 10,000 times."""
    if times > MOST_TIMES:
        raise too_many_times(f"The schedule has more than {MOST_TIMES:,} times there; backfill a part at a time.")


def too_many_times(message: str) -> Refusal:
    """More than one backfill may have."""
    return Refusal("too_many_times", message)
