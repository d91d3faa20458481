"""What the tests share: a PostgreSQL, a database of its own for each test, a daemon on it, its user, a receiver."""

import gc
import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from time import sleep, time
from typing import Any
from urllib.parse import urlsplit

import httpx
import hypothesis
import pytest
import trio
from attrs import define, evolve, field, frozen

from cueapi.daemon.resources import Resources
from cueapi.daemon.run import GC_THRESHOLDS, serving
from cueapi.settings import Settings
from cueapi.storage.clock import Clock
from cueapi.storage.database import Database
from cueapi.storage.schema import migrate
from cueapi.storage.session import prepare
from cueapi.trio_asyncpg.connection import close, connect
from cueapi.trio_asyncpg.pool import open_pool
from tests.net.own_redis import OwnRedis, own_redis
from tests.receiver import Receiver, open_receiver
from tests.sharing import SharedByFiles
from tests.storage.own_postgres import OwnPostgres, own_postgres

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients over plain HTTP: to read the authorities for each of them takes a tenth of a test."""

SECRET = "a session secret for the tests, long enough"
LATE = 20.0
"""Seconds before the end of a day in which no test begins."""

SLOW = {"benchmarks", "chaos", "clients", "machine"}
_numbers = count()


# How long an example takes is the machine's affair, and says nothing of what is tested.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")

# What is imported and collected stays, and no garbage is among it until the first test runs.
gc.disable()


def pytest_collection_finish() -> None:
    """From here on there is garbage. Its collector does not walk through all the tests each time."""
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    gc.enable()


def pytest_runtest_setup() -> None:
    """What a test counts by the day or by the month it counts in one: none begins right before their end."""
    for hour in (24, 15):  # In UTC, and where it is 15:00 UTC then.
        left = (hour * 3600 - time()) % 86_400
        if left < LATE:
            sleep(left + 0.1)


# Here and not in tests/chaos: a run of the whole suite asks only the outermost conftest for options.
def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the user say how long the chaos lasts."""
    parser.addoption("--chaos", type=int, default=3, metavar="N", help="rounds of SIGKILL (default: 3)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Mark the directories whose tests start daemons, kill them or measure them.

    What is slow comes first: at the end no process has long work while the others have none.
    """
    for item in items:
        if item.path.parent.name in SLOW:
            item.add_marker(pytest.mark.slow)
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: not (item.get_closest_marker("slow") or item.get_closest_marker("browser")))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SharedByFiles:
    """How tests are shared out among processes."""
    return SharedByFiles(config, log, alone=SLOW)


@pytest.fixture(scope="session")
def own_server() -> Iterator[OwnPostgres]:
    """A server that a test may stop and start, and that is reached over TCP."""
    with own_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def tcp_url(own_server: OwnPostgres) -> str:
    """The DSN of a server that is reached over TCP, with a password; we are superuser there."""
    return own_server.dsn


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> str:
    """The DSN of a server on which we are superuser: TEST_DATABASE_URL, or our own."""
    return os.environ.get("TEST_DATABASE_URL") or request.getfixturevalue("tcp_url")


@pytest.fixture(scope="session")
def own_redis_server() -> Iterator[OwnRedis]:
    """A Redis that no test stops."""
    with own_redis() as server:
        yield server


@pytest.fixture
def redis_url(own_redis_server: OwnRedis, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a Redis that holds nothing. It lives, so daemons do not give it up, however slow the machine is."""
    own_redis_server.empty()
    monkeypatch.setattr("cueapi.net.redis.PATIENCE", 10.0)
    return own_redis_server.url


def in_database(dsn: str, name: str) -> str:
    """The same server, another database."""
    return urlsplit(dsn)._replace(path=f"/{name}").geturl()


def say(dsn: str, *statements: str) -> None:
    """Run *statements*, outside of any Trio run."""

    async def run() -> None:
        connection = await connect(dsn)
        for statement in statements:
            await connection.execute(statement)
        await close(connection)

    trio.run(run)


@pytest.fixture(scope="session")
def template(postgres_url: str) -> Iterator[str]:
    """A migrated database that each test gets a copy of."""
    name = f"cueapi_template_{os.getpid()}"
    say(postgres_url, f"drop database if exists {name}", f"create database {name}")

    async def fill() -> None:
        async with open_pool(in_database(postgres_url, name), size=1) as pool:
            await migrate(Database(pool))

    trio.run(fill)
    yield name
    say(postgres_url, f"drop database {name} with (force)")


@contextmanager
def migrated(postgres_url: str, template: str) -> Iterator[str]:
    """A migrated database for the length of the block."""
    name = f"cueapi_test_{os.getpid()}_{next(_numbers)}"
    say(postgres_url, f"create database {name} template {template} strategy file_copy")
    yield in_database(postgres_url, name)
    say(postgres_url, f"drop database {name} with (force)")


@pytest.fixture
def database_url(postgres_url: str, template: str) -> Iterator[str]:
    """A migrated database of the test's own."""
    with migrated(postgres_url, template) as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The test's database, to look into and to meddle with; its sessions are the product's."""
    async with open_pool(database_url, size=4, init=prepare) as pool:
        yield Database(pool)


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Settings of a daemon on the test's database that may call receivers on loopback."""
    return Settings(
        _env_file=None,
        database_url=database_url,
        data_dir=tmp_path,
        port=0,
        session_secret=SECRET,
        callback_allow="127.0.0.1",
        log_level="warning",
    )


@frozen
class Api:
    """A user at a daemon: requests with the key, answers as JSON."""

    client: httpx.AsyncClient
    key: str = ""
    tag: str = ""
    """Stands in the addresses of whom it registers: others register at the same daemon."""

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """Send; header names are written with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.key:
            named.setdefault("Authorization", f"Bearer {self.key}")
        content = {} if body is None else {"json": body}
        return await self.client.request(method, path, headers=named, **content)

    async def get(self, path: str, **headers: str) -> dict[str, Any]:
        """What GET answers, which must be 200."""
        response = await self.ask("GET", path, **headers)
        assert response.status_code == 200, response.text
        return dict(response.json())

    async def post(self, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
        """What POST answers, which must be 200 or 201."""
        response = await self.ask("POST", path, body, **headers)
        assert response.status_code in {200, 201}, response.text
        return dict(response.json())

    async def patch(self, path: str, body: Any) -> dict[str, Any]:
        """What PATCH answers, which must be 200."""
        response = await self.ask("PATCH", path, body)
        assert response.status_code == 200, response.text
        return dict(response.json())

    async def refused(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str, str]:
        """Status, code and message of a refusal, which must be of the contract's form."""
        response = await self.ask(method, path, body, **headers)
        error = response.json()["error"]
        assert error["status"] == response.status_code
        return response.status_code, error["code"], error["message"]

    async def register(self, email: str = "you@example.com") -> "Api":
        """A new user at the same daemon."""
        name, _, domain = email.partition("@")
        address = f"{name}+{self.tag}@{domain}" if self.tag else email
        answer = await evolve(self, key="").post("/v1/auth/register", {"email": address})
        return evolve(self, key=answer["api_key"])

    async def execution(self, execution_id: str, *statuses: str) -> dict[str, Any]:
        """The execution as soon as it is in one of *statuses* (any final one, where none are given)."""
        wanted = statuses or ("success", "failed", "missed", "outcome_timeout")
        with trio.fail_after(300):  # what hangs; the machine may be slow
            while (shown := await self.get(f"/v1/executions/{execution_id}"))["status"] not in wanted:
                await trio.sleep(0.02)
        return shown


@define
class RunningDaemon:
    """A daemon in this process."""

    resources: Resources
    address: str
    client: httpx.AsyncClient
    stop: Callable[[str], None] = field(repr=False)

    @property
    def api(self) -> Api:
        """Nobody, at this daemon."""
        return Api(self.client)


@asynccontextmanager
async def running(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[RunningDaemon]:
    """A daemon with *settings*, up; drained at the end of the block."""
    async with serving(settings, clock=clock) as (resources, tree):
        address = f"http://127.0.0.1:{resources.listener.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=address, timeout=30, trust_env=False, verify=NO_TLS) as client:
            yield RunningDaemon(resources, address, client, tree.stop)


@pytest.fixture
async def daemon(settings: Settings) -> AsyncIterator[RunningDaemon]:
    """A daemon on the test's database."""
    async with running(settings) as daemon:
        yield daemon


@pytest.fixture
async def api(daemon: RunningDaemon) -> Api:
    """A registered user at the daemon."""
    return await daemon.api.register()


@pytest.fixture
def receive() -> Callable[..., AbstractAsyncContextManager[Receiver]]:
    """Opens a receiver that answers from a script."""
    return open_receiver


def cue(url: str | None = None, **fields: Any) -> dict[str, Any]:
    """The body of a cue that does not fire by itself soon."""
    body: dict[str, Any] = {
        "name": f"cue-{next(_numbers)}",
        "schedule": {"type": "recurring", "cron": "0 0 1 1 *", "timezone": "UTC"},
    }
    body |= {"transport": "worker"} if url is None else {"callback": {"url": url}}
    return body | fields
