"""How long a daemon with the embedded database takes from its start until it says that it is ready."""

import time
from pathlib import Path

from tests.benchmarks.scene import scratch
from tests.benchmarks.size import Size
from tests.benchmarks.table import Row
from tests.process import daemon_process
from tests.storage.own_postgres import OwnPostgres

FIRST_GOAL, LATER_GOAL = 10, 3


async def measure(_server: OwnPostgres, size: Size) -> list[Row]:
    """The first start makes the database and its schema; the later ones find them."""
    with scratch() as home:
        first = await _start(home)
        later = [await _start(home) for _ in range(size.rounds)]
    how, what = "until /status is 200", "the start of the process"
    return [
        Row("start, the first", how, what, [first], FIRST_GOAL, " s", at_most=True),
        Row("start, later", how, what, later, LATER_GOAL, " s", at_most=True),
    ]


async def _start(home: Path) -> float:
    begun = time.perf_counter()
    async with daemon_process(home, fresh=True) as daemon:
        took = time.perf_counter() - begun
        assert await daemon.stop() == 0
    return took
