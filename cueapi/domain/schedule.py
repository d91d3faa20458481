"""
When a cue fires: the moments at which the clock of its zone shows a time that its cron matches.

Where the clock jumps, the rules of cron(8) in cronie hold. A *fixed* cron (no `*` in minute or hour) names
times of day: one that a jump forward leaves out fires at the jump, several of them once; one that comes twice
after a jump back fires the first time only. Every other cron just follows the clock: what it does not show
does not fire, and what it shows twice fires twice. A jump of three hours or more is no daylight saving but a
correction of the zone (Samoa skipped a day), and there fixed crons just follow the clock too.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

from cueapi.domain.clock import FIRST, LAST, is_within_calendar
from cueapi.domain.cron import Cron, parse
from cueapi.domain.errors import Refusal
from cueapi.domain.zone import OffsetPeriod, check_timezone, moment_of, offset_periods

CORRECTION = timedelta(hours=3)
"""A jump from here on is no daylight saving."""

# The rarest date that comes at all, a February 29 on one day of the week, comes every 40 years at the least.
REACH = timedelta(days=50 * 366)

INSTANT = timedelta(microseconds=1)

AT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?P<time>[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]{1,9})?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?"
)

AT_EXAMPLES = (
    "Valid are for example '2030-05-01T09:00:00Z', '2030-05-01T09:00:00+02:00' "
    "and, in the schedule's timezone, '2030-05-01T09:00:00'."
)


def first_run(cron: str, timezone: str, now: datetime) -> datetime:
    """The first fire time after *now*; a cron that never comes is refused."""
    first = next_run(cron, timezone, now)
    if first is None:
        raise Refusal(
            "invalid_schedule",
            f"The cron {cron!r} never comes in {timezone}: no day has such a date and time. "
            "Valid is for example '0 9 L * *' (9:00 on the last day of each month).",
        )
    return first


def next_run(cron: str, timezone: str, after: datetime) -> datetime | None:
    """The first fire time strictly after *after*; None where none comes."""
    begin = _clip(after.astimezone(UTC))
    return next(_fire_times(cron, timezone, begin, min(begin, LAST - REACH) + REACH), None)


def upcoming(cron: str, timezone: str, after: datetime, count: int) -> list[datetime]:
    """The next *count* fire times strictly after *after*; fewer where no more come."""
    found: list[datetime] = []
    while len(found) < count:
        moment = next_run(cron, timezone, found[-1] if found else after)
        if moment is None:
            break
        found.append(moment)
    return found


def previous_runs(cron: str, timezone: str, until: datetime, since: datetime, limit: int) -> list[datetime]:
    """
    The newest *limit* fire times in (*since*, *until*], newest first.

    Walks back from *until*, and so takes at most *limit* steps, however long ago *since* is.
    """
    begin, end = _clip(since.astimezone(UTC)), _clip(until.astimezone(UTC))
    return list(islice(_fire_times(cron, timezone, begin, end, backward=True), limit))


def runs_between(
    cron: str, timezone: str, behind: datetime | None, since: datetime, until: datetime, limit: int
) -> list[datetime]:
    """The first *limit* fire times from *since* to *until*, both included, of those after *behind*; oldest first."""
    begin = since - INSTANT if behind is None else max(behind, since - INSTANT)
    first, end = _clip(begin.astimezone(UTC)), _clip(until.astimezone(UTC))
    return list(islice(_fire_times(cron, timezone, first, end), limit))


def once_at(text: str, timezone: str) -> datetime:
    """The moment of an ISO 8601 *text*; without an offset it is what the clock of *timezone* shows."""
    check_timezone(timezone)
    form = AT.fullmatch(text.strip().upper())
    if form is None:
        raise _bad_at(text, "is no ISO 8601 date and time")
    if form["time"] is None:
        raise _bad_at(text, "has no time of day")
    try:
        at = datetime.fromisoformat(form[0])
        moment = moment_of(at, timezone) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _bad_at(text, "is no moment of the calendar") from error
    if not is_within_calendar(moment):
        raise _bad_at(text, "is not within the years 2 to 9998")
    return moment


def local_at(text: str) -> datetime | None:
    """The reading that a *text* which `once_at` takes names; None where it has an offset, and so names a moment."""
    at = datetime.fromisoformat(text.strip().upper())
    return at if at.tzinfo is None else None


def _bad_at(text: str, why: str) -> Refusal:
    return Refusal("invalid_schedule", f"The time {text[:64]!r} {why}. {AT_EXAMPLES}")


def _clip(moment: datetime) -> datetime:
    """The next instant: fire times are strictly after what they are asked for, and up to it inclusively."""
    return min(max(moment, FIRST), LAST - INSTANT) + INSTANT


def _fire_times(
    cron: str, timezone: str, begin: datetime, end: datetime, *, backward: bool = False
) -> Iterator[datetime]:
    """Every fire time in [*begin*, *end*), once."""
    parsed = parse(cron)
    last = None
    for period in offset_periods(timezone, begin, end, backward=backward):
        for moment in _fire_times_in(period, parsed, begin, end, backward=backward):
            if moment != last:
                yield moment
            last = moment


def _fire_times_in(
    period: OffsetPeriod, cron: Cron, begin: datetime, end: datetime, *, backward: bool
) -> Iterator[datetime]:
    """
    The fire times within one stretch. At its beginning the clock has jumped from one reading to another.

    A fixed cron goes on at the reading *before* the jump. Jumped forward: the readings left out are
    taken to be at the jump. Jumped back: those that come again are passed over.
    """
    even = cron.fixed and abs(period.offset - period.before) < CORRECTION
    since = _wall_time(period.begin, period.before if even else period.offset)
    if begin > period.begin:
        since = max(since, _wall_time(begin, period.offset))
    until = _wall_time(min(end, period.end), period.offset)
    for wall_time in cron.wall_times(since, until, backward=backward):
        yield max((wall_time - period.offset).replace(tzinfo=UTC), period.begin)


def _wall_time(moment: datetime, offset: timedelta) -> datetime:
    return (moment + offset).replace(tzinfo=None)
