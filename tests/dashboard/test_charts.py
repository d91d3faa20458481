"""Charts say what the numbers say, and what is rare can be seen."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from attrs import frozen

from cueapi.dashboard import charts
from cueapi.dashboard.charts import BAR_FIELD, LAG_FIELD, RANGES, SMALLEST, Mark

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


def drawn(*rows: Row, until_now: str = "24h") -> charts.Strip:
    return charts.strip(rows, NOW, RANGES[until_now])  # type: ignore[arg-type] # rows of PostgreSQL have the same columns


def test_a_day_has_288_places_of_which_the_last_is_now() -> None:
    first = LAST - timedelta(minutes=5 * 287)

    day = drawn(Row(first, 1), Row(LAST, 1))

    assert (day.begins, day.marks[0], day.marks[-1]) == (first, first, first + timedelta(hours=24))
    assert [bar.x for bar in day.bars] == [0, charts.WIDTH - 4]
    assert [bar.number for bar in day.bars] == [0, 287]


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("7d", datetime(2026, 11, 22, 21, tzinfo=UTC)),
        ("30d", datetime(2026, 10, 31, tzinfo=UTC)),
        ("90d", datetime(2026, 9, 1, tzinfo=UTC)),
    ],
)
def test_a_longer_range_has_a_bar_for_each_hour_or_day_of_which_the_last_is_now(name: str, begins: datetime) -> None:
    wanted = RANGES[name]
    rows = [Row(begins + number * wanted.step, 1) for number in range(-1, wanted.steps)]

    strip = drawn(*rows, until_now=name)

    assert (strip.begins, strip.total, strip.marks[0]) == (begins, wanted.steps, begins)
    assert strip.bars[-1].row.bucket <= NOW < strip.bars[-1].until
    assert (strip.bars[0].x, strip.bars[-1].x) == (0, pytest.approx(charts.WIDTH - wanted.width, abs=0.1))
    assert all(bar.x + bar.width < after.x for bar, after in pairwise(strip.bars))
    assert strip.lag_line == ""


def test_the_line_of_the_lag_goes_on_from_day_to_day_and_breaks_where_a_day_is_missing() -> None:
    days = [datetime(2026, 11, day, tzinfo=UTC) for day in (20, 21, 23, 24)]

    line = drawn(*(Row(day, 1, lag_mean=5.0, lag_max=9) for day in days), until_now="30d").lag_line

    assert [part for part in line if part.isalpha()] == ["M", "L", "M", "L"]


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
