"""The geometry of charts: plain numbers, which templates write into SVG."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from math import log10

from attrs import frozen

from cueapi.storage.dashboard.now import BucketRow

WIDTH, BAR_FIELD, LAG_FIELD = 1152, 64, 24
"""Units of the drawing: its width, and the heights of the bars and of the lag's line above them."""

SMALLEST = 3
"""Units that something rare is high at least."""

_ORIGIN = datetime(2000, 1, 1, tzinfo=UTC)
"""Steps are counted from here, as PostgreSQL does."""

_BREAK = timedelta(hours=2)
"""Where nothing began for longer, the line of the lag breaks."""


@frozen
class Range:
    """A length of time until now, in *words*: so many *steps*, and how many of them lie between two *marks* below."""

    words: str
    step: timedelta
    steps: int
    marks: int

    @property
    def by_day(self) -> bool:
        """Whether its steps are days, which are those of UTC."""
        return self.step == timedelta(days=1)

    @property
    def width(self) -> float:
        """Units of a step."""
        return WIDTH / self.steps

    def begins(self, now: datetime) -> datetime:
        """When the first of its steps began."""
        return now - (now - _ORIGIN) % self.step - (self.steps - 1) * self.step


RANGES = {
    "24h": Range("24 hours", timedelta(minutes=5), 288, 36),
    "7d": Range("7 days", timedelta(hours=1), 168, 24),
    "30d": Range("30 days", timedelta(days=1), 30, 5),
    "90d": Range("90 days", timedelta(days=1), 90, 15),
}
"""By their names in a query; the first one is shown unless another is asked for."""


@frozen
class Segment:
    """A part of a bar."""

    sign: str
    y: float
    height: float


@frozen
class Bar:
    """A step in which something ended; *number* counts them from the first one of the range."""

    number: int
    x: float
    width: float
    row: BucketRow
    segments: list[Segment]
    top: float
    until: datetime

    @property
    def middle(self) -> float:
        """Where a mark above it stands."""
        return round(self.x + self.width / 2, 1)


@frozen
class Strip:
    """A range in bars, its totals, and how late executions have begun, in milliseconds."""

    range: Range
    begins: datetime
    bars: list[Bar]
    lag_line: str
    succeeded: int
    failed: int
    missed: int
    lag_mean: float | None
    lag_max: int | None

    @property
    def marks(self) -> list[datetime]:
        """Moments for the axis."""
        return [self.begins + steps * self.range.step for steps in range(0, self.range.steps + 1, self.range.marks)]

    @property
    def total(self) -> int:
        """How many executions ended."""
        return self.succeeded + self.failed + self.missed


def strip(rows: Sequence[BucketRow], now: datetime, wanted: Range) -> Strip:
    """What has ended in *wanted* until *now*, drawn."""
    begins = wanted.begins(now)
    rows = [row for row in rows if begins <= row.bucket]
    most = max((row.succeeded + row.failed + row.missed for row in rows), default=0)
    bars = [_bar(row, begins, most, wanted) for row in rows if row.succeeded + row.failed + row.missed]
    begun = [(row.lag_mean, row.succeeded + row.failed) for row in rows if row.lag_mean is not None]
    weight = sum(count for _, count in begun)
    return Strip(
        wanted,
        begins,
        bars,
        _lag_line(rows, begins, wanted),
        sum(row.succeeded for row in rows),
        sum(row.failed for row in rows),
        sum(row.missed for row in rows),
        sum(mean * count for mean, count in begun) / weight if weight else None,
        max((row.lag_max for row in rows if row.lag_max is not None), default=None),
    )


def _bar(row: BucketRow, begins: datetime, most: int, wanted: Range) -> Bar:
    """Succeeded below, failed and missed upon it; what is rare can be seen all the same."""
    segments, top = [], float(LAG_FIELD + BAR_FIELD)
    for sign, count in (("succeeded", row.succeeded), ("failed", row.failed), ("missed", row.missed)):
        if count:
            height = max(round(count / most * (BAR_FIELD - 3 * SMALLEST), 1), SMALLEST)
            top -= height
            segments.append(Segment(sign, round(top, 1), height))
    number = (row.bucket - begins) // wanted.step
    place, width = round(number * wanted.width, 1), round(wanted.width * 0.75, 1)
    return Bar(number, place, width, row, segments, round(top, 1), row.bucket + wanted.step)


def _lag_line(rows: Iterable[BucketRow], begins: datetime, wanted: Range) -> str:
    """The greatest lag of each step, logarithmically from 1 ms to an hour; broken where nothing began for long."""
    path: list[str] = []
    last: datetime | None = None
    for row in rows:
        if row.lag_max is None:
            continue
        x = round(((row.bucket - begins) // wanted.step + 0.5) * wanted.width, 1)
        y = round(LAG_FIELD - 2 - (LAG_FIELD - 4) * min(log10(max(row.lag_max, 1)) / log10(3_600_000), 1), 1)
        goes_on = last is not None and row.bucket - last <= max(_BREAK, wanted.step)
        path.append(f"{'L' if goes_on else 'M'}{x:g} {y}")
        last = row.bucket
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
