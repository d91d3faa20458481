from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from cueapi.domain.clock import iso
from cueapi.domain.errors import Refusal
from cueapi.domain.schedule import once_at
from cueapi.domain.schedule_words import schedule_in_words
from cueapi.domain.zone import check_timezone, local_time


@pytest.mark.parametrize(
    ("text", "timezone", "moment"),
    [
        ("2030-05-01T09:00:00Z", "Asia/Tokyo", "2030-05-01T09:00:00"),
        ("2030-05-01t09:00:00z", "Asia/Tokyo", "2030-05-01T09:00:00"),
        ("2030-05-01T09:00:00+02:00", "Asia/Tokyo", "2030-05-01T07:00:00"),
        ("2030-05-01 09:00-0730", "Asia/Tokyo", "2030-05-01T16:30:00"),
        ("2030-05-01T09:00:00.25+02", "Asia/Tokyo", "2030-05-01T07:00:00.250000"),
        ("2030-05-01T09:00:00.123456789Z", "UTC", "2030-05-01T09:00:00.123456"),
        (" 2030-05-01T09:00:00 ", "Asia/Tokyo", "2030-05-01T00:00:00"),
        ("2030-05-01T09:00", "America/New_York", "2030-05-01T13:00:00"),
        ("9998-12-31T00:00:00Z", "America/New_York", "9998-12-31T00:00:00"),
        ("0001-12-31T12:00:00-12:00", "UTC", "0002-01-01T00:00:00"),
    ],
)
def test_a_time_is_what_its_offset_says_or_else_what_the_clock_shows(text: str, timezone: str, moment: str) -> None:
    assert once_at(text, timezone) == datetime.fromisoformat(moment).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "timezone", "moment"),
    [
        ("2026-03-08T02:30:00", "America/New_York", "2026-03-08T07:00:00"),
        ("2026-03-08T02:00:00", "America/New_York", "2026-03-08T07:00:00"),
        ("2026-03-08T02:59:59.999999", "America/New_York", "2026-03-08T07:00:00"),
        ("2026-03-08T03:00:00", "America/New_York", "2026-03-08T07:00:00"),
        ("2026-10-04T02:10:00", "Australia/Lord_Howe", "2026-10-03T15:30:00"),
        ("2026-03-08T00:00:00", "America/Havana", "2026-03-08T05:00:00"),
        ("2011-12-30T12:00:00", "Pacific/Apia", "2011-12-30T10:00:00"),
    ],
)
def test_a_time_that_the_clock_leaves_out_is_the_end_of_the_gap(text: str, timezone: str, moment: str) -> None:
    assert once_at(text, timezone) == datetime.fromisoformat(moment).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "timezone", "moment"),
    [
        ("2026-11-01T01:30:00", "America/New_York", "2026-11-01T05:30:00"),
        ("2026-10-25T01:00:00", "Europe/London", "2026-10-25T00:00:00"),
        ("2026-04-05T01:45:00", "Australia/Lord_Howe", "2026-04-04T14:45:00"),
        ("2026-11-01T02:00:00", "America/New_York", "2026-11-01T07:00:00"),
    ],
)
def test_a_time_that_comes_twice_is_the_first(text: str, timezone: str, moment: str) -> None:
    assert once_at(text, timezone) == datetime.fromisoformat(moment).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is no ISO 8601 date and time"),
        ("tomorrow", "is no ISO 8601 date and time"),
        ("1893456000", "is no ISO 8601 date and time"),
        ("01.05.2030 09:00", "is no ISO 8601 date and time"),
        ("2030-W18-3T09:00", "is no ISO 8601 date and time"),
        ("2030-05-01T09:00:00 Europe/London", "is no ISO 8601 date and time"),
        ("٢٠٣٠-05-01T09:00:00Z", "is no ISO 8601 date and time"),
        ("2030-05-01T09:00:00Z\0", "is no ISO 8601 date and time"),
        ("2030-05-01", "has no time of day"),
        ("2030-02-30T09:00:00", "is no moment of the calendar"),
        ("2030-13-01T09:00:00", "is no moment of the calendar"),
        ("2030-05-01T24:30:00", "is no moment of the calendar"),
        ("2030-05-01T09:00:60Z", "is no moment of the calendar"),
        ("2030-05-01T09:00:00+99:00", "is no moment of the calendar"),
        ("0000-01-01T00:00:00Z", "is no moment of the calendar"),
        ("0001-01-01T00:00:00+12:00", "is no moment of the calendar"),
        ("9999-12-31T23:59:59-12:00", "is no moment of the calendar"),
        ("9999-12-31T23:59:59", "is no moment of the calendar"),
        ("9998-12-31T00:00:00.000001Z", "is not within the years 2 to 9998"),
        ("9999-12-31T23:59:59.9999999Z", "is not within the years 2 to 9998"),
        ("0001-01-01T00:00:00Z", "is not within the years 2 to 9998"),
        ("9" * 100_000, "is no ISO 8601 date and time"),
    ],
)
def test_a_text_that_is_no_time_is_refused_with_examples(text: str, why: str) -> None:
    with pytest.raises(Refusal) as refused:
        once_at(text, "Pacific/Pago_Pago")

    assert refused.value.code == "invalid_schedule"
    assert why in refused.value.message
    assert "'2030-05-01T09:00:00+02:00'" in refused.value.message
    assert len(refused.value.message) < 500


