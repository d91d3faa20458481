"""`python -m tests.benchmarks [NAME …]`: measures, and shows what was reached. Ends by itself."""

import os
import platform
import sys
from pathlib import Path

import click
import trio

from cueapi import logs
from tests.benchmarks import (
    api,
    dashboard,
    deliveries,
    idle,
    lag,
    memory,
    pages,
    peers,
    poll,
    replays,
    report,
    start,
    statements,
    streams,
    worker,
)
from tests.benchmarks.profile import profile_deliveries
from tests.benchmarks.size import FULL
from tests.benchmarks.table import Row, shown
from tests.storage.own_postgres import OwnPostgres, own_postgres

BENCHMARKS = {
    "deliveries": deliveries.measure,
    "lag": lag.measure,
    "burst": lag.measure_burst,
    "replays": replays.measure,
    "api": api.measure,
    "worker": worker.measure,
    "poll": poll.measure,
    "pages": pages.measure,
    "dashboard": dashboard.measure,
    "memory": memory.measure,
    "idle": idle.measure,
    "start": start.measure,
    "statements": statements.measure,
    "streams": streams.measure,
    "peers": peers.measure,
}

FOOTER = """
Compared is what was measured in turns in this very run; figures of several rounds are their median (least-most).
PostgreSQL ran with fsync off, but for `start`. Everything shared this machine's cores: the daemon, PostgreSQL, the
receiver and the load. {conditions}"""


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHMARKS)))
@click.option(
    "--report", "folder", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
    help="Write the table, plots and a profile of deliveries there, too; needs the extra `benchmarks`.",
)  # fmt: skip
def main(names: tuple[str, ...], folder: Path | None) -> None:
    """Measure NAMES, or everything."""
    # Siblings that run in this process: the table is all that is said.
    logs.set_up(None, "warning")
    if folder is not None and (missing := report.missing()):
        raise click.UsageError(f"--report needs {missing}: pip install -e '.[test,benchmarks]'")
    load = os.getloadavg()
    with own_postgres() as server:
        rows = trio.run(_measure, server, names or tuple(BENCHMARKS))
        profile = trio.run(profile_deliveries, server, FULL) if folder is not None else ""
    footer = FOOTER.format(conditions=_conditions(load))
    click.echo(f"{shown(rows)}\n{footer}")
    if folder is not None:
        report.write(folder, rows, footer, profile)
    sys.exit(not all(row.reached for row in rows))


async def _measure(server: OwnPostgres, names: tuple[str, ...]) -> list[Row]:
    rows = []
    for name in names:
        click.echo(f"{name} …", err=True)
        rows += await BENCHMARKS[name](server, FULL)
    return rows


def _conditions(before: tuple[float, float, float]) -> str:
    """What a reader must know of the machine: whoever else works on it makes the figures worse."""
    load = f"{os.cpu_count()} cores; load {before[0]:.1f} before it began, {os.getloadavg()[0]:.1f} at its end"
    return f"{load} (by itself this makes about 2); Python {platform.python_version()} on {platform.system()}."


if __name__ == "__main__":
    main()
