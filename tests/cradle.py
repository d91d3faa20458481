"""
Processes that have the imports behind them, which are most of what a start costs: forked from one that has done them.

    daemon = await cradle().fork(order)
    daemon.send_signal(signal.SIGTERM)
    assert await daemon.wait() == 0
"""

import atexit
import json
import os
import signal
import struct
import subprocess
import sys
from contextlib import suppress
from functools import cache
from itertools import count
from pathlib import Path

import trio
from attrs import define, field, frozen

ROOT = Path(__file__).parent.parent
_numbers = count()

_CRADLE = """
import gc, json, os, resource, runpy, signal, struct, sys
gc.disable()
import cueapi.cli.main
gc.freeze()

lives = {}

def reap(*_):
    while lives:
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            return
        with open(lives.pop(child), "wb") as life:
            life.write(struct.pack("i", os.waitstatus_to_exitcode(status)))

def live(order):
    gc.enable()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["home"])
    for number, name in enumerate([os.devnull, order["said"], order["told"]]):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND), number)
    os.closerange(3, 64)
    if (files := order["files"]) is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if order["module"] == "cueapi":
        cueapi.cli.main.main(order["arguments"], prog_name="cueapid")
    sys.argv[1:] = order["arguments"]
    runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
    sys.exit()

signal.signal(signal.SIGCHLD, reap)
for line in sys.stdin:
    order = json.loads(line)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    life = os.open(order["life"], os.O_WRONLY)
    if not (child := os.fork()):
        live(order)
    lives[child] = life
    os.write(life, struct.pack("i", child))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
"""


@frozen
class Order:
    """
    What is to live: a *module* as a program, with *arguments*, in *environment* and nothing else.

    Its output goes to the ends of the files *said* and *told*. It may have *files* open at most, where given.
    """

    home: Path
    environment: dict[str, str]
    said: Path
    told: Path
    arguments: tuple[str, ...] = ()
    module: str = "cueapi"
    files: int | None = None


@define(eq=False)
class Forked:
    """A process that the cradle has forked: what `trio.Process` has, as far as tests ask for it."""

    pid: int
    _life: int
    returncode: int | None = field(default=None, init=False)

    def poll(self) -> int | None:
        """The exit code, once it has ended; of a signal it is the negative number."""
        if self.returncode is None:
            with suppress(BlockingIOError):
                self.returncode = struct.unpack("i", os.read(self._life, 4))[0]
                os.close(self._life)
        return self.returncode

    async def wait(self) -> int:
        """The exit code, once it has ended."""
        while (code := self.poll()) is None:
            await trio.lowlevel.wait_readable(self._life)
        return code

    def send_signal(self, sign: signal.Signals) -> None:
        """Send a signal to it alone, if it lives."""
        if self.poll() is None:
            os.kill(self.pid, sign)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


@frozen
class Cradle:
    """Where processes are forked, by one order after the other."""

    process: subprocess.Popen[str]

    async def fork(self, order: Order) -> Forked:
        """It lives. Its parent, which knows its exit code, is the cradle."""
        assert self.process.stdin is not None
        order.said.touch()
        order.told.touch()
        name = order.home / f"life-{next(_numbers)}"
        os.mkfifo(name)
        life = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
        parts = {part: str(getattr(order, part)) for part in ("home", "said", "told", "module")}
        rest = {"environment": order.environment, "arguments": order.arguments, "files": order.files}
        self.process.stdin.write(json.dumps(parts | rest | {"life": str(name)}) + "\n")
        self.process.stdin.flush()
        await trio.lowlevel.wait_readable(life)
        name.unlink()
        return Forked(struct.unpack("i", os.read(life, 4))[0], life)

    def end(self) -> None:
        """It ends; what it has forked lives on."""
        self.process.kill()
        self.process.communicate()


@cache
def cradle() -> Cradle:
    """The one of this process, which ends with it."""
    made = Cradle(
        subprocess.Popen(
            [sys.executable, "-u", "-c", _CRADLE],
            stdin=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        )
    )
    atexit.register(made.end)
    return made
