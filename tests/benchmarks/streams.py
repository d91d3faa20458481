"""What open streams of hints cost a daemon, and how soon they end when it drains."""

import os
import signal

import psutil
import trio
from attrs import frozen

from tests.benchmarks.scene import PATIENCE, Scene, open_scene
from tests.benchmarks.size import Size
from tests.benchmarks.table import Row
from tests.storage.own_postgres import OwnPostgres

CPU_GOAL, MEMORY_GOAL, DRAIN_GOAL = 3, 20, 1
"""Percent of a core, megabytes, and seconds from the signal until the last stream has ended."""

EACH = 20
"""Streams of an account."""

MB = 1_000_000


@frozen
class Used:
    """What a daemon takes: percent of a core, and megabytes."""

    core: float
    memory: float


async def measure(server: OwnPostgres, size: Size) -> list[Row]:
    """The same daemon without a stream, and with them all; a cue of the first account changes once a second."""
    async with open_scene(server) as scene:
        keys = [scene.api.key, *[(await _account(scene, n)) for n in range(1, -(-size.streams // EACH))]]
        made = await scene.api.post("/v1/cues", {"name": "x", "cron": "0 0 1 1 *", "transport": "worker"})
        before = await _used(scene, made["id"], size)
        async with trio.open_nursery() as nursery:
            ended = [trio.Event() for _ in range(size.streams)]
            for number, event in enumerate(ended):
                await nursery.start(_follow, scene.port, keys[number // EACH], event)
            after = await _used(scene, made["id"], size)
            begun = trio.current_time()
            os.kill(scene.process, signal.SIGTERM)
            with trio.fail_after(PATIENCE):
                for event in ended:
                    await event.wait()
            drained = trio.current_time() - begun
    name, how = f"{size.streams} streams", f"in {size.stream_seconds:g} s"
    return [
        Row(f"{name}, processor", how, f"without: {before.core:.2g} %", [after.core - before.core], CPU_GOAL,
            " % of a core", at_most=True),
        Row(f"{name}, memory", how, f"without: {before.memory:.0f} MB", [after.memory - before.memory], MEMORY_GOAL,
            " MB", at_most=True),
        Row(f"{name}, drain", "until the last has ended", "the signal", [drained], DRAIN_GOAL, " s", at_most=True),
    ]  # fmt: skip


async def _account(scene: Scene, number: int) -> str:
    return (await scene.api.register(f"watcher{number}@example.com")).key


async def _follow(port: int, key: str, ended: trio.Event, task_status: trio.TaskStatus[None]) -> None:
    """One stream, read until it ends; started when its first part has come."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        head = ("GET /v1/events HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {key}", "", "")
        await stream.send_all("\r\n".join(head).encode())
        heard = b""
        while b": open" not in heard:
            part = await stream.receive_some()
            assert part, heard
            heard += part
        task_status.started()
        while await stream.receive_some():
            pass
        ended.set()


async def _used(scene: Scene, cue: str, size: Size) -> Used:
    """While a cue changes once a second."""
    process = psutil.Process(scene.process)
    begun, before = trio.current_time(), process.cpu_times()
    for number in range(max(int(size.stream_seconds), 1)):
        await scene.api.patch(f"/v1/cues/{cue}", {"description": str(number)})
        await trio.sleep(1)
    after = process.cpu_times()
    worked = after.user + after.system - before.user - before.system
    return Used(100 * worked / (trio.current_time() - begun), process.memory_info().rss / MB)
