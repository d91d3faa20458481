"""How many requests a second the API answers, beside a trivial route on the same server program."""

import json

from attrs import asdict, evolve, frozen

from tests.benchmarks.filling import NEVER, Batch, add_cues, deliver_all, queue_executions
from tests.benchmarks.load import Ask
from tests.benchmarks.scene import Scene, open_receiver, open_scene, open_server, result_of
from tests.benchmarks.size import Size
from tests.benchmarks.table import Row, ratio
from tests.ports import free_port
from tests.storage.own_postgres import OwnPostgres

CUE = {
    "name": "cue {unique}",
    "schedule": {"type": "recurring", "cron": "0 9 * * *", "timezone": "Europe/Berlin"},
    "callback": {"url": "http://127.0.0.1:9/run"},
    "payload": {"task": "daily_brief", "limit": 10},
}
HEARTBEAT = {"worker_id": "worker-{line}", "handlers": ["daily_brief"]}


@frozen
class Kind:
    """A kind of request, and which share of the trivial route's speed it must reach."""

    name: str
    goal: float
    ask: Ask


async def measure(server: OwnPostgres, size: Size) -> list[Row]:
    """Each kind of request in turns with the trivial route; the account has a history."""
    port = free_port()
    trivial = Ask(port, "/", connections=size.connections, seconds=size.api_seconds)
    async with open_scene(server) as scene:
        await _make_history(scene, size)
        async with open_server(port, "-m", "tests.benchmarks.route", str(port), log=scene.home / "route.log"):
            kinds = await _kinds(scene, evolve(trivial, port=scene.port, key=scene.api.key))
            return [await _compare(scene, kind, trivial, size) for kind in kinds]


async def _kinds(scene: Scene, ask: Ask) -> list[Kind]:
    (cue,) = (await scene.api.get("/v1/cues?limit=1"))["cues"]
    return [
        Kind("read a cue", 0.8, evolve(ask, path=f"/v1/cues/{cue['id']}")),
        Kind("list 20 cues", 0.6, evolve(ask, path="/v1/cues?limit=20")),
        Kind("list 20 executions", 0.6, evolve(ask, path="/v1/executions?limit=20")),
        Kind("create a cue", 0.65, _posting(ask, "/v1/cues", CUE)),
        Kind("worker heartbeat", 0.5, _posting(ask, "/v1/worker/heartbeat", HEARTBEAT)),
    ]


async def _make_history(scene: Scene, size: Size) -> None:
    async with open_receiver(scene.home, "--quiet") as url:
        await add_cues(scene, Batch(size.executions, NEVER, url=url))
        await queue_executions(scene)
        await deliver_all(scene)
    # A history that just fell from the sky: PostgreSQL has not looked at it by itself yet.
    await scene.database.execute("analyze")


def _posting(ask: Ask, path: str, body: object) -> Ask:
    return evolve(ask, method="POST", path=path, body=json.dumps(body))


async def _compare(scene: Scene, kind: Kind, trivial: Ask, size: Size) -> Row:
    bare, ours = [], []
    # Many short ones: whoever else works on the machine disturbs a few of them, and the median is none of these.
    for _ in range(size.api_rounds):
        bare.append(await _answered(scene, trivial))
        ours.append(await _answered(scene, kind.ask))
    return ratio(f"api: {kind.name}", ours, bare, goal=kind.goal, unit="a second", what="a trivial route")


async def _answered(scene: Scene, ask: Ask) -> float:
    return await result_of(scene.home, "-m", "tests.benchmarks.load", json.dumps(asdict(ask)))
