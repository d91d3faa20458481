"""
CueAPI as a process of its own: started with an environment, watched, ended by its id, gone at the end of the block.

    async with daemon_process(tmp_path, DATABASE_URL=…) as daemon:
        await daemon.api.register()
        assert await daemon.stop() == 0

The environment is what is given and nothing else; no `.env` lies where the process runs.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import trio
from attrs import define, evolve, field, frozen

from cueapi.embedded_postgres.postmaster import running
from tests.conftest import NO_TLS, SECRET, Api
from tests.cradle import ROOT, Forked, Order, cradle
from tests.ports import free_port

HANG = 300
"""Seconds after which what a test waits for will never come. Not a promise: the machine may be slow."""

UP_PATIENCE = HANG
"""Seconds in which a daemon is healthy."""

END_PATIENCE = HANG
"""Seconds in which a process ends that was asked to."""

LOOK = 0.02
"""Seconds between two looks at what another process does: it tells us of no event."""

_numbers = count()


def environment(home: Path, **settings: object) -> dict[str, str]:
    """What a process of the tests knows: enough to run, and *settings*; None leaves one out."""
    usual = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "HOME": home,
        "DATA_DIR": home / "data",
        "HOST": "127.0.0.1",
        "SESSION_SECRET": SECRET,
        "CALLBACK_ALLOW": "127.0.0.1",
        "LOG_FORMAT": "json",
    }
    return {name: str(value) for name, value in (usual | settings).items() if value is not None}


@contextmanager
def embedded_home() -> Iterator[Path]:
    """A home that the embedded server's account may enter; no server is left in it."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2**31
    home = Path(tempfile.mkdtemp(prefix="cueapi-test-", dir=memory if roomy else "/tmp"))
    home.chmod(0o711)
    try:
        yield home
    finally:
        if (left := running(home / "data" / "postgres" / "data")) is not None:
            os.kill(left.pid, signal.SIGQUIT)
        shutil.rmtree(home, ignore_errors=True)


@define(eq=False)
class DaemonProcess:
    """A running `cueapid`; what it says lies in the files *said* (standard output) and *logged*."""

    process: trio.Process | Forked
    port: int
    said: Path
    logged: Path
    client: httpx.AsyncClient = field(repr=False)

    @property
    def api(self) -> Api:
        """Nobody, at this daemon."""
        return Api(self.client)

    def lines(self) -> list[str]:
        """What it has logged so far, whole lines only."""
        return self.logged.read_text().split("\n")[:-1]

    def log(self, event: str = "") -> list[dict[str, Any]]:
        """The log as objects, without the link to begin with; only those of *event*, where one is given."""
        entries = [json.loads(line) for line in self.lines() if line.startswith("{")]
        return [entry for entry in entries if not event or entry["event"] == event]

    async def logs(self, event: str) -> dict[str, Any]:
        """The first line of *event*, as soon as it is there."""
        with trio.fail_after(UP_PATIENCE):
            while not (found := self.log(event)):
                assert self.process.poll() is None, f"ended before {event}: {self.logged.read_text()}"
                await trio.sleep(LOOK)
        return found[0]

    async def healthy(self) -> None:
        """Return when /status says so."""
        with trio.fail_after(UP_PATIENCE):
            while await self.status() != (200, "healthy"):
                assert self.process.poll() is None, f"ended instead: {self.logged.read_text()}"
                await trio.sleep(LOOK)

    async def status(self) -> tuple[int, str]:
        """What /status answers; (0, "") where nobody does."""
        try:
            response = await self.client.get("/status")
        except httpx.TransportError:
            return 0, ""
        return response.status_code, response.json()["status"]

    async def siblings(self) -> dict[str, dict[str, Any]]:
        """The board, as /health shows it."""
        return dict((await self.client.get("/health")).json()["siblings"])

    def send(self, sign: signal.Signals) -> None:
        """Send a signal to this process alone."""
        self.process.send_signal(sign)

    async def ended(self) -> int:
        """The exit code, once it has ended."""
        with trio.fail_after(END_PATIENCE):
            return await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.send(signal.SIGTERM)
        return await self.ended()

    async def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self.send(signal.SIGKILL)
        await self.ended()


@asynccontextmanager
async def daemon_process(
    home: Path,
    *,
    port: int | None = None,
    healthy: bool = True,
    files: int | None = None,
    fresh: bool = False,
    background: bool = False,
    **settings: object,
) -> AsyncIterator[DaemonProcess]:
    """
    A daemon over *home*, healthy unless told otherwise; at the end of the block it is killed if it still lives.

    It may have *files* open at most, where given. It is forked where the imports are done, unless it is to be a *fresh*
    one, which begins as `python -m cueapi` does; in the *background* as `&` of a script has it begin.
    """
    port = free_port() if port is None else port
    number = next(_numbers)
    order = Order(home, environment(home, PORT=port, **settings), home / f"said-{number}", home / f"logged-{number}")
    process = await (_fresh(order, background=background) if fresh else cradle().fork(evolve(order, files=files)))
    address = f"http://127.0.0.1:{port}"
    # No connection is kept: a server that ends waits a while for its clients to hang up.
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=address, timeout=30, trust_env=False, limits=limits, verify=NO_TLS) as client:
        daemon = DaemonProcess(process, port, order.said, order.told, client)
        try:
            if healthy:
                await daemon.healthy()
            yield daemon
        finally:
            with trio.CancelScope(shield=True):
                if process.poll() is None:
                    process.kill()
                await process.wait()


async def _fresh(order: Order, *, background: bool) -> trio.Process:
    with order.said.open("wb") as said, order.told.open("wb") as told:
        return await trio.lowlevel.open_process(
            [sys.executable, "-m", "cueapi"],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=told,
            cwd=order.home,
            env=order.environment,
            # A shell has what it starts in the background ignore Ctrl-C; our children would, too, where we do.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_IGN if background else signal.SIG_DFL),
        )


@frozen
class Ended:
    """How a command ended."""

    code: int
    said: str
    told: str
    """Standard error."""


class Commands:
    """Runs `cueapid` to its end, each time in a process of its own."""

    async def run(self, home: Path, *arguments: str, **settings: object) -> Ended:
        """`cueapid` with *arguments*, in the environment of *settings*."""
        number = next(_numbers)
        said, told = home / f"said-{number}", home / f"told-{number}"
        with trio.fail_after(UP_PATIENCE):
            process = await cradle().fork(Order(home, environment(home, **settings), said, told, arguments))
            code = await process.wait()
        return Ended(code, said.read_text(), told.read_text())
