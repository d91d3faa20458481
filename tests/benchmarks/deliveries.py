"""How many deliveries a second one daemon makes, beside bare httpx posts to the same receiver."""

from tests.benchmarks.filling import NEVER, Batch, add_cues, deliver_all, queue_executions
from tests.benchmarks.scene import Scene, open_receiver, open_scene, result_of
from tests.benchmarks.size import Size
from tests.benchmarks.table import Row, ratio
from tests.storage.own_postgres import OwnPostgres

GOAL = 0.6


async def measure(server: OwnPostgres, size: Size) -> list[Row]:
    """Bare posts and deliveries in turns, as many under way at once."""
    bare, ours = [], []
    async with open_scene(server, host_concurrency=size.tasks) as scene:
        async with open_receiver(scene.home, "--quiet") as url:
            await add_cues(scene, Batch(size.deliveries, NEVER, url=url))
            for _ in range(size.rounds):
                bare.append(await _post(scene, url, size))
                ours.append(await _deliver(scene, size))
    return [ratio("deliveries", ours, bare, goal=GOAL, unit="a second", what="httpx on Trio, a client a task")]


async def _post(scene: Scene, url: str, size: Size) -> float:
    counts = str(size.deliveries), str(size.tasks)
    return await result_of(scene.home, "-m", "tests.benchmarks.posts", url, *counts)


async def _deliver(scene: Scene, size: Size) -> float:
    await queue_executions(scene)
    seconds = await deliver_all(scene)
    failed = await scene.database.fetch("select from executions where status <> 'success' limit 1")
    assert not failed, "a delivery failed"
    return size.deliveries / seconds
