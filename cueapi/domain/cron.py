"""
The grammar of a cron, and which clock readings it matches. Knows calendars, knows nothing of zones.

Five fields as in crontab(5): minute, hour, day of month, month, day of week. Each is a list of values,
ranges (`9-17`), `*`, and either of the last two with a step (`*/15`, `9-17/2`); months and days of the week
also by their three-letter names. Two extensions: `L` in the day of month is its last day, `MON#2` in the day
of week is the second Monday of the month. Whatever else cron dialects know is refused by name: a cue that
fires at other times than its owner believes is worse than one that is not taken.
"""

import re
from bisect import bisect_left
from calendar import monthrange
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import product

from attrs import field, frozen

from cueapi.domain.errors import Refusal

LONGEST = 255
"""Characters of a cron."""

MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")

# Shared by all crons: else one of every minute holds 1,440 of its own.
MOMENTS = tuple(timedelta(minutes=minute) for minute in range(24 * 60))

EXAMPLES = "Valid are for example '0 9 * * MON-FRI' (9:00 on weekdays) and '*/15 * * * *' (every 15 minutes)."

# Other dialects, in the order in which they are looked for.
FOREIGN = (
    (r".*\?.*", "'?' is not known here, write '*'"),
    (r".*~.*|R(\(.*\))?(/.*)?", "random times ('R', '~') are not known here, choose one"),
    (r"H(\(.*\))?(/.*)?", "'H' is not known here, choose a value"),
    (r"LW|\d*W", "'W' (nearest weekday) is not known here"),
    (
        r"L|L-.+|\dL|(SUN|MON|TUE|WED|THU|FRI|SAT)#?L|\d#L",
        "'L' stands alone, in the day of month, and is the last day of the month",
    ),
    (r".*#.*", "'#' belongs to the day of week, as in MON#2, with 1 to 5 behind it"),
    (r"\w{1,3}/\d+", "a step needs a range or '*' before it, as in '0-59/15' or '*/15'"),
    (r"", "something is missing beside a comma"),
    (r".*-.*", "a range has two ends, as in 9-17, and no signs"),
    (r"[A-Z]+", "no such name; months are JAN to DEC, days of the week SUN to SAT, each in its own field"),
)


