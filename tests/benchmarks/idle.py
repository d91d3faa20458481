"""How much of a core the daemon takes while none of a hundred thousand cues is due."""

import psutil
import trio

from tests.benchmarks.crowd import add_crowd
from tests.benchmarks.scene import Scene, open_scene
from tests.benchmarks.size import Size
from tests.benchmarks.table import Row
from tests.storage.own_postgres import OwnPostgres

GOAL = 2


async def measure(server: OwnPostgres, size: Size) -> list[Row]:
    """The same daemon without any cue, and with them all."""
    async with open_scene(server) as scene:
        without = await _busy(scene, size.idle_seconds / 2)
        await add_crowd(scene.database, scene.user, size.idle)
        busy = await _busy(scene, size.idle_seconds)
    measured, compared = f"in {size.idle_seconds:g} s", f"without cues: {without:.2g} %"
    return [Row(f"idle, {size.idle:,} cues", measured, compared, [busy], GOAL, " % of a core", at_most=True)]


async def _busy(scene: Scene, seconds: float) -> float:
    """Percent of a core that the daemon takes for so long."""
    process = psutil.Process(scene.process)
    begun, before = trio.current_time(), process.cpu_times()
    await trio.sleep(seconds)
    after = process.cpu_times()
    worked = after.user + after.system - before.user - before.system
    return float(100 * worked / (trio.current_time() - begun))
