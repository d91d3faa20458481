"""
The pull worker: `cueapi-worker start` as a process of its own, over a YAML file.

    async with worker_process(programs, tmp_path, api, {"nightly": "echo done"}) as worker:
        await api.execution(…)
        assert await worker.stop() == 0
"""

import signal
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
import yaml
from attrs import define

from tests.clients.client import address_of, bare
from tests.conftest import Api
from tests.process import HANG, LOOK


@define(eq=False)
class WorkerProcess:
    """A running worker; what it says, on standard output and error, lies in the file *said*."""

    process: trio.Process
    said: Path

    async def says(self, text: str) -> None:
        """Return when it has said *text*."""
        with trio.fail_after(HANG):
            while text not in self.said.read_text():
                assert self.process.poll() is None, f"ended before {text}: {self.said.read_text()}"
                await trio.sleep(LOOK)

    async def ended(self) -> int:
        """The exit code, once it has ended."""
        with trio.fail_after(HANG):
            return await self.process.wait()

    def send(self, sign: signal.Signals) -> None:
        """Send a signal to the worker alone, not to its handlers."""
        self.process.send_signal(sign)

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.send(signal.SIGTERM)
        return await self.ended()


def write_config(path: Path, api: Api, handlers: Mapping[str, Any], **options: Any) -> Path:
    """Write the worker's YAML file: it asks the daemon of *api* every second, as its user."""
    usual = {"api_key": api.key, "api_base": address_of(api), "poll_interval": 1, "heartbeat_interval": 1}
    path.write_text(yaml.safe_dump(usual | options | {"handlers": dict(handlers)}))
    return path


@asynccontextmanager
async def worker_process(
    programs: Path, home: Path, api: Api, handlers: Mapping[str, Any], worker_id: str = "w1", **options: Any
) -> AsyncIterator[WorkerProcess]:
    """A worker that has begun; at the end of the block it is killed if it still lives."""
    config = write_config(home / f"{worker_id}.yaml", api, handlers, worker_id=worker_id, **options)
    said = home / f"{worker_id}.log"
    with said.open("ab") as out:
        process = await trio.lowlevel.open_process(
            [str(programs / "cueapi-worker"), "start", "--config", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=home,
            env=bare(home),
        )
    try:
        yield WorkerProcess(process, said)
    finally:
        with trio.CancelScope(shield=True):
            if process.poll() is None:
                process.kill()
            await process.wait()


async def appears(path: Path) -> None:
    """Return when a handler has made the file *path*."""
    with trio.fail_after(HANG):
        while not path.exists():
            await trio.sleep(LOOK)
