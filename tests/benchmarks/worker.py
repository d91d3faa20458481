"""How many executions a second workers take and report on, who claim 20 with a heartbeat."""

import json
from statistics import median

from attrs import asdict, evolve

from tests.benchmarks.filling import NEVER, Batch, add_cues, queue_executions
from tests.benchmarks.load import Ask
from tests.benchmarks.scene import Scene, open_scene, open_server, result_of
from tests.benchmarks.size import Size
from tests.benchmarks.table import Row
from tests.ports import free_port
from tests.storage.own_postgres import OwnPostgres

GOAL = 300


async def measure(server: OwnPostgres, size: Size) -> list[Row]:
    """Several workers of one user until nothing is left, in turns with a trivial route asked by as many."""
    port = free_port()
    trivial = Ask(port, "/", connections=size.workers, seconds=size.api_seconds)
    bare, ours = [], []
    async with open_scene(server) as scene:
        await add_cues(scene, Batch(size.work, NEVER))
        async with open_server(port, "-m", "tests.benchmarks.route", str(port), log=scene.home / "route.log"):
            for _ in range(size.rounds):
                bare.append(await result_of(scene.home, "-m", "tests.benchmarks.load", json.dumps(asdict(trivial))))
                ours.append(await _pull(scene, evolve(trivial, port=scene.port, key=scene.api.key)))
    measured = f"{size.work:,} executions, {size.workers} workers"
    ratio = median(one / other for one, other in zip(ours, bare, strict=True))
    compared = f"a trivial route: {median(bare):,.0f} a second (ratio {ratio:.2f})"
    return [Row("worker round trip", measured, compared, ours, GOAL, " a second")]


async def _pull(scene: Scene, ask: Ask) -> float:
    await queue_executions(scene)
    await scene.database.execute("analyze")
    speed = await result_of(scene.home, "-m", "tests.benchmarks.pulls", json.dumps(asdict(ask)))
    undone = await scene.database.fetch("select from executions where status <> 'success' limit 1")
    assert not undone, "an execution came back without its outcome"
    return speed
