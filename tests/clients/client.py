"""How a published client is run: as a process that knows nothing of the tests, of our package, or of a proxy."""

import os
from collections.abc import Sequence
from pathlib import Path

import trio

from tests.conftest import Api
from tests.process import Ended

PATIENCE = 30
"""Seconds in which a command of a client ends."""


def address_of(api: Api) -> str:
    """Where the daemon of *api* is reached."""
    return str(api.client.base_url).rstrip("/")


def bare(home: Path, **variables: str) -> dict[str, str]:
    """An environment: enough to run at *home*, and *variables*."""
    usual = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), "PYTHONUNBUFFERED": "1"}
    return usual | variables


async def run_client(command: Sequence[Path | str], home: Path, typed: str = "", **variables: str) -> Ended:
    """Run *command* to its end, with *typed* as its standard input."""
    with trio.fail_after(PATIENCE):
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
