"""`python -m tests.benchmarks [NAME …]`: measures, and shows what was reached. Ends by itself."""

import sys

import click
import trio

from cueapi import logs
from tests.benchmarks import api, deliveries, idle, lag, memory, pages, poll, start, statements, worker
from tests.benchmarks.size import FULL
from tests.benchmarks.table import Row, shown
from tests.storage.own_postgres import OwnPostgres, own_postgres

BENCHMARKS = {
    "deliveries": deliveries.measure,
    "lag": lag.measure,
    "burst": lag.measure_burst,
    "api": api.measure,
    "worker": worker.measure,
    "poll": poll.measure,
    "pages": pages.measure,
    "memory": memory.measure,
    "idle": idle.measure,
    "start": start.measure,
    "statements": statements.measure,
}

FOOTER = """
Compared is what was measured in turns in this very run; figures of several rounds are their median (least-most).
PostgreSQL ran with fsync off, but for `start`. Everything shared this machine's cores: the daemon, PostgreSQL, the
receiver and the load."""


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHMARKS)))
def main(names: tuple[str, ...]) -> None:
    """Measure NAMES, or everything."""
    # Siblings that run in this process: the table is all that is said.
    logs.set_up(None, "warning")
    with own_postgres() as server:
        rows = trio.run(_measure, server, names or tuple(BENCHMARKS))
    click.echo(shown(rows))
    click.echo(FOOTER)
    sys.exit(not all(row.reached for row in rows))


async def _measure(server: OwnPostgres, names: tuple[str, ...]) -> list[Row]:
    rows = []
    for name in names:
        click.echo(f"{name} …", err=True)
        rows += await BENCHMARKS[name](server, FULL)
    return rows


if __name__ == "__main__":
    main()
