"""A planned time and other rules of its zone: it keeps its hour, and no local day has two of it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cueapi.domain.zone import reading_at, tzdata_version
from cueapi.domain.zone_change import replanned
from tests.zones import AN_HOUR_AHEAD, AT_UTC, CASABLANCA, tzdata


def at(day: int, hour: int, minute: int = 0, second: int = 0) -> datetime:
    """A moment of March 2026."""
    return datetime(2026, 3, day, hour, minute, second, tzinfo=UTC)


LATER = {
    "the day's time has not come": ("28 11 * * *", at(4, 10, 28), at(4, 9), at(4, 11, 28)),
    "the day's time was fired": ("28 11 * * *", at(5, 10, 28), at(4, 11), at(5, 11, 28)),
    "the first of two was fired": ("0 11,12 * * *", at(4, 11), at(4, 10, 30), at(4, 12)),
    "the hour of a window was fired": ("*/5 9 * * *", at(5, 8), at(4, 8, 56), at(5, 9)),
    "the middle of a window": ("*/5 9 * * *", at(4, 8, 35), at(4, 8, 31), at(4, 9, 35)),
    "each minute": ("* * * * *", at(4, 10, 31), at(4, 10, 30, 30), at(4, 10, 31)),
    "each hour": ("28 * * * *", at(4, 10, 28), at(4, 10, 1), at(4, 10, 28)),
    "each hour, and one was missed": ("28 * * * *", at(4, 9, 28), at(4, 10, 1), at(4, 9, 28)),
    "once a week": ("28 11 * * MON", at(9, 10, 28), at(4, 9), at(9, 11, 28)),
}


@pytest.mark.parametrize(("cron", "stored", "now", "expected"), LATER.values(), ids=LATER.keys())
def test_where_the_zone_is_an_hour_less_ahead_now_a_time_comes_an_hour_later(
    tmp_path: Path, cron: str, stored: datetime, now: datetime, expected: datetime
) -> None:
    with tzdata(tmp_path, "2026a", {CASABLANCA: AN_HOUR_AHEAD}):
        reading = reading_at(stored, CASABLANCA)
        unchanged = replanned(cron, CASABLANCA, stored, reading, now)
    with tzdata(tmp_path, "2026f", {CASABLANCA: AT_UTC}):
        moved = replanned(cron, CASABLANCA, stored, reading, now)

    assert (unchanged, moved) == (stored, expected)


EARLIER = {
    "the day's time has not come": ("28 11 * * *", at(4, 11, 28), at(4, 9), at(4, 10, 28)),
    "it has passed meanwhile": ("28 11 * * *", at(4, 11, 28), at(4, 11), at(4, 10, 28)),
    "the day's time was fired": ("28 11 * * *", at(5, 11, 28), at(4, 12), at(5, 10, 28)),
    "each minute": ("* * * * *", at(4, 10, 31), at(4, 10, 30, 30), at(4, 10, 31)),
}


@pytest.mark.parametrize(("cron", "stored", "now", "expected"), EARLIER.values(), ids=EARLIER.keys())
def test_where_the_zone_is_an_hour_more_ahead_now_a_time_comes_an_hour_earlier(
    tmp_path: Path, cron: str, stored: datetime, now: datetime, expected: datetime
) -> None:
    with tzdata(tmp_path, "2026a", {CASABLANCA: AT_UTC}):
        reading = reading_at(stored, CASABLANCA)
    with tzdata(tmp_path, "2026f", {CASABLANCA: AN_HOUR_AHEAD}):
        moved = replanned(cron, CASABLANCA, stored, reading, now)

    assert moved == expected


def test_where_the_reading_is_not_known_the_nearest_time_is_meant(tmp_path: Path) -> None:
    with tzdata(tmp_path, "2026f", {CASABLANCA: AT_UTC}):
        assert replanned("28 11 * * *", CASABLANCA, at(5, 10, 28), None, at(4, 11)) == at(5, 11, 28)
        assert replanned("28 11 * * *", CASABLANCA, at(5, 12, 28), None, at(4, 13)) == at(5, 11, 28)


def test_a_time_that_a_new_jump_leaves_out_comes_at_the_jump(tmp_path: Path) -> None:
    with tzdata(tmp_path, "2026a", {CASABLANCA: AN_HOUR_AHEAD}):
        reading = reading_at(at(29, 1, 30), CASABLANCA)
    with tzdata(tmp_path, "2026f", {CASABLANCA: "Europe/Paris"}):
        # On that night the clock of Paris goes from 2:00 to 3:00.
        moved = replanned("30 2 * * *", CASABLANCA, at(29, 1, 30), reading, at(28, 12))

    assert (reading.hour, reading.minute) == (2, 30)
    assert moved == at(29, 1)


def test_the_version_is_that_of_the_database_that_is_read() -> None:
    version = tzdata_version()

    assert (len(version), version[:4].isdigit(), version[4].islower()) == (5, True, True)
