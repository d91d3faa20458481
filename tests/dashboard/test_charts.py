"""Charts say what the numbers say, and what is rare can be seen."""

from datetime import UTC, datetime, timedelta

import pytest
from attrs import frozen

from cueapi.dashboard import charts
from cueapi.dashboard.charts import BAR_FIELD, LAG_FIELD, SMALLEST, Mark

NOW = datetime(2026, 11, 29, 20, 47, 13, tzinfo=UTC)
LAST = datetime(2026, 11, 29, 20, 45, tzinfo=UTC)


@frozen
class Row:
    """Five minutes, as the read model gives them."""

    bucket: datetime
    succeeded: int = 0
    failed: int = 0
    missed: int = 0
    lag_mean: float | None = None
    lag_max: int | None = None


def drawn(*rows: Row) -> charts.Day:
    return charts.day(rows, NOW)  # type: ignore[arg-type] # rows of PostgreSQL have the same columns


def test_a_day_has_288_places_of_which_the_last_is_now() -> None:
    first = LAST - timedelta(minutes=5 * 287)

    day = drawn(Row(first, 1), Row(LAST, 1))

    assert (day.begins, day.hours[0], day.hours[-1]) == (first, first, first + timedelta(hours=24))
    assert [bar.x for bar in day.bars] == [0, charts.DAY_WIDTH - 4]


def test_what_ended_before_the_day_is_not_counted() -> None:
    day = drawn(Row(LAST - timedelta(days=1), succeeded=7), Row(LAST, succeeded=2, failed=3, missed=4))

    assert (day.succeeded, day.failed, day.missed, day.total) == (2, 3, 4, 9)
    assert len(day.bars) == 1


def test_one_failure_among_thousands_has_a_height() -> None:
    (bar,) = drawn(Row(LAST, succeeded=100_000, failed=1, missed=1)).bars

    heights = {part.sign: part.height for part in bar.segments}
    assert [part.sign for part in bar.segments] == ["succeeded", "failed", "missed"]
    assert heights["failed"] == heights["missed"] == SMALLEST
    assert sum(heights.values()) <= BAR_FIELD
    assert bar.top == pytest.approx(LAG_FIELD + BAR_FIELD - sum(heights.values()), abs=0.2)


def test_lags_are_weighted_by_what_began_and_the_line_breaks_where_nothing_did() -> None:
    rows = [
        Row(LAST - timedelta(hours=9), succeeded=3, lag_mean=10.0, lag_max=20),
        Row(LAST - timedelta(minutes=5), succeeded=1, lag_mean=50.0, lag_max=3_600_000),
        Row(LAST, missed=5),
    ]

    day = drawn(*rows)

    assert (day.lag_mean, day.lag_max) == (20.0, 3_600_000)
    assert day.lag_line.count("M") == 2
    assert day.lag_line.endswith(" 2.0")  # an hour is at the top
    assert drawn().lag_line == ""
    assert drawn(rows[0]).lag_line.endswith("h0")


def test_a_history_has_thirty_bars_with_the_newest_at_the_right() -> None:
    marks = [Mark("failed", 3_600.0, "newest"), Mark("succeeded", 0.01, "oldest")]

    bars = charts.history(marks)

    assert len(bars) == 30
    assert [bar.mark for bar in bars[:28]] == [None] * 28
    assert [bar.mark and bar.mark.title for bar in bars[28:]] == ["oldest", "newest"]
    assert [bar.height for bar in bars[28:]] == [4, 18]
    assert [bar.x for bar in bars] == [7 * at for at in range(30)]


def test_of_more_executions_a_history_shows_the_newest() -> None:
    bars = charts.history([Mark("succeeded", float(10**at), str(at)) for at in range(40)])

    assert [bar.mark and bar.mark.title for bar in bars] == [str(at) for at in reversed(range(30))]
    assert max(bar.height for bar in bars) == 18
