"""Plots of single values: how late each request came, and how many deliveries were done from moment to moment."""

from pathlib import Path

from matplotlib.figure import Figure

from tests.benchmarks.lag import MEDIAN_GOAL, P99_GOAL
from tests.benchmarks.table import Row

BUCKET = 0.1
"""Seconds in which deliveries are counted."""


def plot_lag(row: Row, path: Path) -> None:
    """How late each cue's request came, in their order."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="request", ylabel="ms behind scheduled_for", title=f"lag: {row.measured}")
    for late in row.series:
        axes.plot(late, ".", markersize=3)
    axes.axhline(row.figure, color="black", linewidth=1, label=f"median {row.figure:.0f} ms")
    axes.axhline(MEDIAN_GOAL, color="green", linestyle="--", label=f"goal of the median, {MEDIAN_GOAL} ms")
    axes.axhline(P99_GOAL, color="red", linestyle="--", label=f"goal of 99 of 100, {P99_GOAL} ms")
    axes.set_yscale("log")
    axes.legend()
    figure.savefig(path)


def plot_throughput(row: Row, path: Path) -> None:
    """How many deliveries a second were written down, round by round."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    title = f"deliveries: {row.measured}\n{row.compared}"
    axes = figure.add_subplot(xlabel="seconds", ylabel="deliveries a second", title=title)
    for number, moments in enumerate(row.series, start=1):
        counts = [0] * (int(max(moments) / BUCKET) + 1)
        for moment in moments:
            counts[int(moment / BUCKET)] += 1
        edges = [BUCKET * each for each in range(len(counts) + 1)]
        axes.stairs([count / BUCKET for count in counts], edges, label=f"round {number}")
    axes.legend()
    figure.savefig(path)