OFFSETS = st.integers(-24 * 60 + 1, 24 * 60 - 1).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(
    at=st.datetimes(timezones=st.none() | OFFSETS),
    zone=st.sampled_from(["UTC", "Asia/Tokyo", "Pacific/Kiritimati", "Etc/GMT+12", "America/New_York"]),
)
@example(at=datetime(9999, 12, 31, 23, tzinfo=UTC), zone="Asia/Tokyo")
@example(at=datetime.max.replace(tzinfo=UTC), zone="UTC")
@example(at=datetime(9998, 12, 31, tzinfo=UTC), zone="Pacific/Kiritimati")
@example(at=datetime(2, 1, 1, tzinfo=UTC), zone="Etc/GMT+12")
def test_a_time_that_is_taken_can_be_shown_in_every_zone_and_is_read_back(at: datetime, zone: str) -> None:
    try:
        moment = once_at(at.isoformat(), zone)
    except Refusal:
        assume(at.year not in range(3, 9998))
        return

    assert local_time(moment, zone) == moment
    assert once_at(iso(moment), zone) == moment
    assert schedule_in_words(None, moment, zone).startswith("once, on ")
    assert datetime.min.replace(tzinfo=UTC) < moment < datetime.max.replace(tzinfo=UTC)


def test_the_timezone_is_checked_even_where_the_time_has_an_offset() -> None:
    with pytest.raises(Refusal) as refused:
        once_at("2030-05-01T09:00:00Z", "Mars/Olympus_Mons")

    assert refused.value.code == "invalid_timezone"


@pytest.mark.parametrize("name", ["UTC", "Europe/London", "America/Argentina/Ushuaia", "Etc/GMT+5", "US/Pacific"])
def test_a_zone_of_the_database_is_taken_by_its_name(name: str) -> None:
    assert check_timezone(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        ".",
        "..",
        "Mars/Olympus_Mons",
        "Europe",
        "Europe/",
        "Europe/London ",
        "Europe/London\0",
        "Europe//London",
        "Europe/./London",
        "../zoneinfo/UTC",
        "Europe/../../../../etc/localtime",
        "/usr/share/zoneinfo/Europe/London",
        "/etc/localtime",
        "localtime",
        "posixrules",
        "Factory",
        "right/Europe/London",
        "posix/Europe/London",
        "zone.tab",
        "tzdata.zi",
        "EST5EDT4,M3.2.0,M11.1.0",
        "+02:00",
        "é" * 100_000,
    ],
)
def test_a_name_that_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(Refusal) as refused:
        check_timezone(name)

    assert refused.value.code == "invalid_timezone"
    assert "'Europe/London' and 'UTC'" in refused.value.message
    assert len(refused.value.message) < 300


@pytest.mark.parametrize(("name", "meant"), [("america/new_york", "America/New_York"), ("utc", "UTC")])
def test_a_name_in_the_wrong_case_is_refused_on_every_host_and_the_right_one_told(name: str, meant: str) -> None:
    with pytest.raises(Refusal, match=f"did you mean '{meant}'"):
        check_timezone(name)
