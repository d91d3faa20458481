"""What became of the last executions of a cue: as bars, in words, in figures."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from math import ceil
from typing import Protocol

from attrs import frozen

from cueapi.dashboard.charts import HISTORY, HistoryBar, Mark, history
from cueapi.dashboard.filters import duration
from cueapi.dashboard.states import Standing, state_of


class Ended(Standing, Protocol):
    """An execution, and how long it took."""

    @property
    def duration_ms(self) -> int | None:
        """Of its last attempt."""
        ...

    @property
    def created_at(self) -> datetime:
        """When it was made."""
        ...

    @property
    def finished_at(self) -> datetime | None:
        """When it ended."""
        ...


@frozen
class CueHistory:
    """The bars of a cue's history, and what they say in words."""

    bars: list[HistoryBar]
    label: str


@frozen
class CueFigures:
    """Of the newest executions of a cue: how many, how they ended by sign, and their durations in seconds."""

    number: int
    signs: list[tuple[str, int]]
    median: float | None
    p95: float | None


def cue_history(newest: Sequence[Ended], now: datetime) -> CueHistory:
    """The history of a cue whose executions are given, the newest first."""
    newest = newest[:HISTORY]
    return CueHistory(history([_mark(one) for one in newest]), _label(newest, now))


def figures(newest: Sequence[Ended]) -> CueFigures:
    """The figures of *newest*."""
    signs = Counter(state_of(one).sign for one in newest)
    seconds = sorted(one.duration_ms / 1000 for one in newest if one.duration_ms is not None)
    order = ("succeeded", "failed", "missed", "running", "waiting", "unknown")
    return CueFigures(
        len(newest), [(sign, signs[sign]) for sign in order if signs[sign]], _part(seconds, 0.5), _part(seconds, 0.95)
    )


def _part(ascending: list[float], share: float) -> float | None:
    """The least of *ascending* that so many are not beyond (nearest rank)."""
    return ascending[max(ceil(share * len(ascending)) - 1, 0)] if ascending else None


def _mark(execution: Ended) -> Mark:
    state = state_of(execution)
    seconds = None if execution.duration_ms is None else execution.duration_ms / 1000
    took = "" if seconds is None else f", {duration(seconds)}"
    return Mark(state.sign, seconds, f"{state.word}{took}, {execution.created_at:%Y-%m-%d %H:%M:%S} UTC")


def _label(newest: Sequence[Ended], now: datetime) -> str:
    if not newest:
        return "no executions yet"
    last = newest[0]
    done = sum(state_of(one).sign == "succeeded" for one in newest)
    seconds = (now - (last.finished_at or last.created_at)).total_seconds()
    # Not by the second: what does not change needs not be replaced on the page.
    when = "just now" if seconds < 60 else f"{duration(seconds // 60 * 60)} ago"
    return f"{done} of the last {len(newest)} succeeded; the last one: {state_of(last).word} {when}"
