"""
Properties over all zones. The oracle walks minute by minute, as cronie does with its virtual time; what it
matches is known from how the cron was written, so that it shares no line with the product.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib import resources
from itertools import pairwise

import pytest
from attrs import frozen
from croniter import croniter
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from cueapi.domain.schedule import next_run, once_at, previous_runs, upcoming
from cueapi.domain.zone import offset_periods, zone_named

pytestmark = pytest.mark.slow

INSTANT = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
ZONES = [name for name in resources.files("tzdata").joinpath("zones").read_text().split() if name != "Factory"]


@frozen
class Field:
    """A field as it is written, and the values that it is known to mean."""

    text: str
    values: frozenset[int]


@frozen
class Written:
    """A cron as it is written, with its fields."""

    minute: Field
    hour: Field
    date: Field
    month: Field
    weekday: Field

    @property
    def text(self) -> str:
        fields = (self.minute, self.hour, self.date, self.month, self.weekday)
        return " ".join(field.text for field in fields)

    @property
    def fixed(self) -> bool:
        return "*" not in self.minute.text and "*" not in self.hour.text

    def matches(self, wall_time: datetime) -> bool:
        by_date = wall_time.day in self.date.values
        by_weekday = wall_time.isoweekday() % 7 in self.weekday.values
        both = self.date.text[0] == "*" or self.weekday.text[0] == "*"
        return (
            wall_time.minute in self.minute.values
            and wall_time.hour in self.hour.values
            and wall_time.month in self.month.values
            and ((by_date and by_weekday) if both else (by_date or by_weekday))
        )


def starred(low: int, high: int) -> st.SearchStrategy[Field]:
    every = range(low, high + 1)
    return st.just(Field("*", frozenset(every))) | st.integers(1, high).map(
        lambda step: Field(f"*/{step}", frozenset(every[::step]))
    )


def chosen(low: int, high: int) -> st.SearchStrategy[Field]:
    value = st.integers(low, high)
    lists = st.lists(value, min_size=1, max_size=4)
    ranges = st.tuples(value, value).map(sorted).filter(lambda ends: ends[0] < ends[1])
    return lists.map(lambda listed: Field(",".join(map(str, listed)), frozenset(listed))) | st.builds(
        lambda ends, step: Field(f"{ends[0]}-{ends[1]}/{step}", frozenset(range(ends[0], ends[1] + 1, step))),
        ranges,
        st.integers(1, high),
    )


def fields(low: int, high: int) -> st.SearchStrategy[Field]:
    return starred(low, high) | chosen(low, high)


ANY_DATE, ANY_MONTH, ANY_WEEKDAY = (
    Field("*", frozenset(range(32))),
    Field("*", frozenset(range(13))),
    Field("*", frozenset(range(7))),
)

CRONS = st.builds(
    Written,
    minute=fields(0, 59),
    # Most clocks jump in the small hours.
    hour=fields(0, 23) | chosen(0, 3),
    date=st.just(ANY_DATE) | fields(1, 31),
    month=st.just(ANY_MONTH),
    weekday=st.just(ANY_WEEKDAY) | fields(0, 6),
)


@lru_cache(maxsize=4096)
def changes(timezone: str, year: int) -> tuple[datetime, ...]:
    """The full hours of UTC before which the clock of a zone jumps in a year."""
    zone = zone_named(timezone)
    begin = datetime(year, 1, 1, tzinfo=UTC)
    hours = [begin + number * HOUR for number in range(366 * 24)]
    offsets = [hour.astimezone(zone).utcoffset() for hour in hours]
    return tuple(hour for hour, (old, new) in zip(hours[1:], pairwise(offsets), strict=True) if old != new)


@st.composite
def windows(draw: st.DrawFn) -> tuple[str, datetime, datetime]:
    """A zone, and a few days in which, mostly, its clock jumps."""
    timezone = draw(st.sampled_from(ZONES))
    # Before 1973 some clocks ran on fractions of minutes.
    year = draw(st.integers(1973, 2060))
    middle = draw(st.sampled_from(changes(timezone, year) or (datetime(year, 6, 1, tzinfo=UTC),)))
    begin = middle - draw(st.integers(12 * 60, 36 * 60)) * MINUTE
    return timezone, begin, begin + 2 * DAY


def clock(timezone: str, begin: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Each minute in [*begin*, *end*), with what the clock shows then."""
    zone = zone_named(timezone)
    moment = begin
    while moment < end:
        yield moment, moment.astimezone(zone).replace(tzinfo=None)
        moment += MINUTE


