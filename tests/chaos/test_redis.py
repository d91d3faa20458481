"""Redis goes away under load and comes back: it holds nothing that must survive, and nobody waits for it."""

from pathlib import Path

import trio

from tests.chaos.scene import open_scene, some_time
from tests.net.own_redis import own_redis
from tests.process import HANG, DaemonProcess


async def counts(daemon: DaemonProcess, where: str) -> None:
    """Return as soon as the daemon counts requests *where* it should: `shared` or `local`."""
    said: list[str] = []
    while said[-1:] != [f"rate_limits_{where}"]:
        await trio.sleep(0.05)
        said = [line["event"] for line in daemon.log() if line["event"].startswith("rate_limits_")]


async def test_when_redis_is_killed_and_comes_back_under_load_nothing_is_refused_lost_or_repeated(
    database_url: str, tmp_path: Path
) -> None:
    with trio.fail_after(HANG), own_redis() as redis:
        async with open_scene(tmp_path, database_url, REDIS_URL=redis.url) as scene:
            await some_time()
            await trio.to_thread.run_sync(redis.kill)
            await counts(scene.daemon, "local")
            await some_time()
            await trio.to_thread.run_sync(redis.start)
            await counts(scene.daemon, "shared")
            windows = redis.memory()

    assert scene.broken == []
    assert not scene.load.ledger.refused
    assert (scene.restarts, scene.code) == (0, 0)
    assert windows
