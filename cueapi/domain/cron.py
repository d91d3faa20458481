"""
The grammar of a cron, and which clock readings it matches. Knows calendars, knows nothing of zones.

Five fields as in crontab(5): minute, hour, day of month, month, day of week. Each is a list of values,
ranges (`9-17`), `*`, and either of the last two with a step (`*/15`, `9-17/2`); months and days of the week
also by their three-letter names. Two extensions: `L` in the day of month is its last day, `MON#2` in the day
of week is the second Monday of the month. Everything else that cron dialects know is refused by name: a cue that
fires at other times than its owner believes is worse than one that is not taken.

So the grammar is ours: croniter takes much of those dialects. It expands into values what the grammar has taken.
"""

import re
from bisect import bisect_left
from calendar import monthrange
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import product

from attrs import field, frozen
from croniter import croniter

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
    """No `*` in minute or hour: a chosen time of day, rather than an interval."""

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


_BLANKS = re.compile(r"[ \t\r\n\f\v]+")


def check_cron(cron: str) -> str:
    """*cron* with single spaces, macros in lower case; refused where it is outside of the grammar."""
    parse(cron)
    text = " ".join(_words(cron))
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
    texts = _split(cron)
    minutes, hours, dates, months, weekdays = map(_expand_field, FIELDS, texts)
    times = product(sorted(hours.values), sorted(minutes.values))
    return Cron(
        moments=tuple(MOMENTS[hour * 60 + minute] for hour, minute in times),
        dates=dates.values,
        last_date=dates.last,
        months=months.values,
        weekdays=weekdays.values,
        nth_weekdays=weekdays.nths,
        # crontab(5): `*/2` begins with `*` too.
        both=texts[2].startswith("*") or texts[4].startswith("*"),
        fixed="*" not in texts[0] + texts[1],
    )


def _split(cron: str) -> list[str]:
    if len(cron) > LONGEST:
        raise _refused(f"the cron has {len(cron)} characters, at most {LONGEST} are taken")
    fields = _words(cron)
    if fields and fields[0].startswith("@"):
        return _macro(" ".join(fields)).split()
    if not fields:
        raise _refused("the cron is empty")
    if len(fields) != 5:
        raise _refused(
            f"the cron {cron!r} has {len(fields)} fields, there must be five (minute, hour, day of month, "
            "month, day of week; no seconds, no year)"
        )
    return fields


def _words(cron: str) -> list[str]:
    """What stands between blanks. Of other signs that look like one (U+00A0) the author may not know."""
    return [word for word in _BLANKS.split(cron) if word]


def _macro(text: str) -> str:
    name = text.lower() if text.isascii() else text
    if name == "@reboot":
        raise _refused("'@reboot' is not known here, since a cue is bound to no machine")
    if name not in MACROS:
        raise _refused(f"there is no {name!r}, only {', '.join(MACROS)}")
    return MACROS[name]


@frozen(eq=False)
class _Field:
    """One of the five fields: its place, its name for people, and what may stand in it."""

    index: int
    name: str
    low: int
    high: int
    size: int
    names: tuple[str, ...] = ()

    def check(self, element: str) -> str:
        """*element*, refused where it is outside of the grammar; rewritten where croniter would misread it."""
        # Among others are letters whose capital is one of ours: `ſ` and `ı`.
        if not element.isascii():
            raise self._wrong(element, "that cannot be read, since it is not plain ASCII")
        if self is DATE and element.upper() == "L":
            return element
        if self is WEEKDAY and (nth := re.fullmatch(r"(\w+)#[1-5]", element, re.ASCII)):
            self.number(nth[1])
            return element
        parts = re.fullmatch(r"(?:\*|(\w+)-(\w+))(?:/(\d+))?", element, re.ASCII)
        if parts is None:
            self.number(element)
            return element
        return self._check_range(element, *parts.groups())

    def number(self, text: str) -> int:
        if text.upper() in self.names:
            return self.low + self.names.index(text.upper())
        if not re.fullmatch(r"\d+", text, re.ASCII):
            raise self._foreign(text)
        if not self.low <= int(text) <= self.high:
            raise self._wrong(text, f"only {self.low} to {self.high} are possible")
        return int(text)

    def _check_range(self, element: str, first: str | None, last: str | None, step: str | None) -> str:
        low, high = self._range(first, last) if first and last else (self.low, self.high)
        # */60 is the whole hour; beyond that the step cannot mean what it says.
        if step and not 1 <= int(step) <= self.size:
            raise self._wrong(element, f"a step here is 1 to {self.size}")
        # To croniter `9-9` is every hour.
        return first if first and low == high else element

    def _range(self, first: str, last: str) -> tuple[int, int]:
        low, high = self.number(first), self.number(last)
        # FRI-SUN means the Sunday at the end of the week.
        if last.upper() == "SUN" and low > 0:
            high = 7
        if low > high:
            raise self._wrong(f"{first}-{last}", f"the range runs backwards; write a list of two{self._sunday(high)}")
        return low, high

    def _sunday(self, high: int) -> str:
        return " (Sunday at the end of a range is 7)" if self is WEEKDAY and high == 0 else ""

    def _foreign(self, element: str) -> Refusal:
        for pattern, hint in FOREIGN:
            if re.fullmatch(pattern, element.upper()):
                return self._wrong(element, hint)
        return self._wrong(element, "that cannot be read")

    def _wrong(self, element: str, why: str) -> Refusal:
        return _refused(f"the {self.name} {element!r} of the cron is wrong: {why}")


MINUTE = _Field(0, "minute", 0, 59, size=60)
HOUR = _Field(1, "hour", 0, 23, size=24)
DATE = _Field(2, "day of month", 1, 31, size=31)
MONTH = _Field(3, "month", 1, 12, size=12, names=MONTHS)
WEEKDAY = _Field(4, "day of week", 0, 7, size=7, names=WEEKDAYS)
FIELDS = (MINUTE, HOUR, DATE, MONTH, WEEKDAY)


@frozen
class _Expanded:
    """What a field or an element of it stands for; Sunday is 0."""

    values: frozenset[int] = frozenset()
    last: bool = False
    """`L`."""
    nths: frozenset[tuple[int, int]] = frozenset()
    """`MON#2` as (1, 2)."""


def _expand_field(field: _Field, text: str) -> _Expanded:
    each = [_expand(field, field.check(element)) for element in text.split(",")]
    return _Expanded(
        frozenset().union(*(element.values for element in each)),
        any(element.last for element in each),
        frozenset().union(*(element.nths for element in each)),
    )


# Most crons are made of the same few elements, and croniter takes longer for one than the rest does for a cron.
@lru_cache(maxsize=1024)
def _expand(field: _Field, element: str) -> _Expanded:
    """
    Have croniter expand *element*, which the grammar has taken.

    One by one: of a list croniter takes `2-31,L` for every day of the month and refuses `FRI,MON#1`.
    """
    fields = ["*"] * len(FIELDS)
    fields[field.index] = element
    expanded, nths = croniter.expand(" ".join(fields))
    values = expanded[field.index]
    if nths:
        return _Expanded(nths=frozenset((weekday, nth) for weekday in nths for nth in nths[weekday]))
    if values == ["l"]:
        return _Expanded(last=True)
    # All values are `*` to croniter, however they are written.
    return _Expanded(frozenset(range(field.low, field.low + field.size) if values == ["*"] else values))


def _refused(why: str) -> Refusal:
    return Refusal("invalid_schedule", f"{why[0].upper()}{why[1:]}. {EXAMPLES}")
