"""Each benchmark runs and produces its rows. How fast things are is no fact that a test could state."""

import pytest

from tests.benchmarks.__main__ import BENCHMARKS
from tests.benchmarks.peers import installed
from tests.benchmarks.size import TINY
from tests.benchmarks.table import shown
from tests.storage.own_postgres import OwnPostgres

ROWS = {
    "deliveries": 3,
    "lag": 2,
    "burst": 1,
    "replays": 1,
    "api": 5,
    "worker": 1,
    "poll": 1,
    "pages": 2,
    "dashboard": 47,
    "memory": 2,
    "idle": 1,
    "start": 2,
    "statements": 2,
    "streams": 3,
    "peers": len(installed()),
}


@pytest.mark.parametrize("name", BENCHMARKS)
async def test_a_benchmark_produces_its_rows(name: str, own_server: OwnPostgres) -> None:
    rows = await BENCHMARKS[name](own_server, TINY)
    assert len(rows) == ROWS[name]
    assert all(row.figure > 0 or row.at_most for row in rows)
    assert not rows or len(shown(rows).splitlines()) == 1 + len(rows)
