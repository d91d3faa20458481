"""A schedule in words says what its cron says, or that it cannot."""

from datetime import UTC, date, datetime, timedelta
from importlib import resources

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cueapi.domain.cron import MONTHS, WEEKDAYS, parse
from cueapi.domain.schedule_words import cron_in_words, schedule_in_words, zone
from tests.domain.reading_words import read_words

LOS_ANGELES = "America/Los_Angeles"

WORDS = {
    "* * * * *": "every minute",
    "*/15 * * * *": "every 15 minutes",
    "5-59/15 * * * *": "every 15 minutes from :05, Los Angeles time",
    "*/7 * * * *": "every 7 minutes within each hour from :00, Los Angeles time",
    "@hourly": "every hour",
    "30 * * * *": "every hour at :30, Los Angeles time",
    "0,20,30 * * * *": "every hour at :00, :20 and :30, Los Angeles time",
    "0 */6 * * *": "every 6 hours from 00:00, Los Angeles time",
    "10 1-23/2 * * *": "every 2 hours from 01:10, Los Angeles time",
    "@daily": "every day at 00:00, Los Angeles time",
    "0 9 * * *": "every day at 09:00, Los Angeles time",
    "0 9,12,18 * * *": "every day at 09:00, 12:00 and 18:00, Los Angeles time",
    "0 9 * * MON-FRI": "weekdays at 09:00, Los Angeles time",
    "0 9 * * SAT,SUN": "weekends at 09:00, Los Angeles time",
    "0 9 * * FRI-SUN": "Fridays to Sundays at 09:00, Los Angeles time",
    "0 9 * * MON,WED": "Mondays and Wednesdays at 09:00, Los Angeles time",
    "*/15 9-17 * * MON-FRI": "every 15 minutes from 09:00 to 17:45 on weekdays, Los Angeles time",
    "0 9-17 * JUN-AUG *": "every hour from 09:00 to 17:00 from June to August, Los Angeles time",
    "* 9 * * *": "every minute from 09:00 to 09:59, Los Angeles time",
    "0 22-23,0-5 * * *": "every hour in the hours 00 to 05 and 22 to 23, Los Angeles time",
    "@weekly": "Sundays at 00:00, Los Angeles time",
    "@monthly": "the 1st of the month at 00:00, Los Angeles time",
    "@yearly": "the 1st of January at 00:00, Los Angeles time",
    "0 9 1,15 * *": "the 1st and 15th of the month at 09:00, Los Angeles time",
    "0 9 L * *": "the last day of the month at 09:00, Los Angeles time",
    "0 9 1-7,L * *": "the 1st to 7th and last day of the month at 09:00, Los Angeles time",
    "0 9 */3 * *": "every 3rd day of the month from the 1st at 09:00, Los Angeles time",
    "0 9 */2 * *": "odd days of the month at 09:00, Los Angeles time",
    "0 9 * * MON#2": "the second Monday of the month at 09:00, Los Angeles time",
    "0 9 * 5 MON#1": "the first Monday of May at 09:00, Los Angeles time",
    "0 9 13 * FRI": "the 13th of the month and on Fridays at 09:00, Los Angeles time",
    "0 9 */2 * MON": "Mondays that fall on odd days of the month at 09:00, Los Angeles time",
    "0 9 1-31 * FRI": "every day at 09:00, Los Angeles time",
    "1,2,3,5,8,13 * * * *": "as its cron says, Los Angeles time",
}

# Each month begins on each day of the week, and February has 29 days three times.
DATES = [date(2017, 1, 1) + timedelta(days) for days in range(12 * 365 + 3)]


@pytest.mark.parametrize(("cron", "words"), WORDS.items(), ids=WORDS.keys())
def test_a_cron_is_said_as_a_person_would_say_it(cron: str, words: str) -> None:
    assert schedule_in_words(cron, None, LOS_ANGELES) == words


def test_a_one_time_schedule_is_said_in_its_own_zone() -> None:
    at = datetime(2030, 5, 1, 8, 0, tzinfo=UTC)

    assert schedule_in_words(None, at, "Europe/London") == "once, on 1 May 2030 at 09:00, London time"
    assert schedule_in_words(None, at, "UTC") == "once, on 1 May 2030 at 08:00, UTC"


def test_a_zone_is_called_by_its_city() -> None:
    names = ["UTC", "Etc/UTC", "America/Argentina/Buenos_Aires", "Asia/Kolkata", "US/Pacific", "Etc/GMT+5", "EST5EDT"]

    assert [zone(name) for name in names] == [
        "UTC", "UTC", "Buenos Aires time", "Kolkata time", "US/Pacific time", "Etc/GMT+5 time", "EST5EDT time",
    ]  # fmt: skip
    assert all(zone(name) for name in resources.files("tzdata").joinpath("zones").read_text().split())


def elements(low: int, high: int, names: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    """What stands between two commas."""
    value = st.integers(low, high)
    ends = st.tuples(value, value).map(sorted)
    steps = st.integers(1, min(high, 31))
    written = [
        value.map(str),
        ends.map(lambda pair: f"{pair[0]}-{pair[1]}"),
        st.builds(lambda pair, step: f"{pair[0]}-{pair[1]}/{step}", ends, steps),
        steps.map(lambda step: f"*/{step}"),
        st.just("*"),
    ]
    return st.one_of(*written, *([st.sampled_from(names)] if names else []))


def lists(element: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """A field."""
    return st.just("*") | st.lists(element, min_size=1, max_size=4).map(",".join)


NTHS = st.builds(lambda name, nth: f"{name}#{nth}", st.sampled_from(WEEKDAYS), st.integers(1, 5))
CRONS = st.builds(
    lambda *fields: " ".join(fields),
    lists(elements(0, 59)),
    lists(elements(0, 23)),
    lists(elements(1, 31) | st.just("L")),
    lists(elements(1, 12, MONTHS)),
    lists(elements(0, 6, WEEKDAYS) | NTHS),
)


@given(cron=CRONS)
@example(cron="0 0 1 1,7 MON#1,FRI")
@example(cron="0 0 * 1,7 MON#1,FRI#5,TUE")
@example(cron="0 0 */2 2 1-3")
@example(cron="0 0 31,L 2-4 *")
@example(cron="7-59/9 1-5,9,20-23 * 2,4-6,9 *")
@settings(max_examples=200, deadline=None)
def test_words_read_back_name_the_same_days_and_times(cron: str) -> None:
    words = cron_in_words(cron)
    if words is None:
        return
    parsed = parse(cron)
    meant = read_words(words)

    assert meant.minutes == {moment // timedelta(minutes=1) for moment in parsed.moments}, words
    midnights = parse(" ".join(["0", "0", *cron.split()[2:]]))
    days = [moment.date() for moment in midnights.wall_times(datetime(2017, 1, 1), datetime(2029, 1, 1))]
    assert [day for day in DATES if meant.on(day)] == days, words


@given(cron=CRONS)
@settings(max_examples=300, deadline=None)
def test_words_are_few(cron: str) -> None:
    assert len(schedule_in_words(cron, None, LOS_ANGELES)) <= 300
