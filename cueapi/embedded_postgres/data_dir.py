"""
What lies in DATA_DIR, who holds it, and what can be wrong with it.

    DATA_DIR/lock              the pid of the process that holds it; the lock dies with that process
    DATA_DIR/session-secret    signs sessions; made at the first start
    DATA_DIR/postgres/         the embedded database (storage/embedded.py)

* DataDirError           one clear line for a person
  x DataDirInUse         another process holds it
  x DataDirUnusable      it cannot be made, entered, read or written
  x EmbeddedError        the family of storage/embedded_errors.py
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path


class DataDirError(Exception):
    """DATA_DIR does not serve; the message says why and what to do."""


class DataDirUnusable(DataDirError):
    """DATA_DIR cannot be made, entered, read or written."""


class Purpose(StrEnum):
    """What the holder wants: to serve until it is stopped, or a short command that others wait for."""

    SERVE = "serve"
    COMMAND = "command"


class DataDirInUse(DataDirError):
    """Another process holds DATA_DIR; *pid* is None in the instant before it has signed."""

    def __init__(self, data_dir: Path, pid: int | None, purpose: Purpose) -> None:
        who = "another process" if pid is None else f"process {pid}"
        super().__init__(f"{data_dir} is in use by {who}; several daemons share one DATABASE_URL")
        self.pid = pid
        self.purpose = purpose


@contextmanager
def hold(data_dir: Path, purpose: Purpose) -> Iterator[None]:
    """Be the one process that holds *data_dir* while inside, else raise `DataDirInUse` at once."""
    with translate_os_errors(data_dir):
        make(data_dir)
        lock = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with translate_os_errors(data_dir):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DataDirInUse(data_dir, *_signature(lock)) from None
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()} {purpose}\n".encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(lock, 0)
    finally:
        os.close(lock)


def make(data_dir: Path) -> None:
    """Make what is missing of *data_dir*. What is there already keeps its modes."""
    # As root the database runs under another account, which has to pass through, not to look around.
    mode = 0o711 if os.geteuid() == 0 else 0o700
    missing = [path for path in (data_dir, *data_dir.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        path.chmod(mode)


def write_once(path: Path, text: str) -> None:
    """Put *text* at *path* readable for ourselves only, whole or not at all; the first writer wins."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):
            os.link(temporary, path)
        sync(path.parent)
    finally:
        os.unlink(temporary)


def sync(directory: Path) -> None:
    """Make the names in *directory* survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _signature(lock: int) -> tuple[int | None, Purpose]:
    # Not signed yet (or not any more): a moment later it will be, so it counts as one that is waited for.
    match os.pread(lock, 64, 0).decode().split():
        case [pid, purpose] if pid.isdecimal() and purpose in set(Purpose):
            return int(pid), Purpose(purpose)
        case _:
            return None, Purpose.COMMAND


@contextmanager
def translate_os_errors(data_dir: Path) -> Iterator[None]:
    """What the file system refuses becomes a line that names DATA_DIR."""
    try:
        yield
    except OSError as error:
        at = f" ({error.filename})" if error.filename else ""
        raise DataDirUnusable(f"DATA_DIR {data_dir} cannot be used: {error.strerror}{at}") from error
