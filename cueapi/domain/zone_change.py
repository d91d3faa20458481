"""
What becomes of a planned time where the rules of its zone have changed since: another version of tzdata.

A time of day belongs to its local date. So a cue goes on at the *reading* of the clock for which it was planned:
what it fired under the old rules lies before it, and is not fired again at the new hour of that reading.
"""

from datetime import datetime, timedelta

from cueapi.domain.cron import parse
from cueapi.domain.schedule import INSTANT, next_run, previous_runs
from cueapi.domain.zone import moment_of, reading_at

HOUR = timedelta(hours=1)


def replanned(cron: str, timezone: str, stored: datetime, reading: datetime | None, now: datetime) -> datetime | None:
    """
    The next run by the rules of today. It may be past: then the cue catches up by its policy.

    It was *stored* for when the clock shows *reading*; None where that is not known.
    """
    if reading is None:
        return _nearest(cron, timezone, stored)
    if reading_at(stored, timezone) == reading:
        return stored
    if _is_hourly(cron):
        # It follows the clock, as through any jump of it; waiting for the reading would leave out an hour.
        return next_run(cron, timezone, min(now, stored - INSTANT))
    return next_run(cron, timezone, moment_of(reading, timezone) - INSTANT)


def _is_hourly(cron: str) -> bool:
    """Whether it has a time in each hour of its days."""
    return len({moment // HOUR for moment in parse(cron).moments}) == 24


def _nearest(cron: str, timezone: str, stored: datetime) -> datetime | None:
    """The fire time that is nearest to *stored*: a change of rules moves a time by some hours at the most."""
    found = previous_runs(cron, timezone, stored, stored - timedelta(days=1), 1)
    later = next_run(cron, timezone, stored - INSTANT)
    if later is not None:
        found.append(later)
    return min(found, key=lambda moment: abs(moment - stored), default=None)
