"""How long after its time a cue's request arrives; and the last one, of many that are due at one moment."""

import json
from datetime import datetime
from pathlib import Path
from statistics import quantiles
from typing import Any

import trio

from tests.benchmarks.filling import Batch, add_cues, moment
from tests.benchmarks.scene import PATIENCE, open_receiver, open_scene
from tests.benchmarks.size import Size
from tests.benchmarks.table import Row
from tests.storage.own_postgres import OwnPostgres

MEDIAN_GOAL, P99_GOAL, BURST_GOAL = 100, 500, 3
MEDIAN = "lag, median"
SINCE = "its scheduled_for"


async def measure(server: OwnPostgres, size: Size) -> list[Row]:
    """One-time cues one after the other."""
    cues = int(size.rate * size.lag_seconds)
    late = [1000 * each for each in await _lateness(server, cues, step=1 / size.rate, ahead=size.ahead)]
    cuts = quantiles(late, n=100, method="inclusive")
    how = f"{cues:,} cues, {size.rate} a second, worst {max(late):.0f} ms"
    return [
        Row(MEDIAN, how, SINCE, [cuts[49]], MEDIAN_GOAL, " ms", at_most=True, series=[late]),
        Row("lag, 99 of 100", how, SINCE, [cuts[98]], P99_GOAL, " ms", at_most=True),
    ]


async def measure_burst(server: OwnPostgres, size: Size) -> list[Row]:
    """One-time cues of one moment: the last request."""
    rounds = [await _lateness(server, size.burst, step=0.0, ahead=size.ahead) for _ in range(size.rounds)]
    first = min(min(late) for late in rounds)
    how = f"{size.burst:,} cues, the first after {1000 * first:.0f} ms"
    return [Row("burst, last", how, SINCE, [max(late) for late in rounds], BURST_GOAL, " s", at_most=True)]


async def _lateness(server: OwnPostgres, cues: int, *, step: float, ahead: float) -> list[float]:
    """Seconds from `scheduled_for` to the arrival of each request."""
    async with open_scene(server) as scene:
        log = scene.home / "requests"
        async with open_receiver(scene.home, "--log", str(log)) as url:
            await add_cues(scene, Batch(cues, await moment(scene, ahead), step, url))
            await trio.sleep(ahead + cues * step)
            return await lateness_in(log, cues, patience=PATIENCE)


async def lateness_in(log: Path, cues: int, *, patience: float) -> list[float]:
    """Seconds from `scheduled_for` to the arrival of each request in a receiver's log, as soon as there are so many."""
    with trio.fail_after(patience):
        while len(lines := _lines(log)) < cues:
            await trio.sleep(0.1)
    return [_late(json.loads(line)) for line in lines]


def _lines(log: Path) -> list[str]:
    return log.read_text().splitlines()


def _late(request: dict[str, Any]) -> float:
    headers = {name.lower(): value for name, value in request["headers"]}
    due = datetime.fromisoformat(headers["x-cueapi-scheduled-for"])
    return float(request["at"] - due.timestamp())
