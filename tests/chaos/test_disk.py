"""The disk of the embedded database is full under load, for a while: requests are put off, and nothing is half done."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
import trio

from cueapi.embedded_postgres.postmaster import running
from cueapi.storage.database import StorageUnavailable
from tests.chaos.load import PUT_OFF
from tests.chaos.scene import Scene, open_scene, some_time
from tests.conftest import Api, cue
from tests.process import HANG, embedded_home

SIZE = "128m"
"""Of a disk with room for a new cluster, and some more."""

# A page of the log is written at once; after 16 MiB it needs a new file.
FILL_LOG = "select pg_logical_emit_message(true, '', repeat('x', 1000000))"


@pytest.fixture
def home() -> Iterator[Path]:
    """A home whose data lie on a small disk."""
    with embedded_home() as home:
        disk = home / "data"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=711", "tmpfs", disk]
        if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
            pytest.skip("here nobody may mount a small disk")
        try:
            yield home
        finally:
            if (left := running(disk / "postgres" / "data")) is not None:
                os.kill(left.pid, signal.SIGKILL)
            subprocess.run(["umount", "--lazy", disk], check=True)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """For the length of the block there is not a byte left."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        ballast.unlink()


async def refused(scene: Scene, times: int) -> None:
    """Return when the load was put off so many times more."""
    counted = scene.load.ledger.refused
    before = counted[PUT_OFF]
    while counted[PUT_OFF] < before + times:
        await trio.sleep(0.05)


async def fill_log(scene: Scene) -> None:
    """Write to PostgreSQL's log until it falls."""
    while True:
        await scene.database.execute(FILL_LOG)


async def create(scene: Scene) -> httpx.Response:
    """Ask for a cue that needs more room than there is."""
    api = Api(scene.daemon.client, scene.load.key)
    return await api.ask("POST", "/v1/cues", cue(payload={"large": os.urandom(100_000).hex()}))


async def test_when_there_is_no_room_for_rows_requests_are_put_off_and_all_goes_on_when_there_is(home: Path) -> None:
    with trio.fail_after(HANG):
        async with open_scene(home, None) as scene:
            await some_time()
            with full(home / "data"):
                answer = await create(scene)
                await refused(scene, 30)
            await some_time()

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.json()["error"]["code"] == PUT_OFF
    assert scene.broken == []
    assert scene.load.ledger.refused.keys() <= {PUT_OFF}
    assert (scene.restarts, scene.code) == (0, 0)


async def test_when_there_is_no_room_for_the_log_postgresql_falls_and_is_waited_for(home: Path) -> None:
    with trio.fail_after(HANG):
        async with open_scene(home, None) as scene:
            await some_time()
            with full(home / "data"):
                with pytest.raises(StorageUnavailable):
                    await fill_log(scene)
                await scene.daemon.logs("database_lost")
                await refused(scene, 30)
            await some_time()

    assert scene.broken == []
    assert scene.load.ledger.refused.keys() <= {PUT_OFF}
    assert (scene.restarts, scene.code) == (0, 0)
