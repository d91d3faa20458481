"""
The embedded PostgreSQL: for installations without a server of their own.

`serve` holds DATA_DIR and has the server up for as long as it lives; short commands join that server, else
they start it, work, and stop it. One that a SIGKILL left behind is adopted by the next process. It is
reached over a Unix socket in a private folder, with a password, and over no network. What can go wrong is
drawn in embedded_errors.py; all of it is a `DataDirError`.
"""

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import structlog
import trio
from attrs import field, frozen

from cueapi.embedded_postgres.binaries import find_tree
from cueapi.embedded_postgres.cluster import Cluster
from cueapi.embedded_postgres.data_dir import DataDirInUse, Purpose, hold, translate_os_errors
from cueapi.embedded_postgres.errors import Owner
from cueapi.embedded_postgres.postmaster import LOG_LIMIT, PidFile, Postmaster, dsn, running

WATCH_EVERY = 1.0
"""Seconds between two looks at the server."""

COMMAND_PATIENCE = 60.0
"""Seconds to wait for a command that holds DATA_DIR, or for the server of a daemon that is just starting."""

log = structlog.get_logger("cueapi.embedded_postgres.server")


@frozen
class EmbeddedServer:
    """A server that takes connections at *dsn*."""

    dsn: str = field(repr=False)
    _postmaster: Postmaster = field(repr=False)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """
        Watch the server until cancelled: start it again when it ended, keep its log within bounds.

        Raises OSError where a look cannot be made, which says nothing of the server.
        """
        await self._look()
        task_status.started()
        while True:
            await trio.sleep(WATCH_EVERY)
            await self._look()

    async def _look(self) -> None:
        self._postmaster.trim_log()
        if not self._postmaster.reachable():
            log.error("database_lost")
            await self._postmaster.start()


@asynccontextmanager
async def open_embedded(
    data_dir: Path, *, owner: Owner, tree: Path | None = None, log_limit: int = LOG_LIMIT
) -> AsyncIterator[EmbeddedServer]:
    """
    Hold *data_dir* and have its server up while inside; `DataDirInUse` when another daemon serves from it.

    It is stopped after everything inside. *tree* is an installation of PostgreSQL other than the wheel's.
    """
    cluster = _cluster(data_dir, tree, owner)
    with ExitStack() as lock:
        await _run_until_drained(lock, cluster, Purpose.SERVE)
        async with _up(Postmaster(cluster, log_limit)) as embedded:
            yield embedded


@asynccontextmanager
async def join_embedded(data_dir: Path, *, owner: Owner, tree: Path | None = None) -> AsyncIterator[str]:
    """The DSN of the server that a daemon has up over *data_dir*; without a daemon it is up while inside."""
    cluster = _cluster(data_dir, tree, owner)
    with ExitStack() as lock:
        joined = await _run_until_drained(lock, cluster, Purpose.COMMAND)
        if joined is not None:
            yield dsn(cluster, joined.socket)
        else:
            async with _up(Postmaster(cluster)) as embedded:
                yield embedded.dsn


@asynccontextmanager
async def _up(postmaster: Postmaster) -> AsyncIterator[EmbeddedServer]:
    try:
        with translate_os_errors(postmaster.cluster.data_dir):
            await postmaster.start()
        yield EmbeddedServer(postmaster.dsn(), postmaster)
    finally:
        await postmaster.stop()
        postmaster.sweep()


async def _run_until_drained(lock: ExitStack, cluster: Cluster, purpose: Purpose) -> PidFile | None:
    """
    Take DATA_DIR's lock into *lock*; a command that has it is waited for.

    Where a daemon has it, a command gets that daemon's server instead, as soon as it takes connections.
    """
    patient_until = trio.current_time() + COMMAND_PATIENCE
    while True:
        try:
            lock.enter_context(hold(cluster.data_dir, purpose))
        except DataDirInUse as busy:
            server = running(cluster.data) if busy.purpose is Purpose.SERVE else None
            if purpose is Purpose.COMMAND and server is not None and server.reachable:
                return server
            serving_twice = purpose is busy.purpose is Purpose.SERVE
            if serving_twice or trio.current_time() > patient_until:
                raise
            await trio.sleep(0.1)
        else:
            return None


def _cluster(data_dir: Path, tree: Path | None, owner: Owner) -> Cluster:
    # Resolved: a running server is recognised by the path in its command line.
    return Cluster(data_dir.resolve(), tree or find_tree(), owner)
