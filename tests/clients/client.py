"""How a published client is run: as a process that knows nothing of the tests, of our package, or of a proxy."""

import os
import re
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from tests.conftest import Api
from tests.process import HANG, LOOK, Ended


def address_of(api: Api) -> str:
    """Where the daemon of *api* is reached."""
    return str(api.client.base_url).rstrip("/")


def bare(home: Path, **variables: str) -> dict[str, str]:
    """An environment: enough to run at *home*, and *variables*."""
    usual = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), "PYTHONUNBUFFERED": "1"}
    return usual | variables


async def run_client(command: Sequence[Path | str], home: Path, typed: str = "", **variables: str) -> Ended:
    """Run *command* to its end, with *typed* as its standard input."""
    with trio.fail_after(HANG):
        done = await trio.run_process(
            [str(part) for part in command],
            stdin=typed.encode(),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=home,
            env=bare(home, **variables),
        )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


@asynccontextmanager
async def client_under_way(
    command: Sequence[Path | str], home: Path, said: Path, **variables: str
) -> AsyncIterator[None]:
    """Run *command* beside the block; both have ended, the command well, at the end. What it says lies in *said*."""
    with said.open("wb") as out:
        async with trio.open_nursery() as nursery:
            run = partial(
                trio.run_process,
                [str(part) for part in command],
                stdin=b"",
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=home,
                env=bare(home, **variables),
            )
            nursery.start_soon(run)
            yield


async def says(said: Path, pattern: str) -> str:
    """The first group of *pattern* in what a client says, as soon as it is there."""
    with trio.fail_after(HANG):
        while (found := re.search(pattern, said.read_text())) is None:
            await trio.sleep(LOOK)
    return found[1]
