"""
The published clients as the package index has them, each in a virtual environment of its own: two of them are imported
by the name of our own package.

An environment is made once for a whole run of the tests: its processes share a directory, and a lock in it.
"""

import fcntl
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 300
"""Seconds that an installation may take."""


def installed(requirement: str, shared: Path) -> Path:
    """Where the programs of *requirement* lie, in an environment below *shared*; made where nobody has made it yet."""
    home = shared / f"client-{requirement.replace('==', '-')}"
    with _alone(home.with_name(f"{home.name}.lock")):
        if not (home / "made").exists():
            _make(home, requirement)
            (home / "made").touch()
    return home / "bin"


def _make(home: Path, requirement: str) -> None:
    venv.create(home, clear=True, symlinks=True, with_pip=False)
    # Our own pip serves the new environment: one of its own would take three times as long to make.
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install", "--quiet", "--no-compile"]
    done = subprocess.run([*pip, requirement], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, f"{requirement} cannot be installed: {done.stderr}"


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Nobody else is in a block with the same *lock*; the lock of a process that dies is free."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
