"""How many deliveries a second one daemon makes, and what each costs, beside bare httpx posts to the same receiver."""

from statistics import median

from attrs import define, evolve, field

from tests.benchmarks import cpu
from tests.benchmarks.filling import NEVER, Batch, add_cues, deliver_all, queue_executions
from tests.benchmarks.scene import Scene, open_receiver, open_scene, result_of
from tests.benchmarks.size import Size
from tests.benchmarks.table import Row, ratio
from tests.storage.own_postgres import OwnPostgres

NAME = "deliveries"
GOAL, DAEMON_GOAL, POSTGRES_GOAL = 1.0, 1.0, 1.0
WHAT = "httpx on Trio, a client a task"

# $1 how many the last round had.
MOMENTS = """
select extract(epoch from updated_at - min(updated_at) over ())::float8 as at
  from (select updated_at from executions order by id desc limit $1) last
 order by at
"""


@define
class Costs:
    """Milliseconds on the processor, round by round: of a bare post, and of a delivery."""

    post: list[float] = field(factory=list)
    daemon: list[float] = field(factory=list)
    postgres: list[float] = field(factory=list)

    def rows(self) -> list[Row]:
        """What a delivery costs beside a bare post."""
        parts = (("daemon", self.daemon, DAEMON_GOAL), ("PostgreSQL", self.postgres, POSTGRES_GOAL))
        what = f"a bare post: {median(self.post):.2f} ms"
        return [
            Row(
                f"CPU, {name}", f"{median(used):.2f} ms a delivery", what,
                [one / bare for one, bare in zip(used, self.post, strict=True)], goal, at_most=True,
            )
            for name, used, goal in parts
        ]  # fmt: skip


async def measure(server: OwnPostgres, size: Size) -> list[Row]:
    """Bare posts and deliveries in turns, as many under way at once."""
    bare, ours, series, costs = [], [], [], Costs()
    async with open_scene(server, host_concurrency=size.tasks) as scene:
        async with open_receiver(scene.home, "--quiet") as url:
            await add_cues(scene, Batch(size.deliveries, NEVER, url=url))
            for _ in range(size.rounds):
                bare.append(await _post(scene, url, size, costs))
                ours.append(await _deliver(server, scene, size, costs))
                series.append([row["at"] for row in await scene.database.fetch(MOMENTS, size.deliveries)])
    row = ratio(NAME, ours, bare, goal=GOAL, unit="a second", what=WHAT)
    return [evolve(row, series=series), *costs.rows()]


async def _post(scene: Scene, url: str, size: Size, costs: Costs) -> float:
    counts, before = (str(size.deliveries), str(size.tasks)), cpu.of_programs()
    rate = await result_of(scene.home, "-m", "tests.benchmarks.posts", url, *counts)
    costs.post.append(1000 * (cpu.of_programs() - before) / size.deliveries)
    return rate


async def _deliver(server: OwnPostgres, scene: Scene, size: Size, costs: Costs) -> float:
    await queue_executions(scene)
    daemon, postgres = cpu.of_process(scene.process), cpu.of_postgres(server)
    seconds = await deliver_all(scene)
    costs.daemon.append(1000 * (cpu.of_process(scene.process) - daemon) / size.deliveries)
    costs.postgres.append(1000 * (cpu.of_postgres(server) - postgres) / size.deliveries)
    failed = await scene.database.fetch("select from executions where status <> 'success' limit 1")
    assert not failed, "a delivery failed"
    return size.deliveries / seconds
