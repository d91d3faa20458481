"""A PostgreSQL of the tests' own, which may be stopped and started."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import define, field

from cueapi.embedded_postgres.binaries import copy_tree, find_tree
from tests.ports import free_port

PASSWORD = "secret"
UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root
MEMORY = Path("/dev/shm")
CHEAP = " ".join(
    f"-c {setting}"
    for setting in ("fsync=off", "full_page_writes=off", "wal_level=minimal", "max_wal_senders=0", "autovacuum=off")
)
"""What spares work and loses nothing as long as the machine itself does not fall; tests analyze what they fill."""


@define
class OwnPostgres:
    """A server over *home*: its data, its password file and its log."""

    home: Path
    port: int = field(factory=free_port)
    programs: Path = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.programs = open_tree(find_tree(), self.home) / "bin"

    @property
    def dsn(self) -> str:
        return f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def create(self) -> None:
        (self.home / "password").write_text(PASSWORD)
        # Many hundreds of sessions are opened: what makes a password hard to guess takes half of a login.
        login = ("-A", "scram-sha-256", f"--pwfile={self.home}/password", "-c", "scram_iterations=1")
        self._run("initdb", "-U", "postgres", *login, "-N")

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -k {self.home} {CHEAP}"
        self._run("pg_ctl", "start", "-w", "-l", str(self.home / "log"), "-o", options)

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "-w", "-m", "fast")

    def crash(self) -> None:
        """End without a checkpoint: the next start recovers what was committed."""
        self._run("pg_ctl", "stop", "-w", "-m", "immediate")

    @property
    def pid(self) -> int:
        """The postmaster's."""
        return int((self.home / "data" / "postmaster.pid").read_text().split("\n", 1)[0])

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self.programs / program, "-D", self.home / "data", *arguments],
            user=UNPRIVILEGED if os.geteuid() == 0 else None,
            cwd=self.home,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # the server inherits it: a pipe would never end
            stderr=subprocess.DEVNULL,
        )


@contextmanager
def own_postgres() -> Iterator[OwnPostgres]:
    """A new server, running; gone at the end of the block."""
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2**33
    home = Path(tempfile.mkdtemp(prefix="own-postgres-", dir=MEMORY if roomy else None))
    try:
        if os.geteuid() == 0:
            shutil.chown(home, UNPRIVILEGED)
        server = OwnPostgres(home)
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(home)


def open_tree(tree: Path, home: Path) -> Path:
    """*tree*, or its copy below *home* where it lies in a home that is closed to other accounts."""
    if os.geteuid() != 0:
        return tree
    asked = subprocess.run(["/usr/bin/test", "-x", tree / "bin" / "postgres"], user=UNPRIVILEGED, check=False, cwd="/")
    if asked.returncode == 0:
        return tree
    copy_tree(tree, home / f"copy-of-{tree.name}")
    return home / f"copy-of-{tree.name}" / tree.parent.name / tree.name
