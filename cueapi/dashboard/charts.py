"""The geometry of charts: plain numbers, which templates write into SVG."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from math import log10

from attrs import frozen

from cueapi.storage.dashboard.now import BucketRow

BUCKET = timedelta(minutes=5)
BUCKETS = 288
"""Five-minute bars of a day."""

DAY_WIDTH, BAR_FIELD, LAG_FIELD = 4 * BUCKETS, 64, 24
"""Units of the drawing: its width, and the heights of the bars and of the lag's line above them."""

SMALLEST = 3
"""Units that something rare is high at least."""


@frozen
class Segment:
    """A part of a bar."""

    sign: str
    y: float
    height: float


@frozen
class Bar:
    """Five minutes in which something ended."""

    x: int
    row: BucketRow
    segments: list[Segment]
    top: float

    @property
    def until(self) -> datetime:
        """When they ended."""
        return self.row.bucket + BUCKET


@frozen
class Day:
    """A day in bars, its totals, and how late executions have begun, in milliseconds."""

    begins: datetime
    bars: list[Bar]
    lag_line: str
    succeeded: int
    failed: int
    missed: int
    lag_mean: float | None
    lag_max: int | None

    @property
    def hours(self) -> list[datetime]:
        """Moments for the axis, three hours apart."""
        return [self.begins + timedelta(hours=hours) for hours in range(0, 25, 3)]

    @property
    def total(self) -> int:
        """How many executions ended."""
        return self.succeeded + self.failed + self.missed


def day(rows: Sequence[BucketRow], now: datetime) -> Day:
    """The last day until *now*, drawn."""
    begins = datetime.fromtimestamp(now.timestamp() // 300 * 300, now.tzinfo) - (BUCKETS - 1) * BUCKET
    rows = [row for row in rows if begins <= row.bucket]
    most = max((row.succeeded + row.failed + row.missed for row in rows), default=0)
    bars = [_bar(row, begins, most) for row in rows if row.succeeded + row.failed + row.missed]
    begun = [(row.lag_mean, row.succeeded + row.failed) for row in rows if row.lag_mean is not None]
    weight = sum(count for _, count in begun)
    return Day(
        begins,
        bars,
        _lag_line(rows, begins),
        sum(row.succeeded for row in rows),
        sum(row.failed for row in rows),
        sum(row.missed for row in rows),
        sum(mean * count for mean, count in begun) / weight if weight else None,
        max((row.lag_max for row in rows if row.lag_max is not None), default=None),
    )


def _place(moment: datetime, begins: datetime) -> int:
    return round((moment - begins) / BUCKET) * 4


def _bar(row: BucketRow, begins: datetime, most: int) -> Bar:
    """Succeeded below, failed and missed upon it; what is rare can be seen all the same."""
    segments, top = [], float(LAG_FIELD + BAR_FIELD)
    for sign, count in (("succeeded", row.succeeded), ("failed", row.failed), ("missed", row.missed)):
        if count:
            height = max(round(count / most * (BAR_FIELD - 3 * SMALLEST), 1), SMALLEST)
            top -= height
            segments.append(Segment(sign, round(top, 1), height))
    return Bar(_place(row.bucket, begins), row, segments, round(top, 1))


def _lag_line(rows: Iterable[BucketRow], begins: datetime) -> str:
    """The greatest lag of each five minutes, logarithmically from 1 ms to an hour; broken where nothing began."""
    path: list[str] = []
    last: int | None = None
    for row in rows:
        if row.lag_max is None:
            continue
        x = _place(row.bucket, begins) + 2
        y = round(LAG_FIELD - 2 - (LAG_FIELD - 4) * min(log10(max(row.lag_max, 1)) / log10(3_600_000), 1), 1)
        path.append(f"{'M' if last is None or x - last > 96 else 'L'}{x} {y}")
        last = x
    # A line of one point has a length of nothing, and a round end.
    return "".join(path) + ("h0" if len(path) == 1 else "")


@frozen
class Mark:
    """An execution of a cue's history: its sign, how long it took in seconds, and what it says in words."""

    sign: str
    seconds: float | None
    title: str


@frozen
class HistoryBar:
    """A bar of a history; of an execution that there was not yet, *mark* is None."""

    x: int
    height: int
    mark: Mark | None


HISTORY = 30
"""Bars of a history, 5 wide and 2 apart; the highest is 18."""


def history(marks: Sequence[Mark]) -> list[HistoryBar]:
    """The last executions of a cue as bars, the newest (the first of *marks*) at the right; higher is longer."""
    newest = [*marks[:HISTORY], *[None] * (HISTORY - len(marks))]
    return [HistoryBar(7 * at, _height(mark), mark) for at, mark in enumerate(reversed(newest))]


def _height(mark: Mark | None) -> int:
    if mark is None or mark.seconds is None:
        return 6
    # From 10 ms to an hour, logarithmically.
    return round(4 + 14 * min(max(log10(max(mark.seconds, 0.01) / 0.01) / log10(360_000), 0), 1))
