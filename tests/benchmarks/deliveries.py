"""How many deliveries a second one daemon makes, beside bare httpx posts to the same receiver."""

from attrs import evolve

from tests.benchmarks.filling import NEVER, Batch, add_cues, deliver_all, queue_executions
from tests.benchmarks.scene import Scene, open_receiver, open_scene, result_of
from tests.benchmarks.size import Size
from tests.benchmarks.table import Row, ratio
from tests.storage.own_postgres import OwnPostgres

NAME = "deliveries"
GOAL = 1.0
WHAT = "httpx on Trio, a client a task"

# $1 how many the last round had.
MOMENTS = """
select extract(epoch from updated_at - min(updated_at) over ())::float8 as at
  from (select updated_at from executions order by id desc limit $1) last
 order by at
"""


async def measure(server: OwnPostgres, size: Size) -> list[Row]:
    """Bare posts and deliveries in turns, as many under way at once."""
    bare, ours, series = [], [], []
    async with open_scene(server, host_concurrency=size.tasks) as scene:
        async with open_receiver(scene.home, "--quiet") as url:
            await add_cues(scene, Batch(size.deliveries, NEVER, url=url))
            for _ in range(size.rounds):
                bare.append(await _post(scene, url, size))
                ours.append(await _deliver(scene, size))
                series.append([row["at"] for row in await scene.database.fetch(MOMENTS, size.deliveries)])
    row = ratio(NAME, ours, bare, goal=GOAL, unit="a second", what=WHAT)
    return [evolve(row, series=series)]


async def _post(scene: Scene, url: str, size: Size) -> float:
    counts = str(size.deliveries), str(size.tasks)
    return await result_of(scene.home, "-m", "tests.benchmarks.posts", url, *counts)


async def _deliver(scene: Scene, size: Size) -> float:
    await queue_executions(scene)
    seconds = await deliver_all(scene)
    failed = await scene.database.fetch("select from executions where status <> 'success' limit 1")
    assert not failed, "a delivery failed"
    return size.deliveries / seconds
