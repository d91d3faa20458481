"""Which times a backfill has, and what is too much for one."""

from datetime import UTC, datetime, timedelta

import pytest

from cueapi.domain.backfill import Backfill, check_number, check_span
from cueapi.domain.errors import Invalid, Refusal
from cueapi.domain.schedule import next_run

NOW = datetime(2026, 6, 2, 12, 0, 30, tzinfo=UTC)
DAY = datetime(2026, 6, 1, tzinfo=UTC)


def backfill(
    cron: str | None, since: datetime, until: datetime, *, zone: str = "UTC", at: datetime | None = None
) -> Backfill:
    return Backfill("cue_000000000000", since, until, True, cron, zone, at)


def test_both_ends_are_included() -> None:
    times = backfill("0 * * * *", DAY, DAY + timedelta(hours=2)).times(None, 10)

    assert times == [DAY, DAY + timedelta(hours=1), DAY + timedelta(hours=2)]


def test_a_walk_in_steps_meets_each_time_once() -> None:
    whole = backfill("*/7 * * * *", DAY, DAY + timedelta(hours=5))
    walked: list[datetime] = []
    while step := whole.times(walked[-1] if walked else None, 4):
        walked += step

    assert walked == whole.times(None, 1000)
    assert len(walked) == 5 * 9 + 1


def test_daylight_saving_is_that_of_the_schedule() -> None:
    spring = datetime(2026, 3, 8, tzinfo=UTC)
    times = backfill("30 2 * * *", spring, spring + timedelta(days=2), zone="America/New_York").times(None, 10)

    assert times == [datetime(2026, 3, 8, 7, tzinfo=UTC), datetime(2026, 3, 9, 6, 30, tzinfo=UTC)]


CHANGES = {
    "America/New_York": (datetime(2026, 3, 8, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)),
    "Europe/Berlin": (datetime(2026, 3, 28, 22, tzinfo=UTC), datetime(2026, 10, 24, 22, tzinfo=UTC)),
    # By half an hour.
    "Australia/Lord_Howe": (datetime(2026, 4, 4, tzinfo=UTC), datetime(2026, 10, 3, tzinfo=UTC)),
}


@pytest.mark.parametrize("cron", ["30 1 * * *", "30 2 * * *", "0 * * * *", "*/20 * * * *", "15 1-3 * * *"])
@pytest.mark.parametrize(("zone", "begin"), [(zone, one) for zone, both in CHANGES.items() for one in both], ids=str)
def test_over_a_change_of_the_clocks_it_has_the_times_that_the_schedule_fires_at(
    cron: str, zone: str, begin: datetime
) -> None:
    end, fired = begin + timedelta(days=2), []
    at = next_run(cron, zone, begin - timedelta(microseconds=1))
    while at is not None and at <= end:
        fired.append(at)
        at = next_run(cron, zone, at)

    whole, walked = backfill(cron, begin, end, zone=zone), []
    while step := whole.times(walked[-1] if walked else None, 7):
        walked += step

    assert len(fired) >= 2
    assert walked == whole.times(None, 1000) == fired


def test_a_one_time_cue_has_one() -> None:
    once = backfill(None, DAY, DAY + timedelta(hours=2), at=DAY)

    assert (once.times(None, 10), once.times(DAY, 10)) == ([DAY], [])
    assert backfill(None, DAY, DAY, at=DAY + timedelta(seconds=1)).times(None, 10) == []


def test_it_is_read_as_it_was_written() -> None:
    for one in (backfill("0 * * * *", DAY, NOW), backfill(None, DAY, NOW, at=DAY)):
        assert Backfill.of(one.scope()) == one


def test_a_time_to_come_and_the_wrong_order_are_refused() -> None:
    check_span(DAY, NOW, NOW)
    for since, until, name in ((DAY, NOW + timedelta(seconds=1), "body.to"), (NOW, DAY, "body.from")):
        with pytest.raises(Invalid, match=name):
            check_span(since, until, NOW)


def test_366_days_and_10000_times_are_the_most() -> None:
    check_span(NOW - timedelta(days=366), NOW, NOW)
    check_number(10_000)
    for check in (lambda: check_span(NOW - timedelta(days=366, seconds=1), NOW, NOW), lambda: check_number(10_001)):
        with pytest.raises(Refusal) as refused:
            check()
        assert refused.value.code == "too_many_times"
