"""Side by side with libraries that a user could pick instead: N jobs due at one moment, each a signed POST."""

import json
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import click
import trio

from tests.benchmarks.filling import Batch, add_cues, moment
from tests.benchmarks.scene import PATIENCE, open_database, open_scene, open_server, running, scratch
from tests.benchmarks.size import Size
from tests.benchmarks.table import Row, ratio
from tests.ports import free_port
from tests.storage.own_postgres import OwnPostgres

GOAL = 1.0
NEEDED = ("aiohttp", "uvicorn", "uvloop")
PEERS = {"pgqueuer": "pgqueuer", "awa-pg": "awa", "procrastinate": "procrastinate"}
"""What they are called, and their packages."""

PROGRAMS = "tests.benchmarks.programs"


def installed() -> list[str]:
    """The peers that can be measured here: all with the extra `benchmarks`."""
    if any(find_spec(name) is None for name in NEEDED):
        return []
    return [name for name, package in PEERS.items() if find_spec(package) is not None]


async def measure(server: OwnPostgres, size: Size) -> list[Row]:
    """One daemon and each peer in turns, as many jobs and as many at once, over the same receiver."""
    if not (names := installed()):
        click.echo("peers: not measured, they need pip install -e '.[test,benchmarks]'", err=True)
        return []
    ours, theirs = list[float](), dict[str, list[float]]({name: [] for name in names})
    with scratch() as home:
        async with _receiver(home) as url:
            for _ in range(size.peer_rounds):
                ours.append(await _our_rate(server, size, url))
                for name in names:
                    theirs[name].append(await _their_rate(server, size, url, name))
    return [
        ratio(f"peers: {name}", ours, rates, goal=GOAL, unit="a second", what=name) for name, rates in theirs.items()
    ]


@asynccontextmanager
async def _receiver(home: Path) -> AsyncIterator[str]:
    port = free_port()
    async with open_server(port, "-m", f"{PROGRAMS}.arrivals", str(port), log=home / "arrivals.log"):
        yield f"http://127.0.0.1:{port}"


async def _our_rate(server: OwnPostgres, size: Size, url: str) -> float:
    async with open_scene(server) as scene:
        due = await moment(scene, size.ahead)
        await add_cues(scene, Batch(size.peer_jobs, due, 0.0, f"{url}/hook"))
        return await _rate(url, size, due.timestamp())


async def _their_rate(server: OwnPostgres, size: Size, url: str, name: str) -> float:
    with scratch() as home:
        async with open_database(server) as dsn:
            due = time.time() + size.peer_ahead
            arguments = (dsn, f"{url}/hook", str(size.peer_jobs), str(due))
            program = f"{PROGRAMS}.with_{PEERS[name]}"
            async with running("-m", program, *arguments, log=home / "peer.log"):
                return await _rate(url, size, due)


async def _rate(url: str, size: Size, due: float) -> float:
    """How many came a second, from the first after *due* to the last."""
    seen: list[float] = []
    with trio.fail_after(size.peer_ahead + PATIENCE):
        while len(seen) < size.peer_jobs:
            await trio.sleep(0.1)
            seen += await trio.to_thread.run_sync(_fetch, f"{url}/seen")
    seen.sort()
    last = seen[size.peer_jobs - 1]
    return size.peer_jobs / (last - max(seen[0], due))


def _fetch(url: str) -> list[float]:
    with urllib.request.urlopen(url) as answer:
        moments: list[float] = json.load(answer)
    return moments