@frozen(eq=False)
class Cron:
    """Which readings of a clock a cron matches."""

    moments: tuple[timedelta, ...] = field(repr=False)
    """The times of day, ascending, as distances from midnight."""
    dates: frozenset[int]
    last_date: bool
    months: frozenset[int]
    weekdays: frozenset[int]
    nth_weekdays: frozenset[tuple[int, int]]
    both: bool
    """Day of month and day of week must both match; else either does."""
    fixed: bool
    """No `*` in minute or hour: a time of day that somebody chose, rather than an interval."""

    def wall_times(self, since: datetime, until: datetime, *, backward: bool = False) -> Iterator[datetime]:
        """Each matching reading in [*since*, *until*), ascending or, where *backward*, descending."""
        order = -1 if backward else 1
        for year, month in _months(since, until)[::order]:
            days = _days(self, *monthrange(year, month)) if month in self.months else ()
            for day in days[::order]:
                midnight = datetime(year, month, day)
                low = bisect_left(self.moments, since - midnight)
                high = bisect_left(self.moments, until - midnight)
                for moment in self.moments[low:high][::order]:
                    yield midnight + moment

    def on_date(self, day: int, length: int) -> bool:
        return day in self.dates or (self.last_date and day == length)

    def on_weekday(self, day: int, weekday: int) -> bool:
        return weekday in self.weekdays or (weekday, (day + 6) // 7) in self.nth_weekdays


def check_cron(cron: str) -> str:
    """*cron* with single spaces, macros in lower case; refused where it is outside of the grammar."""
    parse(cron)
    text = " ".join(cron.split())
    return text.lower() if text.startswith("@") else text


# Refusals are not kept; a text that is too long for a cron is one.
@lru_cache(maxsize=512)
def parse(cron: str) -> Cron:
    """Read *cron*; refused where it is outside of the grammar."""
    return _parse(cron)


def _months(since: datetime, until: datetime) -> list[tuple[int, int]]:
    numbers = range(since.year * 12 + since.month - 1, until.year * 12 + until.month)
    return [(number // 12, number % 12 + 1) for number in numbers]


# A month has one of 28 shapes: it begins on a day of the week and has 28 to 31 days.
@lru_cache(maxsize=4096)
def _days(cron: Cron, first_weekday: int, length: int) -> tuple[int, ...]:
    """The days on which *cron* matches in a month of that shape; *first_weekday* counts from Monday."""
    join = all if cron.both else any
    return tuple(
        day
        for day in range(1, length + 1)
        if join((cron.on_date(day, length), cron.on_weekday(day, (first_weekday + day) % 7)))
    )


def _parse(cron: str) -> Cron:
    minutes, hours, dates, months, weekdays = _split(cron)
    each_date = [date for date in dates.split(",") if date.upper() != "L"]
    nths = [_nth_weekday(weekday) for weekday in weekdays.split(",")]
    each_weekday = [weekday for weekday, nth in zip(weekdays.split(","), nths, strict=True) if nth is None]
    times = product(sorted(HOUR.values(hours.split(","))), sorted(MINUTE.values(minutes.split(","))))
    return Cron(
        moments=tuple(MOMENTS[hour * 60 + minute] for hour, minute in times),
        dates=DATE.values(each_date),
        last_date=len(each_date) < len(dates.split(",")),
        months=MONTH.values(months.split(",")),
        weekdays=frozenset(weekday % 7 for weekday in WEEKDAY.values(each_weekday)),
        nth_weekdays=frozenset(nth for nth in nths if nth is not None),
        # crontab(5): `*/2` begins with `*` too.
        both=dates.startswith("*") or weekdays.startswith("*"),
        fixed="*" not in minutes + hours,
    )


def _split(cron: str) -> list[str]:
    if len(cron) > LONGEST:
        raise _refused(f"the cron has {len(cron)} characters, at most {LONGEST} are taken")
    if cron.strip().startswith("@"):
        return _macro(cron.strip().lower()).split()
    fields = cron.split()
    if not fields:
        raise _refused("the cron is empty")
    if len(fields) != 5:
        raise _refused(
            f"the cron {cron!r} has {len(fields)} fields, there must be five (minute, hour, day of month, "
            "month, day of week; no seconds, no year)"
        )
    return fields


def _macro(name: str) -> str:
    if name == "@reboot":
        raise _refused("'@reboot' is not known here, since a cue is bound to no machine")
    if name not in MACROS:
        raise _refused(f"there is no {name!r}, only {', '.join(MACROS)}")
    return MACROS[name]


def _nth_weekday(element: str) -> tuple[int, int] | None:
    """`MON#2` as (1, 2); None for every other element."""
    parts = re.fullmatch(r"(\w+)#([1-5])", element, re.ASCII)
    return (WEEKDAY.number(parts[1]) % 7, int(parts[2])) if parts else None


@frozen
class _Field:
    """One of the five fields: its name for people, and what may stand in it."""

    name: str
    low: int
    high: int
    size: int
    names: tuple[str, ...] = ()

    def values(self, elements: list[str]) -> frozenset[int]:
        return frozenset(value for element in elements for value in self._expand(element))

    def number(self, text: str) -> int:
        if text.upper() in self.names:
            return self.low + self.names.index(text.upper())
        if not re.fullmatch(r"\d+", text, re.ASCII):
            raise self._foreign(text)
        if not self.low <= int(text) <= self.high:
            raise self._wrong(text, f"only {self.low} to {self.high} are possible")
        return int(text)

    def _expand(self, element: str) -> range:
        parts = re.fullmatch(r"(?:\*|(\w+)-(\w+))(?:/(\d+))?", element, re.ASCII)
        if parts is None:
            value = self.number(element)
            return range(value, value + 1)
        first, last, step = parts.groups()
        low, high = self._range(first, last) if first else (self.low, self.high)
        return range(low, high + 1, self._step(element, step))

    def _range(self, first: str, last: str) -> tuple[int, int]:
        low, high = self.number(first), self.number(last)
        # Whoever writes FRI-SUN means the Sunday at the end of the week.
        if last.upper() == "SUN" and low > 0:
            high = 7
        if low > high:
            raise self._wrong(f"{first}-{last}", f"the range runs backwards; write a list of two{self._sunday(high)}")
        return low, high

    def _sunday(self, high: int) -> str:
        return " (Sunday at the end of a range is 7)" if self is WEEKDAY and high == 0 else ""

    def _step(self, element: str, step: str | None) -> int:
        if step is None:
            return 1
        # */60 is the whole hour; beyond that the step cannot mean what it says.
        if not 1 <= int(step) <= self.size:
            raise self._wrong(element, f"a step here is 1 to {self.size}")
        return int(step)

    def _foreign(self, element: str) -> Refusal:
        for pattern, hint in FOREIGN:
            if re.fullmatch(pattern, element.upper()):
                return self._wrong(element, hint)
        return self._wrong(element, "that cannot be read")

    def _wrong(self, element: str, why: str) -> Refusal:
        return _refused(f"the {self.name} {element!r} of the cron is wrong: {why}")


MINUTE = _Field("minute", 0, 59, size=60)
HOUR = _Field("hour", 0, 23, size=24)
DATE = _Field("day of month", 1, 31, size=31)
MONTH = _Field("month", 1, 12, size=12, names=MONTHS)
WEEKDAY = _Field("day of week", 0, 7, size=7, names=WEEKDAYS)


def _refused(why: str) -> Refusal:
    return Refusal("invalid_schedule", f"{why[0].upper()}{why[1:]}. {EXAMPLES}")
