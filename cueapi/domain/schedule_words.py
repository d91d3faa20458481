"""
A schedule in words, for people: "weekdays at 09:00, Los Angeles time", "every 15 minutes".

Words are exact or are not used: read back, they name the same days and times of day. A cron that takes more of them
than a reader takes in is shown as the cron that it is.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from itertools import groupby, pairwise

from cueapi.domain.cron import Cron, parse
from cueapi.domain.zone import local_time

LONGEST_LIST = 5
"""Times, or groups of days or hours, that a reader takes in."""

DAY_NAMES = ("Sundays", "Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays")
MONTH_NAMES = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
NTHS = ("first", "second", "third", "fourth", "fifth")
UTC_NAMES = ("UTC", "Etc/UTC", "Etc/GMT", "GMT", "Etc/Universal", "Etc/Zulu", "Universal", "Zulu")
REGIONS = (
    "Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific",
)  # fmt: skip

EVERY_DAY = "every day"


def schedule_in_words(cron: str | None, at: datetime | None, timezone: str) -> str:
    """A schedule by *cron* in *timezone*, or once *at* a moment. Refuses a cron outside of the grammar."""
    if cron is None:
        if at is None:
            return "never"
        local = local_time(at, timezone)
        return f"once, on {local.day} {MONTH_NAMES[local.month - 1]} {local.year} at {local:%H:%M}, {zone(timezone)}"
    words = cron_in_words(cron)
    if words is None:
        return f"as its cron says, {zone(timezone)}"
    # Of these a clock anywhere shows the same.
    return words if words == "every hour" or _is_plain_interval(words) else f"{words}, {zone(timezone)}"


def _is_plain_interval(words: str) -> bool:
    return words == "every minute" or (words.startswith("every ") and words.endswith(" minutes"))


def zone(name: str) -> str:
    """A zone as people call it: by its city."""
    if name in UTC_NAMES:
        return "UTC"
    region, _, place = name.partition("/")
    return f"{place.rpartition('/')[2].replace('_', ' ')} time" if region in REGIONS else f"{name} time"


def cron_in_words(cron: str) -> str | None:
    """The days and the times of day of *cron*; None where that takes too many words."""
    parsed = parse(cron)
    times, days = _times(parsed), _days(parsed)
    if times is None or days is None:
        return None
    if times.startswith("at "):
        return f"{days} {times}"
    if days == EVERY_DAY:
        return times
    return f"{times} {days.removeprefix(EVERY_DAY + ' ')}" if days.startswith(EVERY_DAY) else f"{times} on {days}"


def _times(cron: Cron) -> str | None:
    """The times of day: "at …", or an interval."""
    moments = [int(moment.total_seconds()) // 60 for moment in cron.moments]
    gap = _even_gap([*moments, moments[0] + 24 * 60])
    if gap is not None and gap <= 8 * 60:
        return _every(gap, moments[0]) + (f" from {_clock(moments[0])}" if gap > 60 else "")
    if len(moments) <= LONGEST_LIST:
        return "at " + _listed(_clock(moment) for moment in moments)
    gap = _even_gap(moments)
    if gap is not None:
        return f"{_every(gap, 0)} from {_clock(moments[0])} to {_clock(moments[-1])}"
    return _in_hours({moment % 60 for moment in moments}, {moment // 60 for moment in moments})


def _in_hours(minutes: Collection[int], hours: Collection[int]) -> str | None:
    """*minutes* of each of *hours*."""
    inside = _in_each_hour(sorted(minutes))
    if inside is None or len(hours) == 24:
        return inside
    groups = _groups(sorted(hours), 2)
    if len(groups) > LONGEST_LIST:
        return None
    return f"{inside} in the hours {_listed(_span(f'{first:02}', f'{last:02}') for first, last in groups)}"


def _in_each_hour(minutes: list[int]) -> str | None:
    gap = _even_gap([*minutes, minutes[0] + 60])
    if gap is not None:
        return _every(gap, minutes[0])
    if len(minutes) <= LONGEST_LIST:
        return "every hour at " + _listed(f":{minute:02}" for minute in minutes)
    gap = _even_gap(minutes)
    # Else it ends before the hour does.
    if gap is None or minutes[-1] + gap < 60:
        return None
    return f"every {gap} minutes within each hour from :{minutes[0]:02}"


def _every(gap: int, first: int) -> str:
    """Each *gap* minutes, from minute *first* of the day on."""
    if gap == 1:
        return "every minute"
    if gap < 60:
        return f"every {gap} minutes" + (f" from :{first:02}" if first else "")
    if gap == 60:
        return "every hour" + (f" at :{first:02}" if first else "")
    return f"every {gap // 60} hours"


def _days(cron: Cron) -> str | None:
    """The days: all, of the week, of the month, either, or both at once; in some months."""
    months, in_months = _months(cron)
    any_date, any_weekday = len(cron.dates) == 31, len(cron.weekdays) == 7
    if (any_date and any_weekday) or (not cron.both and (any_date or any_weekday)):
        return EVERY_DAY + in_months
    if any_weekday:
        return _dates(cron, months)
    if any_date and cron.weekdays:
        return _weekdays(cron, "the month") + in_months
    return _weekdays(cron, months) if any_date else _both(cron, in_months)


def _months(cron: Cron) -> tuple[str, str]:
    """The months of which the days are, and the same behind the days: nothing where they are all."""
    if len(cron.months) == 12:
        return "the month", ""
    groups = _groups(sorted(cron.months), 3)
    months = _listed(_span(MONTH_NAMES[first - 1], MONTH_NAMES[last - 1]) for first, last in groups)
    is_span = len(groups) == 1 and len(cron.months) > 1
    return months, f" {'from' if is_span else 'in'} {months}"


def _both(cron: Cron, in_months: str) -> str | None:
    """Days of the month and of the week: either, or those that are both."""
    dates, weekdays = _dates(cron, "the month"), _weekdays(cron, "the month")
    if dates is None:
        return None
    if not cron.both:
        return f"{dates} and on {weekdays}{in_months}"
    return None if cron.nth_weekdays else f"{weekdays} that fall on {dates}{in_months}"


def _dates(cron: Cron, month: str) -> str | None:
    """Days of a month."""
    dates = sorted(cron.dates)
    if not cron.last_date and dates in ([*range(1, 32, 2)], [*range(2, 32, 2)]):
        return f"{'odd' if 1 in dates else 'even'} days of {month}"
    gap = _even_gap(dates)
    if gap and not cron.last_date and 1 < gap < 10 and dates[-1] + gap > 31 and len(dates) > 2:
        return f"every {_ordinal(gap)} day of {month} from the {_ordinal(dates[0])}"
    groups = _groups(dates, 3)
    if len(groups) > LONGEST_LIST:
        return None
    words = [_span(_ordinal(first), _ordinal(last)) for first, last in groups]
    return "the " + _listed([*words, *(["last day"] if cron.last_date else [])]) + f" of {month}"


def _weekdays(cron: Cron, month: str) -> str:
    """Days of the week, and those of them that are counted in *month*."""
    words = _weekday_names(cron.weekdays)
    words += [f"the {NTHS[nth - 1]} {DAY_NAMES[day][:-1]} of {month}" for day, nth in sorted(cron.nth_weekdays)]
    return _listed(words)


def _weekday_names(days: frozenset[int]) -> list[str]:
    if days == {1, 2, 3, 4, 5}:
        return ["weekdays"]
    if days == {0, 6}:
        return ["weekends"]
    # The week ends with Sunday.
    groups = _groups(sorted(day or 7 for day in days), 3)
    return [_span(DAY_NAMES[first % 7], DAY_NAMES[last % 7]) for first, last in groups]


def _even_gap(moments: list[int]) -> int | None:
    """The minutes between each two neighbours, where they are the same."""
    gaps = {after - before for before, after in pairwise(moments)}
    return gaps.pop() if len(gaps) == 1 else None


def _groups(numbers: list[int], least: int) -> list[tuple[int, int]]:
    """*numbers* as ranges of at least *least*, and single ones."""
    found = []
    for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        long = len(members) >= least
        found += [(members[0], members[-1])] if long else [(one, one) for one in members]
    return found


def _span(first: str, last: str) -> str:
    return first if first == last else f"{first} to {last}"


def _listed(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _ordinal(number: int) -> str:
    ending = "th" if number in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
