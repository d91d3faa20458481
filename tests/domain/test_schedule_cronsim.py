"""
cronsim as an oracle: it follows Debian's cron, daylight saving included, and shares no line with the product.

Where it is no oracle for cron(8) as we follow it:

* A cron with `*` that only follows the clock. cronsim looks for hours from full hours on and for days from
  midnight on: where a clock jumps at midnight or by half an hour it misses times and adds some. So those crons
  are compared in the zones of *FOLLOWED* only, in the years in which these jump by an hour and later in the night.
* From within the repeated hour it looks for a fixed cron's times as if from the first pass: the next may be past.
* `9-9/2` is `9-59/2` to it, and ours is 9. It refuses FRI-SUN, and a date that never comes.
* It takes a cron for a fixed one where no field *begins* with `*`: `5,*` as minute is to us none.
"""

from datetime import UTC, datetime, timedelta
from itertools import islice

from cronsim import CronSim
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from cueapi.domain.schedule import previous_runs, upcoming
from cueapi.domain.zone import offset_periods, zone_named

INSTANT = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)
COUNT = 8

FOLLOWED = ["UTC", "America/New_York", "Europe/London", "Africa/Casablanca", "Asia/Kathmandu"]
# Half an hour, and at midnight.
ALL = [*FOLLOWED, "Australia/Lord_Howe", "America/Havana"]
YEARS = st.integers(2013, 2035)


def elements(low: int, high: int) -> st.SearchStrategy[str]:
    value = st.integers(low, high)
    ends = st.tuples(value, value).map(sorted).filter(lambda pair: pair[0] < pair[1])
    ranges = ends.map(lambda pair: f"{pair[0]}-{pair[1]}")
    return value.map(str) | ranges | st.builds("{}/{}".format, ranges, st.integers(1, high))


def chosen(low: int, high: int) -> st.SearchStrategy[str]:
    return st.lists(elements(low, high), min_size=1, max_size=4).map(",".join)


def starred(high: int) -> st.SearchStrategy[str]:
    return st.just("*") | st.integers(1, high).map("*/{}".format)


MINUTES, HOURS = chosen(0, 59), chosen(0, 23) | chosen(0, 3)
DAYS = st.tuples(
    st.sampled_from(["*", "L", "13,l", "29-31", "*/13"]) | chosen(1, 31),
    # Each with a month of 31 days.
    st.sampled_from(["*", "*/5", "MAR,nov,12", "JAN-MAR", "10-12"]),
    st.sampled_from(["*", "MON#2", "fri#5,2", "SUN#1,7#2", "MON-FRI", "7", "*/3"]) | chosen(0, 7),
).map(" ".join)

FIXED = st.tuples(MINUTES, HOURS, DAYS).map(" ".join)
FOLLOWING = (
    st.tuples(starred(59), HOURS, DAYS)
    | st.tuples(MINUTES, starred(23), DAYS)
    | st.tuples(starred(59), starred(23), DAYS)
).map(" ".join)


@st.composite
def moments(draw: st.DrawFn, zones: list[str]) -> tuple[str, datetime]:
    """A zone, and a minute shortly before or after a jump of its clock where there is one."""
    timezone, year = draw(st.sampled_from(zones)), draw(YEARS)
    periods = offset_periods(timezone, datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC))
    change = draw(st.sampled_from([period.begin for period in periods]))
    return timezone, change + draw(st.integers(-3000, 3000)) * MINUTE


def next_by_cronsim(cron: str, timezone: str, after: datetime) -> list[datetime]:
    found = islice(CronSim(cron, after.astimezone(zone_named(timezone))), COUNT)
    return [moment.astimezone(UTC) for moment in found]


def previous_by_cronsim(cron: str, timezone: str, before: datetime) -> list[datetime]:
    found = islice(CronSim(cron, before.astimezone(zone_named(timezone)), reverse=True), COUNT)
    return [moment.astimezone(UTC) for moment in found]


def is_repeated(timezone: str, moment: datetime) -> bool:
    """Whether the clock shows the time of *moment* for the second time."""
    return moment.astimezone(zone_named(timezone)).fold == 1


@given(cron=FIXED, where=moments(ALL))
@example(cron="30 2 * * *", where=("America/New_York", datetime(2026, 3, 7, tzinfo=UTC)))
@example(cron="30 1 * * *", where=("America/New_York", datetime(2026, 10, 31, tzinfo=UTC)))
@example(cron="5,10 2,3 * * *", where=("America/New_York", datetime(2026, 3, 7, tzinfo=UTC)))
@settings(deadline=None, max_examples=200)
def test_cronsim_finds_the_same_times_for_a_fixed_cron(cron: str, where: tuple[str, datetime]) -> None:
    assume(not is_repeated(*where))

    assert upcoming(cron, *where, COUNT) == next_by_cronsim(cron, *where)


@given(cron=FOLLOWING, where=moments(FOLLOWED))
@example(cron="30 * * * *", where=("Europe/London", datetime(2026, 3, 28, 23, tzinfo=UTC)))
@example(cron="*/30 1 * * *", where=("Europe/London", datetime(2026, 10, 25, 0, tzinfo=UTC)))
@settings(deadline=None, max_examples=200)
def test_cronsim_finds_the_same_times_for_a_cron_that_follows_the_clock(cron: str, where: tuple[str, datetime]) -> None:
    assert upcoming(cron, *where, COUNT) == next_by_cronsim(cron, *where)


@given(cron=FIXED, where=moments(ALL))
@settings(deadline=None, max_examples=100)
def test_cronsim_finds_the_same_times_backward_for_a_fixed_cron(cron: str, where: tuple[str, datetime]) -> None:
    assume(not is_repeated(*where))
    timezone, until = where
    found = previous_by_cronsim(cron, timezone, until)

    assert previous_runs(cron, timezone, until - INSTANT, found[-1] - INSTANT, COUNT) == found


@given(cron=FOLLOWING, where=moments(FOLLOWED))
@settings(deadline=None, max_examples=100)
def test_cronsim_finds_the_same_times_backward_for_a_cron_that_follows_the_clock(
    cron: str, where: tuple[str, datetime]
) -> None:
    timezone, until = where
    found = previous_by_cronsim(cron, timezone, until)

    assert previous_runs(cron, timezone, until - INSTANT, found[-1] - INSTANT, COUNT) == found
