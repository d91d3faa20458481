"""How many SQL statements a poll and a pile of deliveries take, counted in the server's log."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

import trio
from attrs import frozen

from cueapi.trio_asyncpg.connection import Connection, close, connect
from tests.benchmarks.filling import NEVER, Batch, add_cues, deliver_all, moment, queue_executions
from tests.benchmarks.scene import OURS, Scene, open_receiver, open_scene
from tests.benchmarks.size import Size
from tests.benchmarks.table import Row
from tests.storage.own_postgres import OwnPostgres

POLL_GOAL, DELIVERIES_GOAL = 6, 10
PREFIX = "%d [%a] "
AHEAD, POLL_TAKES = 0.5, 0.5
"""Seconds from making cues until they are due, and until nothing is said of them any more."""


async def measure(server: OwnPostgres, size: Size) -> list[Row]:
    """A poll that fires worker cues, and deliveries that wait already: each is counted by itself."""
    # The first rounds are not counted: on a new connection asyncpg asks for the types that it does not know.
    rounds = range(size.warm_up + size.rounds)
    async with open_scene(server) as scene, logged(server, scene) as log:
        polls = [await _poll(scene, log, size) for _ in rounds]
        await scene.database.execute("delete from cues")
        async with open_receiver(scene.home, "--quiet") as url:
            await add_cues(scene, Batch(size.batch, NEVER, url=url))
            deliveries = [await _deliver(scene, log) for _ in rounds]
    return [
        _row(f"statements, poll of {size.batch}", polls[size.warm_up :], POLL_GOAL, size),
        _row(f"statements, {size.batch} deliveries", deliveries[size.warm_up :], DELIVERIES_GOAL, size),
    ]


async def _poll(scene: Scene, log: "Log", size: Size) -> int:
    await add_cues(scene, Batch(size.batch, await moment(scene, AHEAD)))
    await trio.sleep(AHEAD / 2)
    begun = log.end()
    await trio.sleep(AHEAD / 2 + POLL_TAKES)
    return log.statements_since(begun)


async def _deliver(scene: Scene, log: "Log") -> int:
    await queue_executions(scene)
    begun = log.end()
    await deliver_all(scene)
    return log.statements_since(begun)


def _row(name: str, counts: list[int], goal: int, size: Size) -> Row:
    compared = f"one for each: {size.batch} (ratio {median(counts) / size.batch:.2g})"
    return Row(name, "the server's log", compared, counts, goal, at_most=True)


@frozen
class Log:
    """The statements that everybody but ourselves said in one database, in the server's log."""

    path: Path
    database: str

    def end(self) -> int:
        """Where the log ends now."""
        return self.path.stat().st_size

    def lines_since(self, begin: int) -> list[str]:
        """The first line of each entry behind *begin*; ours are left out."""
        with self.path.open("rb") as log:
            log.seek(begin)
            heads = [line for line in log.read().decode().splitlines() if line.startswith(f"{self.database} [")]
        return [line for line in heads if not line.startswith(f"{self.database} [{OURS}]")]

    def statements_since(self, begin: int) -> int:
        """How many stand behind *begin*; all that the daemon says counts, also what has nothing to do with it."""
        return sum("LOG:  execute " in line or "LOG:  statement: " in line for line in self.lines_since(begin))


@asynccontextmanager
async def logged(server: OwnPostgres, scene: Scene, what: str = "log_statement = 'all'") -> AsyncIterator[Log]:
    """Have the server log every statement while the block runs, or whatever the setting *what* has it log."""
    (row,) = await scene.database.fetch("select current_database() as name")
    connection = await connect(server.dsn)
    try:
        await _say(connection, f"alter system set {what}", f"alter system set log_line_prefix = '{PREFIX}'")
        # The postmaster tells all of its servers at once.
        while await connection.fetchval("show log_line_prefix") != PREFIX:
            await trio.sleep(0.01)
        yield Log(server.home / "log", row["name"])
    finally:
        with trio.move_on_after(10, shield=True):
            await _say(connection, "alter system reset all")
            await close(connection)


async def _say(connection: Connection, *statements: str) -> None:
    for statement in (*statements, "select pg_reload_conf()"):
        await connection.execute(statement)
