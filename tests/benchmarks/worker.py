"""How many executions a second workers take and report on, who claim 20 with a heartbeat."""

import json

from attrs import asdict, evolve

from tests.benchmarks.filling import NEVER, Batch, add_cues, queue_executions
from tests.benchmarks.load import Ask
from tests.benchmarks.scene import Scene, open_scene, open_server, result_of
from tests.benchmarks.size import Size
from tests.benchmarks.table import Row, ratio
from tests.ports import free_port
from tests.storage.own_postgres import OwnPostgres

GOAL = 0.5
"""Of the answers of a trivial route. 20 executions are claimed by one heartbeat; each is reported on by itself."""


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
    return [ratio("worker round trip", ours, bare, goal=GOAL, unit="a second", what="a trivial route")]


async def _pull(scene: Scene, ask: Ask) -> float:
    await queue_executions(scene)
    await scene.database.execute("analyze")
    speed = await result_of(scene.home, "-m", "tests.benchmarks.pulls", json.dumps(asdict(ask)))
    undone = await scene.database.fetch("select from executions where status <> 'success' limit 1")
    assert not undone, "an execution came back without its outcome"
    return speed
