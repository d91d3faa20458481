"""What was measured, as files: the table, plots of lag and of throughput, and where the daemon's time goes."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from tests.benchmarks import deliveries, lag
from tests.benchmarks.profile import SPY
from tests.benchmarks.table import HEAD, Row


def missing() -> str:
    """What a report needs and is not installed; empty where nothing is missing."""
    lacks = {"matplotlib": find_spec("matplotlib") is None, "py-spy": not SPY.exists()}
    return " and ".join(name for name, lacking in lacks.items() if lacking)


def write(folder: Path, rows: Sequence[Row], footer: str, profile: str) -> None:
    """Write report.md, profile.txt, and a plot of each row that has one, into *folder*."""
    # Only a report needs matplotlib.
    from tests.benchmarks.plots import plot_lag, plot_throughput

    folder.mkdir(parents=True, exist_ok=True)
    plots = {lag.MEDIAN: ("lag.png", plot_lag), deliveries.NAME: ("throughput.png", plot_throughput)}
    images = []
    for row in rows:
        if row.name in plots:
            name, plot = plots[row.name]
            plot(row, folder / name)
            images.append(name)
    (folder / "profile.txt").write_text(profile)
    (folder / "report.md").write_text(markdown(rows, footer, images))


def markdown(rows: Sequence[Row], footer: str, images: Sequence[str]) -> str:
    """The table, what must be known to read it, and the plots."""
    lines = [HEAD, ["---"] * len(HEAD), *(row.cells() for row in rows)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    shown = "\n".join(f"![{name.removesuffix('.png')}]({name})\n" for name in images)
    return (
        f"# Benchmarks\n\n{table}\n{footer}\n\nWhere the time of deliveries goes: [profile.txt](profile.txt)\n\n{shown}"
    )