def cronie(cron: Written, ticks: list[tuple[datetime, datetime]]) -> list[datetime]:
    """What the daemon fires while the clock ticks; its virtual time is the reading that would be next."""
    fired = []
    virtual = ticks[0][1]
    for moment, wall_time in ticks:
        ahead = wall_time - virtual
        if not cron.fixed or abs(ahead) >= 3 * HOUR:
            due = [wall_time]
        else:
            due = [virtual + number * MINUTE for number in range(ahead // MINUTE + 1)]
        if any(cron.matches(each) for each in due):
            fired.append(moment)
        if due:
            virtual = wall_time + MINUTE
    return fired


def forward(cron: str, timezone: str, begin: datetime, end: datetime) -> list[datetime]:
    """The fire times in [*begin*, *end*), each asked for with the one before."""
    found = []
    moment = next_run(cron, timezone, begin - INSTANT)
    while moment is not None and moment < end:
        found.append(moment)
        moment = next_run(cron, timezone, moment)
    return found


@given(cron=CRONS, window=windows())
@settings(deadline=None, max_examples=150)
def test_walking_forward_finds_exactly_what_the_daemon_of_cronie_fires(
    cron: Written, window: tuple[str, datetime, datetime]
) -> None:
    timezone, begin, end = window
    expected = cronie(cron, list(clock(*window)))

    assert forward(cron.text, timezone, begin, end) == expected
    assert upcoming(cron.text, timezone, begin - INSTANT, len(expected)) == expected


@given(cron=CRONS, window=windows(), limit=st.integers(0, 50))
@settings(deadline=None, max_examples=150)
def test_walking_back_finds_what_walking_forward_finds(
    cron: Written, window: tuple[str, datetime, datetime], limit: int
) -> None:
    timezone, begin, end = window
    expected = forward(cron.text, timezone, begin, end)[::-1]
    until, since = end - INSTANT, begin - INSTANT

    assert previous_runs(cron.text, timezone, until, since, 6000) == expected
    assert previous_runs(cron.text, timezone, until, since, limit) == expected[:limit]


@given(cron=CRONS, window=windows(), data=st.data())
@settings(deadline=None, max_examples=300)
def test_the_next_run_is_the_same_from_every_moment_since_the_one_before(
    cron: Written, window: tuple[str, datetime, datetime], data: st.DataObject
) -> None:
    timezone, begin, end = window
    asked = data.draw(st.datetimes(begin.replace(tzinfo=None), end.replace(tzinfo=None), timezones=st.just(UTC)))
    later = next_run(cron.text, timezone, asked)
    assume(later is not None)
    assert later is not None
    (earlier,) = previous_runs(cron.text, timezone, asked, asked - 60 * 366 * DAY, 1)

    assert earlier <= asked < later
    assert next_run(cron.text, timezone, earlier) == later
    assert next_run(cron.text, timezone, later - INSTANT) == later
    assert next_run(cron.text, timezone, earlier - INSTANT) == earlier
    assert previous_runs(cron.text, timezone, later - INSTANT, earlier - INSTANT, 2) == [earlier]


FIXED = Written(
    Field("0-59/15", frozenset(range(0, 60, 15))),
    Field("0-23", frozenset(range(24))),
    ANY_DATE, ANY_MONTH, ANY_WEEKDAY,
)  # fmt: skip
FOLLOWING = Written(
    Field("*/15", frozenset(range(0, 60, 15))),
    Field("*", frozenset(range(24))),
    ANY_DATE, ANY_MONTH, ANY_WEEKDAY,
)  # fmt: skip


@pytest.mark.parametrize("timezone", ZONES)
def test_in_every_zone_both_changes_of_a_year_are_as_in_cronie(timezone: str) -> None:
    for change in changes(timezone, 2026):
        begin, end = change - 5 * HOUR, change + 4 * HOUR
        ticks = list(clock(timezone, begin, end))

        assert forward(FIXED.text, timezone, begin, end) == cronie(FIXED, ticks)
        assert forward(FOLLOWING.text, timezone, begin, end) == cronie(FOLLOWING, ticks)


@given(timezone=st.sampled_from(ZONES), year=st.integers(1880, 2200))
@example(timezone="America/Noronha", year=2000)
@example(timezone="Asia/Gaza", year=2072)
@example(timezone="Africa/Casablanca", year=2030)
@settings(deadline=None, max_examples=100)
def test_the_stretches_of_a_year_are_all_its_changes(timezone: str, year: int) -> None:
    begin, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    found = list(offset_periods(timezone, begin, end))
    hours = [period.begin + timedelta(seconds=3599) for period in found[1:]]

    assert [hour.replace(minute=0, second=0) for hour in hours if hour < end] == [
        change for change in changes(timezone, year) if change < end
    ]
    assert (found[0].begin, found[-1].end) == (begin, end)
    assert all(earlier.end == later.begin for earlier, later in pairwise(found))
    assert all(earlier.offset == later.before for earlier, later in pairwise(found))


@given(window=windows(), minutes=st.integers(0, 2000))
@settings(deadline=None, max_examples=150)
def test_once_is_when_the_clock_first_shows_the_time_or_jumps_over_it(
    window: tuple[str, datetime, datetime], minutes: int
) -> None:
    timezone, begin, end = window
    ticks = list(clock(timezone, begin - DAY, end + DAY))
    asked = ticks[DAY // MINUTE][1] + minutes * MINUTE
    first = next(moment for moment, wall_time in ticks if wall_time >= asked)

    assert once_at(asked.isoformat(), timezone) == first


@given(
    minute=fields(0, 59),
    hour=fields(0, 23),
    date=st.sampled_from(["*", "1", "13,31", "29-31", "L", "5,l"]),
    month=st.sampled_from(["*", "2", "JAN-MAR", "*/5"]),
    weekday=st.sampled_from(["*", "MON", "1-5", "5,0", "7", "FRI-SUN", "0-7/3", "MON#2", "fri#5", "7#1,2#3"]),
    after=st.datetimes(datetime(1971, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC)),
)
@settings(deadline=None, max_examples=200)
def test_in_utc_croniter_finds_the_same_times(
    minute: Field, hour: Field, date: str, month: str, weekday: str, after: datetime
) -> None:
    # Where both are given croniter means something else by L and by #.
    assume("*" in {date, weekday})
    cron = f"{minute.text} {hour.text} {date} {month} {weekday}"
    theirs = croniter(cron, after, max_years_between_matches=50)

    assert upcoming(cron, "UTC", after, 3) == [theirs.get_next(datetime) for _ in range(3)]
