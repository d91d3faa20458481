"""Where the daemon's time goes while it delivers: its stack, looked at again and again from outside."""

import signal
import sysconfig
from collections import Counter
from functools import partial
from pathlib import Path

import trio

from tests.benchmarks.filling import NEVER, Batch, add_cues, deliver_all, queue_executions
from tests.benchmarks.scene import PATIENCE, Scene, open_receiver, open_scene
from tests.benchmarks.size import Size
from tests.process import ROOT
from tests.storage.own_postgres import OwnPostgres

SPY = Path(sysconfig.get_path("scripts"), "py-spy")
RATE = 200
"""Looks a second."""

LINES = 60


async def profile_deliveries(server: OwnPostgres, size: Size) -> str:
    """Deliver, and tell which functions were running meanwhile; where we may not look, why."""
    async with open_scene(server, host_concurrency=size.tasks) as scene:
        async with open_receiver(scene.home, "--quiet") as url:
            await add_cues(scene, Batch(size.deliveries, NEVER, url=url))
            await queue_executions(scene, size.profiled)
            return await _watch_deliveries(scene)


async def _watch_deliveries(scene: Scene) -> str:
    stacks, said = scene.home / "stacks", scene.home / "said-by-py-spy"
    command = [SPY, "record", "--format", "raw", "--nolineno", "--full-filenames"]
    command += ["--rate", str(RATE), "--pid", str(scene.process), "--output", stacks]
    with said.open("wb") as out:
        async with trio.open_nursery() as nursery:
            run = partial(trio.run_process, check=False, stdout=out, stderr=out)
            spy = await nursery.start(run, command)
            with trio.fail_after(PATIENCE):
                while "Sampling" not in said.read_text() and spy.poll() is None:
                    await trio.sleep(0.02)
            await deliver_all(scene)
            if spy.poll() is None:
                spy.send_signal(signal.SIGINT)
    return table(stacks.read_text()) if stacks.exists() else said.read_text()


def table(stacks: str) -> str:
    """
    Functions by the time that they took themselves, beside what they took with all that they called.

    *stacks* has a line for each stack that was seen: its frames from the outermost on, and how often.
    """
    own, whole = Counter[str](), Counter[str]()
    for line in stacks.splitlines():
        text, _, times = line.rpartition(" ")
        frames = text.split(";")
        own[frames[-1]] += int(times)
        whole.update(dict.fromkeys(frames, int(times)))
    seen = own.total()
    lines = [
        f"{times / seen:7.1%}  {whole[frame] / seen:7.1%}  {_short(frame)}" for frame, times in own.most_common(LINES)
    ]
    head = f"{seen:,} looks at the daemon at work, {RATE} a second\n\n    own  in all  function\n"
    return head + "\n".join(lines) + "\n"


def _short(frame: str) -> str:
    """A frame without the folders that installed packages, or we, lie in."""
    for folder in (*map(sysconfig.get_path, ("purelib", "platlib", "stdlib")), ROOT):
        frame = frame.replace(f"({folder}/", "(")
    return frame
