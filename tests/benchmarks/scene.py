"""What a benchmark stands on: a daemon, its user and a receiver, in processes that end with their block."""

import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from shutil import rmtree

import trio
from attrs import frozen

from cueapi.storage.database import Database
from cueapi.trio_asyncpg.connection import close, connect
from cueapi.trio_asyncpg.pool import open_pool
from tests.conftest import Api, in_database
from tests.ports import free_port
from tests.process import ROOT, daemon_process, environment
from tests.storage.own_postgres import OwnPostgres

OURS = "benchmark"
"""The application_name of the benchmark's own connections."""

PLACES = 64
"""HOST_CONCURRENCY where nothing else is asked for."""

RATE_LIMIT = 100_000_000
"""Requests a minute: what is measured is the daemon, not the user's plan."""

PATIENCE = 60
"""Seconds after which a process that should have come up, or work that should be done, fails the benchmark."""

_numbers = count()


@frozen
class Scene:
    """A daemon (*process*) at *port*, what it is asked with: *user* at the API, *database* behind its back."""

    process: int
    port: int
    api: Api
    user: int
    database: Database
    home: Path


@asynccontextmanager
async def open_scene(
    server: OwnPostgres, *, host_concurrency: int = PLACES, **settings: object
) -> AsyncIterator[Scene]:
    """A new database, a daemon on it with the product's own settings but for these, a user of it."""
    ours = {"application_name": OURS}
    async with open_database(server) as url, open_pool(url, size=2, server_settings=ours) as pool:
        database = Database(pool)
        with scratch() as home:
            async with daemon_process(
                home,
                fresh=True,
                DATABASE_URL=url,
                RATE_LIMIT_PER_MINUTE=RATE_LIMIT,
                HOST_CONCURRENCY=host_concurrency,
                **settings,
            ) as daemon:
                api = await daemon.api.register()
                (row,) = await database.fetch("select id from users")
                yield Scene(daemon.process.pid, daemon.port, api, row["id"], database, home)


@asynccontextmanager
async def open_database(server: OwnPostgres) -> AsyncIterator[str]:
    """The URL of an empty database, dropped at the end of the block."""
    name = f"benchmark_{os.getpid()}_{next(_numbers)}"
    connection = await connect(server.dsn)
    try:
        await connection.execute(f"create database {name}")
        yield in_database(server.dsn, name)
    finally:
        with trio.move_on_after(PATIENCE, shield=True):
            await connection.execute(f"drop database {name} with (force)")
            await close(connection)


@asynccontextmanager
async def open_receiver(home: Path, *options: str) -> AsyncIterator[str]:
    """A receiver that answers 200 to everything; its URL."""
    port = free_port()
    async with open_server(port, "-m", "tests.receiver", "--port", str(port), *options, log=home / "receiver.log"):
        yield f"http://127.0.0.1:{port}/"


@asynccontextmanager
async def open_server(port: int, *arguments: str, log: Path) -> AsyncIterator[None]:
    """A Python program that takes connections at *port* for the length of the block; if it falls, so does the block."""
    async with running(*arguments, log=log):
        await listening(port)
        yield


@asynccontextmanager
async def running(*arguments: str, log: Path) -> AsyncIterator[None]:
    """A Python program that runs for the length of the block; if it falls, so does the block."""
    with log.open("wb") as out:
        async with trio.open_nursery() as nursery:
            run = partial(trio.run_process, stdout=out, stderr=out, cwd=ROOT, env=environment(log.parent))
            await nursery.start(run, [sys.executable, *arguments])
            yield
            nursery.cancel_scope.cancel(reason="the block has ended")


async def result_of(home: Path, *arguments: str) -> float:
    """The number that a Python program prints."""
    command = [sys.executable, *arguments]
    done = await trio.run_process(command, capture_stdout=True, cwd=ROOT, env=environment(home))
    return float(done.stdout)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder on the disk that the embedded database's account may enter."""
    home = Path(tempfile.mkdtemp(prefix="cueapi-benchmark-"))
    try:
        home.chmod(0o711)
        yield home
    finally:
        rmtree(home)


async def listening(port: int) -> None:
    """Return as soon as somebody takes connections at *port*."""
    with trio.fail_after(PATIENCE):
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.01)
                continue
            await stream.aclose()
            return
