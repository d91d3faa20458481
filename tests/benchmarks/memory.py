"""How much memory the daemon takes while a hundred thousand deliveries wait for a slow handler."""

import psutil
import trio

from cueapi.storage.notify import notify
from tests.benchmarks.filling import NEVER, NOBODY, Batch, add_cues, queue_executions
from tests.benchmarks.scene import PATIENCE, PLACES, Scene, open_receiver, open_scene
from tests.benchmarks.size import Size
from tests.benchmarks.table import Row
from tests.storage.own_postgres import OwnPostgres

GOAL, GROWTH_GOAL = 200, 5
MB = 1_000_000

SLOW = "[1.0]"
"""The receiver's script, 200 after a second: results come all the time, and what waits hardly grows less."""

EACH = 100
"""How many executions of a cue wait."""

LOOK = 0.1
"""Seconds between two looks at another process."""

COUNT = "select count(*) as waiting, count(claimed_by) as claimed from outbox"


async def measure(server: OwnPostgres, size: Size) -> list[Row]:
    """Samples from the moment when all places of the handler are taken."""
    async with open_scene(server) as scene, open_receiver(scene.home, "--quiet", "--script", SLOW) as url:
        before = _resident(scene)
        await add_cues(scene, Batch(size.backlog // EACH, NEVER, url=url))
        await _fill_the_places(scene, size)
        samples = await _watch(scene, size.memory_seconds)
        (left,) = await scene.database.fetch(COUNT)
    half = len(samples) // 2
    growth = max(samples[half:]) - max(samples[:half])
    how = f"{size.memory_seconds:g} s, {left['waiting']:,} waited still"
    return [
        Row(
            f"memory, {size.backlog:,} wait", how, f"before: {before:.0f} MB", [max(samples)], GOAL, " MB", at_most=True
        ),
        Row("memory, growth", "the second half's most", "the first half's", [growth], GROWTH_GOAL, " MB", at_most=True),
    ]


async def _fill_the_places(scene: Scene, size: Size) -> None:
    await queue_executions(scene, EACH)
    await scene.database.execute("analyze")
    await notify(scene.database, f"{NOBODY} delivery")
    with trio.fail_after(PATIENCE):
        while (await scene.database.fetch(COUNT))[0]["claimed"] < min(PLACES, size.backlog):
            await trio.sleep(LOOK)


async def _watch(scene: Scene, seconds: float) -> list[float]:
    samples, end = [_resident(scene)], trio.current_time() + seconds
    while len(samples) < 2 or trio.current_time() < end:
        await trio.sleep(LOOK)
        samples.append(_resident(scene))
    return samples


def _resident(scene: Scene) -> float:
    """Megabytes of the daemon that lie in memory."""
    return float(psutil.Process(scene.process).memory_info().rss / MB)
