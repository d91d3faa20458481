"""How long one step of a task holds the event loop, in the processor's time."""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

import trio
from attrs import define, field

from cueapi.daemon.run import GC_THRESHOLDS
from cueapi.off_loop import ONE_AT_A_TIME
from tests.conftest import RunningDaemon

HELD = 0.05
"""Seconds of the processor's time that one step of a task may take, on a machine that is as fast as most."""

COUNTED, USUAL = 500_000, 0.02
"""So far a machine as fast as most counts in so many seconds."""

ROUNDS = 5
"""Measurements of which one must be as it should be: what else the machine does makes others longer."""


def held() -> float:
    """HELD on this machine, as it is at the moment."""
    begun = time.thread_time()
    for _ in range(COUNTED):
        pass
    return HELD * max((time.thread_time() - begun) / USUAL, 1.0)


@define(eq=False)
class Steps(trio.abc.Instrument):
    """Measures each step of each task but the test's own, in this thread's time on the processor."""

    own: object
    longest: float = 0.0
    task: str = ""
    beside: bool = False
    """Whether something was made in the thread beside the loop."""
    _begun: float = field(init=False, default=0.0)

    def before_task_step(self, _task: trio.lowlevel.Task) -> None:
        self._begun = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is not self.own and (took := time.thread_time() - self._begun) > self.longest:
            self.longest, self.task = took, task.name

    def before_io_wait(self, _timeout: float) -> None:
        self.beside = self.beside or ONE_AT_A_TIME.borrowed_tokens > 0


@contextmanager
def steps() -> Iterator[Steps]:
    """Measures for the length of the block, with the collector set as in a daemon that is up."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    measured = Steps(trio.lowlevel.current_task())
    trio.lowlevel.add_instrument(measured)
    try:
        yield measured
    finally:
        trio.lowlevel.remove_instrument(measured)
        gc.set_threshold(*before)
        gc.unfreeze()


async def send(daemon: RunningDaemon, path: str, content: bytes, *, key: str = "", method: str = "POST") -> bytes:
    """The answer to a request, whole; it is made of few steps, since the test runs in the daemon's loop."""
    port = daemon.resources.listener.getsockname()[1]
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(content)}\r\n"
    head += f"Authorization: Bearer {key}\r\n" if key else ""
    told = b""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(f"{head}\r\n".encode() + content)
        while part := await stream.receive_some():
            told += part
    return told
