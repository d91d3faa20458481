"""
Daemons that are killed and started often: forked where the imports are done already, ended by their id.

    async with open_cradle(tmp_path, PORT=port, DATABASE_URL=…) as cradle:
        await cradle.start()
        code = await cradle.end(signal.SIGKILL)
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from attrs import define, field

from tests.process import END_PATIENCE, ROOT, UP_PATIENCE, environment

_FORKING = """
import json, os, sys
import cueapi.cli

for line in sys.stdin:
    order = json.loads(line)
    if (child := os.fork()) == 0:
        os.environ.clear()
        os.environ.update(order["environment"])
        os.chdir(order["home"])
        for number, name in enumerate([os.devnull, order["said"], order["logged"]]):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), number)
        cueapi.cli.main([], prog_name="cueapid")
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@define(eq=False)
class Cradle:
    """Where one daemon after the other comes from; *living* is the id of the present one."""

    process: subprocess.Popen[str]
    home: Path
    environment: dict[str, str]
    living: int | None = None
    _logs: list[Path] = field(factory=list)

    async def start(self) -> None:
        """A new daemon; it is not up yet."""
        logged = self.home / f"logged-{len(self._logs)}"
        order = {
            "environment": self.environment,
            "home": str(self.home),
            "said": str(self.home / f"said-{len(self._logs)}"),
            "logged": str(logged),
        }
        self._logs.append(logged)
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        self.living = await self._told(UP_PATIENCE)

    async def end(self, sign: signal.Signals) -> int:
        """Send *sign*; the exit code, once it has ended."""
        assert self.living is not None
        os.kill(self.living, sign)
        code = await self._told(END_PATIENCE)
        self.living = None
        return code

    def log(self, *events: str) -> list[dict[str, Any]]:
        """What all daemons from here have logged of *events*."""
        lines = [line for path in self._logs for line in path.read_text().split("\n")[:-1]]
        return [entry for entry in map(json.loads, lines) if entry["event"] in events]

    async def _told(self, patience: float) -> int:
        assert self.process.stdout is not None
        with trio.fail_after(patience):
            return int(await trio.to_thread.run_sync(self.process.stdout.readline, abandon_on_cancel=True))


@asynccontextmanager
async def open_cradle(home: Path, **settings: object) -> AsyncIterator[Cradle]:
    """A cradle for daemons with *settings*; none is left at the end of the block."""
    with subprocess.Popen(
        [sys.executable, "-c", _FORKING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        cradle = Cradle(process, home, environment(home, **settings))
        try:
            yield cradle
        finally:
            with trio.CancelScope(shield=True):
                if cradle.living is not None:
                    await cradle.end(signal.SIGKILL)
            process.kill()
