from datetime import UTC, datetime, timedelta

import pytest

from cueapi.domain.errors import Refusal
from cueapi.domain.schedule import first_run, next_run, previous_runs, upcoming

NOW = datetime(2026, 5, 14, 17, 23, 11, 500, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def fire_times(cron: str, timezone: str, after: str, count: int) -> list[str]:
    return [moment.strftime("%m-%d %H:%M") for moment in upcoming(cron, timezone, utc(after), count)]


@pytest.mark.parametrize(
    ("cron", "timezone", "after", "times"),
    [
        # Spring, 2026-03-08: 2:00 to 3:00 is left out at 07:00 UTC.
        ("30 2 * * *", "America/New_York", "2026-03-07", ["03-07 07:30", "03-08 07:00", "03-09 06:30"]),
        ("0 2,3 * * *", "America/New_York", "2026-03-07 12:00", ["03-08 07:00", "03-09 06:00"]),
        ("5,10,59 2 * * *", "America/New_York", "2026-03-08", ["03-08 07:00", "03-09 06:05"]),
        ("0-59/30 1-3 * * *", "America/New_York", "2026-03-08",
         ["03-08 06:00", "03-08 06:30", "03-08 07:00", "03-08 07:30", "03-09 05:00"]),
        ("30 2 8 3 *", "America/New_York", "2026-03-07", ["03-08 07:00"]),
        ("30 * * * *", "America/New_York", "2026-03-08 06:00", ["03-08 06:30", "03-08 07:30"]),
        ("*/30 2 * * *", "America/New_York", "2026-03-07 12:00", ["03-09 06:00", "03-09 06:30"]),
        # Autumn, 2026-11-01: 1:00 to 2:00 comes twice, at 05:00 and at 06:00 UTC.
        ("30 1 * * *", "America/New_York", "2026-10-31", ["10-31 05:30", "11-01 05:30", "11-02 06:30"]),
        ("0 1,2 * * *", "America/New_York", "2026-11-01", ["11-01 05:00", "11-01 07:00", "11-02 06:00"]),
        ("30 * * * *", "America/New_York", "2026-11-01 05:00", ["11-01 05:30", "11-01 06:30", "11-01 07:30"]),
        ("*/30 1 * * *", "America/New_York", "2026-11-01 00:00",
         ["11-01 05:00", "11-01 05:30", "11-01 06:00", "11-01 06:30", "11-02 06:00"]),
        # 2026-03-29: 1:00 to 2:00 is left out, at 01:00 UTC; 2026-10-25: it comes twice, from 00:00 UTC.
        ("15 1 * * *", "Europe/London", "2026-03-28", ["03-28 01:15", "03-29 01:00", "03-30 00:15"]),
        ("15 1 * * *", "Europe/London", "2026-10-24", ["10-24 00:15", "10-25 00:15", "10-26 01:15"]),
        ("15 * * * *", "Europe/London", "2026-10-25", ["10-25 00:15", "10-25 01:15", "10-25 02:15"]),
        ("0 2 * * *", "Europe/London", "2026-10-24 12:00", ["10-25 02:00", "10-26 02:00"]),
        # Half an hour. 2026-04-05: 1:30 to 2:00 comes twice; 2026-10-04: 2:00 to 2:30 is left out.
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-03", ["04-03 14:45", "04-04 14:45", "04-05 15:15"]),
        ("*/15 1 * * *", "Australia/Lord_Howe", "2026-04-04 14:15",
         ["04-04 14:30", "04-04 14:45", "04-04 15:00", "04-04 15:15", "04-05 14:30"]),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-02", ["10-02 15:45", "10-03 15:30", "10-04 15:15"]),
        ("15 * * * *", "Australia/Lord_Howe", "2026-10-03 14:00", ["10-03 14:45", "10-03 16:15"]),
        # At midnight. 2026-03-08: 0:00 to 1:00 is left out, at 05:00 UTC; 2025-11-02: it comes twice.
        ("0 0 * * *", "America/Havana", "2026-03-07", ["03-07 05:00", "03-08 05:00", "03-09 04:00"]),
        ("30 0 8 * *", "America/Havana", "2026-03-07", ["03-08 05:00", "04-08 04:30"]),
        ("* 0 * * SUN", "America/Havana", "2026-03-08", ["03-15 04:00"]),
        ("@daily", "America/Havana", "2025-11-01 12:00", ["11-02 04:00", "11-03 05:00"]),
        ("0 * * * *", "America/Havana", "2025-11-02 03:30", ["11-02 04:00", "11-02 05:00", "11-02 06:00"]),
        # Azores, 2026-10-25: from 1:00 back to 0:00; Greenland, 2026-03-28: 23:00 to 0:00 is left out.
        ("30 0 * * *", "Atlantic/Azores", "2026-10-24", ["10-24 00:30", "10-25 00:30", "10-26 01:30"]),
        ("30 23 28 * *", "America/Nuuk", "2026-03-02", ["03-29 01:00", "04-29 00:30"]),
        # Winter time as an exception: Morocco in Ramadan, from 2026-02-15 03:00 to 2026-03-22 02:00.
        ("30 2 * * *", "Africa/Casablanca", "2026-02-14", ["02-14 01:30", "02-15 01:30", "02-16 02:30"]),
        ("30 2 * * *", "Africa/Casablanca", "2026-03-21", ["03-21 02:30", "03-22 02:00", "03-23 01:30"]),
    ],
)  # fmt: skip
def test_daylight_saving_follows_cron_8(cron: str, timezone: str, after: str, times: list[str]) -> None:
    assert fire_times(cron, timezone, after, len(times)) == times


@pytest.mark.parametrize(
    ("cron", "timezone", "after", "times"),
    [
        # Samoa went from December 29 to 31; Kwajalein lived August 22, 1969 one more time for 23 hours.
        ("0 9 * * *", "Pacific/Apia", "2011-12-29", ["12-29 19:00", "12-30 19:00"]),
        ("0 9 30 12 *", "Pacific/Apia", "2011-12-01", ["12-29 19:00"]),
        ("0 0 31 * *", "Pacific/Apia", "2011-12-01", ["12-30 10:00"]),
        ("0 12 30 9 *", "Pacific/Kwajalein", "1969-09-28", ["09-30 01:00", "10-01 00:00"]),
        # Three hours: Casey, 2020-10-03 at 16:01 UTC from 0:01 to 3:01; back again on 2021-03-13 13:00.
        ("0 2,5 * * *", "Antarctica/Casey", "2020-10-03", ["10-03 18:00", "10-04 15:00"]),
        ("30 22 * * *", "Antarctica/Casey", "2021-03-13", ["03-13 11:30", "03-13 14:30", "03-14 14:30"]),
    ],
)
def test_a_correction_of_the_zone_folds_nothing(cron: str, timezone: str, after: str, times: list[str]) -> None:
    assert fire_times(cron, timezone, after, len(times)) == times


@pytest.mark.parametrize(
    ("cron", "after", "first"),
    [
        ("* * * * *", "2026-05-14 17:23:00", "2026-05-14 17:24"),
        ("* * * * *", "2026-05-14 17:22:59.999999", "2026-05-14 17:23"),
        ("0 0 29 2 *", "2096-02-29", "2104-02-29"),
        ("0 0 29 2 *", "1896-02-29", "1904-02-29"),
        ("0 0 29 2 MON", "2026-05-14", "2027-02-01"),
        ("0 0 29 2 */7", "2088-02-29", "2128-02-29"),
        ("0 0 29 2 */1", "2026-05-14", "2028-02-29"),
        ("0 0 * 2 MON#5", "2026-05-14", "2044-02-29"),
        ("0 0 */29 2 MON", "2026-05-14", "2027-02-01"),
        ("0 0 30 2 */2", "2026-05-14", None),
        ("0 0 31 2,4,6,9,11 *", "2026-05-14", None),
        ("59 23 31 12 *", "9997-12-01", "9997-12-31 23:59"),
        ("59 23 31 12 *", "9998-06-01", None),
        ("* * * * *", "9999-12-31 23:59:59.999999", None),
        ("0 0 1 1 *", "0001-01-01", "0003-01-01"),
    ],
)
def test_rare_dates_come_when_the_calendar_says(cron: str, after: str, first: str | None) -> None:
    assert next_run(cron, "UTC", utc(after)) == (first and utc(first))


@pytest.mark.parametrize("timezone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
@pytest.mark.parametrize("moment", [datetime.min, datetime.max], ids=["first", "last"])
def test_the_ends_of_the_calendar_crash_nothing(timezone: str, moment: datetime) -> None:
    end = moment.replace(tzinfo=UTC)

    assert len(upcoming("0 0 * * *", timezone, end, 3)) in {0, 3}
    assert len(previous_runs("0 0 * * *", timezone, end, end - timedelta(0), 3)) == 0


@pytest.mark.parametrize(
    ("cron", "timezone"),
    [
        ("0 0 31 2 *", "UTC"),
        ("0 0 30 2 */2", "Europe/London"),
        # The hour that is left out, on the very day, of a cron that only follows the clock.
        ("* 2 * 3 SUN#2", "America/New_York"),
    ],
)
def test_a_cron_that_never_comes_is_refused(cron: str, timezone: str) -> None:
    with pytest.raises(Refusal, match=r"never comes.*Valid is for example '0 9 L \* \*'") as refused:
        first_run(cron, timezone, NOW)

    assert refused.value.code == "invalid_schedule"


def test_the_first_run_is_the_next_one() -> None:
    assert first_run("0 9 * * MON-FRI", "America/Los_Angeles", NOW) == utc("2026-05-15 16:00")


def test_a_cron_outside_of_the_grammar_is_refused_wherever_it_turns_up() -> None:
    with pytest.raises(Refusal, match="has 6 fields"):
        next_run("0 0 9 * * *", "UTC", NOW)


def test_fewer_times_than_asked_for_come_where_no_more_come() -> None:
    assert upcoming("0 0 31 2 *", "UTC", NOW, 5) == []
    assert upcoming("0 0 29 2 *", "UTC", NOW, 0) == []
    assert len(upcoming("* * * * *", "UTC", NOW, 50)) == 50


def test_the_times_to_come_may_be_further_apart_than_a_life() -> None:
    leap_sundays = upcoming("0 0 29 2 */7", "UTC", utc("2068-03-01"), 4)

    assert [moment.year for moment in leap_sundays] == [2088, 2128, 2156, 2184]


def test_previous_runs_are_the_newest_of_those_after_since_up_to_until() -> None:
    until, since = utc("2026-05-14 12:00"), utc("2026-05-14 09:00")

    assert previous_runs("0 * * * *", "UTC", until, since, 10) == [
        utc("2026-05-14 12:00"),
        utc("2026-05-14 11:00"),
        utc("2026-05-14 10:00"),
    ]
    assert previous_runs("0 * * * *", "UTC", until, since, 1) == [utc("2026-05-14 12:00")]
    assert previous_runs("0 * * * *", "UTC", until, since, 0) == []
    assert previous_runs("0 * * * *", "UTC", since, until, 10) == []
    assert previous_runs("0 * * * *", "UTC", until, until, 10) == []


def test_moments_of_another_timezone_are_the_same_moments() -> None:
    after = datetime.fromisoformat("2026-05-14T09:00:00+02:00")

    assert next_run("0 * * * *", "UTC", after) == utc("2026-05-14 08:00")
    assert previous_runs("0 * * * *", "UTC", after, after - timedelta(hours=1), 5) == [utc("2026-05-14 07:00")]
