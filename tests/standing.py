"""
A daemon that many tests share. Each has an account of its own there, on which nothing fires any more when it has ended.

    with standing_daemon(home, database_url) as address:
        async with guest_at(address) as api:
            await api.post("/v1/cues", …)
"""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path

import httpx
import pytest
import trio

from tests.conftest import NO_TLS, Api, RunningDaemon, migrated
from tests.cradle import Order, cradle
from tests.ports import free_port
from tests.process import HANG, LOOK, environment

_numbers = count()


@contextmanager
def standing_daemon(home: Path, database_url: str) -> Iterator[str]:
    """The address of a daemon in a process of its own, which lives as long as the block."""
    port = free_port()
    known = environment(home, PORT=port, DATABASE_URL=database_url, REGISTER_LIMIT_PER_HOUR=1_000_000)
    process = trio.run(cradle().fork, Order(home, known, home / "said", home / "logged"))
    address, hang = f"http://127.0.0.1:{port}", time.monotonic() + HANG
    try:
        while not _is_healthy(address):
            assert process.poll() is None, (home / "logged").read_text()
            assert time.monotonic() < hang, (home / "logged").read_text()
            time.sleep(LOOK)
        yield address
    finally:
        process.kill()
        trio.run(process.wait)


def _is_healthy(address: str) -> bool:
    try:
        return httpx.get(f"{address}/status", trust_env=False, verify=NO_TLS).json()["status"] == "healthy"
    except httpx.TransportError:
        return False


@asynccontextmanager
async def guest_at(address: str) -> AsyncIterator[Api]:
    """A new user; at the end of the block the account is held."""
    async with httpx.AsyncClient(base_url=address, timeout=30, trust_env=False, verify=NO_TLS) as client:
        guest = await Api(client, tag=str(next(_numbers))).register()
        yield guest
        await guest.ask("PUT", "/v1/hold", {"mode": "everything", "reason": "the test is over"})


@pytest.fixture(scope="session")
def standing(postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the daemon that tests share."""
    with (
        migrated(postgres_url, template) as database_url,
        standing_daemon(tmp_path_factory.mktemp("standing"), database_url) as address,
    ):
        yield address


@pytest.fixture
async def guest(standing: str) -> AsyncIterator[Api]:
    """A user at the daemon that tests share."""
    async with guest_at(standing) as api:
        yield api


@pytest.fixture
async def owner(daemon: RunningDaemon) -> Api:
    """The only user at a daemon of the test's own."""
    return await daemon.api.register()


@pytest.fixture
def api(request: pytest.FixtureRequest) -> Api:
    """A registered user: where the test asks for its database or its daemon, at one of its own."""
    user: Api = request.getfixturevalue("owner" if "database_url" in request.fixturenames else "guest")
    return user
