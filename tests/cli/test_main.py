"""The commands as processes: what they do, their exit codes, and the one line of a start that fails."""

import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio

from cueapi.api.http.auth import LIFETIME
from cueapi.embedded_postgres.data_dir import Purpose, hold
from cueapi.storage.database import Database
from cueapi.trio_asyncpg.pool import open_pool
from tests.conftest import Api, cue, in_database, say
from tests.process import (
    HANG,
    Commands,
    DaemonProcess,
    Ended,
    daemon_process,
    embedded_home,
    environment,
    free_port,
)
from tests.storage.own_postgres import OwnPostgres
from tests.storage.rows import add_cue, add_user

PASSWORD = "correct-horse-battery"
_numbers = count()


def failed_with_one_line(ended: Ended, code: int) -> str:
    """That line, of a command that failed as it should."""
    assert ended.code == code, ended.told
    assert ended.told.startswith("cueapid: ")
    assert ended.told.count("\n") == 1
    assert PASSWORD not in ended.told + ended.said
    return ended.told.strip().removeprefix("cueapid: ")


@pytest.fixture(scope="module")
def waits_for_its_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[bytes]]:
    """A start that meets no PostgreSQL. It takes 30 s, so it begins with the first of these tests."""
    home = tmp_path_factory.mktemp("unreachable")
    url = f"postgresql://me:{PASSWORD}@127.0.0.1:{free_port()}/cueapi"
    with subprocess.Popen(
        [sys.executable, "-m", "cueapi"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=home,
        env=environment(home, PORT=free_port(), DATABASE_URL=url),
    ) as process:
        yield process
        process.kill()


@pytest.fixture(autouse=True)
def _begun(waits_for_its_database: subprocess.Popen[bytes]) -> None:
    """Have the slow start begin."""


@pytest.fixture
def empty_url(postgres_url: str) -> Iterator[str]:
    """A database with nothing in it."""
    name = f"cueapi_empty_{os.getpid()}_{next(_numbers)}"
    say(postgres_url, f"create database {name}")
    yield in_database(postgres_url, name)
    say(postgres_url, f"drop database {name} with (force)")


@pytest.fixture
async def daemon_of_its_own(database_url: str, tmp_path: Path) -> AsyncIterator[DaemonProcess]:
    """A daemon process on the test's database."""
    async with daemon_process(tmp_path, DATABASE_URL=database_url) as daemon:
        yield daemon


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty"),
        ("DATABASE_URL", f"postgresql://me:{PASSWORD}@host:many/cueapi"),
        ("SESSION_SECRET", "short"),
    ],
)
async def test_wrong_settings_end_every_command_with_2_and_a_line_that_names_the_variable(
    cueapid: Commands, tmp_path: Path, name: str, value: str
) -> None:
    ended = await cueapid.run(tmp_path, "check", **{name: value})

    assert failed_with_one_line(ended, 2).startswith(f"{name}: ")


async def test_production_does_not_start_without_a_secret(cueapid: Commands, tmp_path: Path) -> None:
    ended = await cueapid.run(tmp_path, ENV="production", SESSION_SECRET=None)

    assert failed_with_one_line(ended, 2).startswith("SESSION_SECRET: ")


async def test_a_wrong_value_in_the_env_file_ends_the_start_the_same_way(cueapid: Commands, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LOG_LEVEL=loud\n")

    assert failed_with_one_line(await cueapid.run(tmp_path, "serve"), 2).startswith("LOG_LEVEL: ")


async def test_a_port_that_is_taken_ends_the_start_with_one_line(
    cueapid: Commands, tmp_path: Path, database_url: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = await cueapid.run(tmp_path, DATABASE_URL=database_url, PORT=port)

    assert failed_with_one_line(ended, 1).startswith(f"Cannot listen on 127.0.0.1 port {port}")


async def test_a_host_that_there_is_not_ends_the_start_with_2(
    cueapid: Commands, tmp_path: Path, database_url: str
) -> None:
    ended = await cueapid.run(tmp_path, DATABASE_URL=database_url, HOST="a..b", PORT=free_port())

    assert "HOST and PORT choose another address" in failed_with_one_line(ended, 2)


async def test_a_wrong_password_ends_the_start_without_waiting_and_is_not_told(
    cueapid: Commands, own_server: OwnPostgres, tmp_path: Path
) -> None:
    url = urlsplit(own_server.dsn)._replace(netloc=f"postgres:{PASSWORD}@127.0.0.1:{own_server.port}").geturl()
    ended = await cueapid.run(tmp_path, DATABASE_URL=url, PORT=free_port())

    line = failed_with_one_line(ended, 2)
    assert "password authentication failed" in line
    assert "DATABASE_URL" in line


async def test_a_database_that_is_not_there_ends_the_start_without_waiting(
    cueapid: Commands, own_server: OwnPostgres, tmp_path: Path
) -> None:
    ended = await cueapid.run(tmp_path, DATABASE_URL=in_database(own_server.dsn, "nowhere"), PORT=free_port())

    assert '"nowhere" does not exist' in failed_with_one_line(ended, 2)


async def test_a_database_that_is_ahead_of_the_code_is_left_alone(
    cueapid: Commands, tmp_path: Path, database_url: str, database: Database
) -> None:
    await database.execute("insert into schema_migrations (name, checksum) values ('9999_later.sql', 'x')")

    for arguments in ((), ("migrate",)):
        ended = await cueapid.run(tmp_path, *arguments, DATABASE_URL=database_url, PORT=free_port())
        assert "ahead of this version: it has the migration 9999_later.sql" in failed_with_one_line(ended, 1)


async def test_a_daemon_with_another_session_secret_does_not_start(
    cueapid: Commands, daemon_of_its_own: DaemonProcess, tmp_path: Path, database_url: str
) -> None:
    ended = await cueapid.run(tmp_path, DATABASE_URL=database_url, PORT=free_port(), SESSION_SECRET=PASSWORD * 2)

    assert failed_with_one_line(ended, 1).startswith("SESSION_SECRET differs from the one")
    assert await daemon_of_its_own.status() == (200, "healthy")


async def test_a_data_dir_that_another_daemon_serves_from_is_not_touched(cueapid: Commands, tmp_path: Path) -> None:
    with hold(tmp_path / "data", Purpose.SERVE):
        ended = await cueapid.run(tmp_path, PORT=free_port())

    line = failed_with_one_line(ended, 1)
    assert line.endswith(f"in use by process {os.getpid()}; several daemons share one DATABASE_URL")


async def test_check_says_what_is_missing_changes_nothing_and_migrate_does_it(
    cueapid: Commands, tmp_path: Path, empty_url: str
) -> None:
    before = await cueapid.run(tmp_path, "check", DATABASE_URL=empty_url)
    async with open_pool(empty_url, size=1) as pool:
        tables = await Database(pool).fetch("select 1 from pg_tables where schemaname = 'public'")
    first = await cueapid.run(tmp_path, "migrate", DATABASE_URL=empty_url)
    second = await cueapid.run(tmp_path, "migrate", DATABASE_URL=empty_url)
    after = await cueapid.run(tmp_path, "check", DATABASE_URL=empty_url)

    assert (before.code, first.code, second.code, after.code) == (1, 0, 0, 0)
    assert "FAIL migrations: " in before.said
    assert "cueapid migrate" in before.said
    assert tables == []
    assert first.said.startswith("applied 0001_initial.sql")
    assert second.said == "The schema is up to date.\n"
    assert [line.partition(":")[0].split() for line in after.said.splitlines() if not line.startswith("warn")] == [
        ["ok", name] for name in ("settings", "PostgreSQL", "migrations", "secret", "clock", "Redis", "SMTP")
    ]


async def test_check_tells_of_a_database_that_is_ahead_and_of_everything_else(
    cueapid: Commands, tmp_path: Path, database_url: str, database: Database
) -> None:
    await database.execute("insert into schema_migrations (name, checksum) values ('9999_later.sql', 'x')")

    ended = await cueapid.run(tmp_path, "check", DATABASE_URL=database_url)

    assert ended.code == 1
    assert [line.partition(":")[0].split() for line in ended.said.splitlines() if not line.startswith("warn")] == [
        ["ok", "settings"], ["ok", "PostgreSQL"], ["FAIL", "migrations"],
        ["ok", "Redis"], ["ok", "SMTP"],
    ]  # fmt: skip


async def test_check_tells_all_that_is_not_fine_and_no_password(
    cueapid: Commands, tmp_path: Path, own_server: OwnPostgres
) -> None:
    ended = await cueapid.run(
        tmp_path,
        "check",
        DATABASE_URL=urlsplit(own_server.dsn)
        ._replace(netloc=f"postgres:{PASSWORD}@127.0.0.1:{own_server.port}")
        .geturl(),
        REDIS_URL=f"redis://:{PASSWORD}@127.0.0.1:{free_port()}/0",
        SMTP_URL=f"smtp://me:{PASSWORD}@127.0.0.1:{free_port()}",
        EMAIL_FROM="cueapi@example.com",
    )

    failing = [line.split()[1].rstrip(":") for line in ended.said.splitlines() if line.startswith("FAIL ")]
    assert failing == ["PostgreSQL", "Redis", "SMTP"]
    assert "REDIS_URL" in ended.said
    assert "SMTP_URL" in ended.said
    failed_with_one_line(ended, 1)


async def test_accounts_are_made_listed_and_told_apart_without_a_daemon(
    cueapid: Commands, tmp_path: Path, database_url: str
) -> None:
    added = await cueapid.run(tmp_path, "user", "add", "me@example.com", DATABASE_URL=database_url)
    again = await cueapid.run(tmp_path, "user", "add", "Me@Example.com", DATABASE_URL=database_url)
    wrong = await cueapid.run(tmp_path, "user", "add", "nobody", DATABASE_URL=database_url)
    nobody = await cueapid.run(tmp_path, "user", "key", "you@example.com", DATABASE_URL=database_url)
    listed = await cueapid.run(tmp_path, "user", "list", DATABASE_URL=database_url)

    assert added.code == 0
    assert added.said.startswith("cue_sk_")
    assert "There is an account with the address" in failed_with_one_line(again, 1)
    assert "email" in failed_with_one_line(wrong, 1)
    assert failed_with_one_line(nobody, 1) == "There is no account with the address you@example.com."
    assert listed.said.split("\t")[0] == "me@example.com"
    assert listed.said.count("\n") == 1
    assert added.said.strip() not in listed.said


async def into_a_full_disk(home: Path, *arguments: str, **settings: object) -> Ended:
    """Run a command whose standard output cannot be written."""
    with Path("/dev/full").open("wb") as full:
        ended = await trio.run_process(
            [sys.executable, "-m", "cueapi", *arguments],
            stdout=full, capture_stderr=True, check=False, cwd=home,
            env=environment(home, PYTHONUNBUFFERED=None, **settings),
        )  # fmt: skip
    return Ended(ended.returncode, "", ended.stderr.decode())


async def test_a_key_that_cannot_be_printed_is_not_made_and_the_old_one_serves_on(
    cueapid: Commands, tmp_path: Path, database_url: str
) -> None:
    own = {"DATABASE_URL": database_url}
    key = (await cueapid.run(tmp_path, "user", "add", "me@example.com", **own)).said.strip()
    lost = [
        await into_a_full_disk(tmp_path, "user", "key", "me@example.com", **own),
        await into_a_full_disk(tmp_path, "user", "add", "you@example.com", **own),
        await into_a_full_disk(tmp_path, "user", "list", **own),
        await into_a_full_disk(tmp_path, "check", **own),
    ]
    closed = await trio.run_process(
        ["sh", "-c", 'exec "$0" -m cueapi user key me@example.com >&-', sys.executable],
        capture_stderr=True, check=False, cwd=tmp_path, env=environment(tmp_path, **own),
    )  # fmt: skip
    listed = await cueapid.run(tmp_path, "user", "list", **own)
    async with daemon_process(tmp_path, **own) as daemon:
        me = await Api(daemon.client, key).get("/v1/auth/me")

    for ended in lost:
        assert failed_with_one_line(ended, 1) == "standard output cannot be written: No space left on device"
    assert (closed.returncode, closed.stderr) == (1, b"cueapid: standard output is closed\n")
    assert listed.said.count("\n") == 1
    assert me["email"] == "me@example.com"


async def dies(api: Api) -> tuple[int, str]:
    """How the key of *api* is refused, which must be long before the daemon would look it up again by itself."""
    with trio.fail_after(LIFETIME / 2):
        response = await api.ask("GET", "/v1/auth/me")
        while response.status_code == 200:
            response = await api.ask("GET", "/v1/auth/me")
    return response.status_code, response.json()["error"]["code"]


async def test_what_is_done_to_an_account_counts_at_once_on_a_running_daemon(
    cueapid: Commands, daemon_of_its_own: DaemonProcess, tmp_path: Path, database_url: str
) -> None:
    told: list[str] = []

    async def user(*arguments: str) -> str:
        ended = await cueapid.run(tmp_path, "user", *arguments, DATABASE_URL=database_url)
        assert ended.code == 0
        told.append(ended.told)
        return ended.said.strip()

    first = Api(daemon_of_its_own.client, await user("add", "me@example.com"))
    made = await first.post("/v1/cues", cue())
    second = Api(daemon_of_its_own.client, await user("key", "me@example.com"))
    replaced = await dies(first)
    shown = await second.get(f"/v1/cues/{made['id']}")
    await user("limits", "me@example.com", "--cues", "1", "--rate", "77")
    limited = await second.ask("GET", "/v1/cues")
    full = await second.refused("POST", "/v1/cues", cue())
    await user("revoke", "me@example.com")
    revoked = await dies(second)
    listed = await user("list")
    third = Api(daemon_of_its_own.client, await user("key", "me@example.com"))
    paused = await third.get(f"/v1/cues/{made['id']}")

    assert (replaced, revoked) == ((401, "key_rotated"), (401, "invalid_api_key"))
    assert shown["status"] == "active"
    assert limited.headers["X-RateLimit-Limit"] == "77"
    assert full[:2] == (403, "cue_limit_exceeded")
    assert listed.endswith("revoked")
    assert [line for line in told if line] == [
        "me@example.com was revoked and is admitted again; its cues rest until they are resumed.\n"
    ]
    assert (paused["status"], paused["next_run"]) == ("paused", None)


async def test_commands_start_the_embedded_database_or_join_that_of_a_daemon(cueapid: Commands) -> None:
    with trio.fail_after(HANG), embedded_home() as home:
        added = await cueapid.run(home, "user", "add", "me@example.com")
        async with daemon_process(home) as daemon:
            me = await Api(daemon.client, added.said.strip()).get("/v1/auth/me")
            listed = await cueapid.run(home, "user", "list")
            second = await cueapid.run(home, PORT=free_port())
            still = await daemon.status()
            pid = daemon.process.pid

    assert (added.code, listed.code, still) == (0, 0, (200, "healthy"))
    assert me["email"] == "me@example.com"
    assert listed.said.startswith("me@example.com\t")
    assert f"in use by process {pid}" in second.told
    assert second.code == 1


def test_a_database_that_cannot_be_reached_ends_the_start_after_30_seconds(
    waits_for_its_database: subprocess.Popen[bytes],
) -> None:
    said, told = waits_for_its_database.communicate(timeout=HANG)

    waiting, last = told.decode().splitlines()
    ended = Ended(waits_for_its_database.returncode, said.decode(), f"{last}\n")
    line = failed_with_one_line(ended, 1)
    assert json.loads(waiting)["event"] == "database_awaited"
    assert PASSWORD not in waiting
    assert line.startswith("PostgreSQL cannot be reached within 30 s: ")
    assert line.endswith("Is DATABASE_URL right?")


async def test_nothing_is_dumped_and_nothing_made_where_no_database_is(cueapid: Commands, tmp_path: Path) -> None:
    ended = await cueapid.run(tmp_path, "dump", DATABASE_URL=None, DATA_DIR=tmp_path / "typo")

    failed_with_one_line(ended, 1)
    assert "DATA_DIR" in ended.told
    assert ended.said == ""
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize("arguments", [("check",), ("user", "list"), ("user", "key", "me@example.com"), ("dump",)])
async def test_where_no_database_is_a_command_makes_none(
    cueapid: Commands, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    ended = await cueapid.run(tmp_path, *arguments, DATABASE_URL=None, DATA_DIR=tmp_path / "typo")

    assert ended.code == 1
    assert "is DATA_DIR right?" in ended.told + ended.said
    assert not (tmp_path / "typo").exists()


async def test_check_tells_of_a_secret_that_is_lost_or_damaged_and_makes_none(
    cueapid: Commands, tmp_path: Path, database_url: str, database: Database
) -> None:
    secret = tmp_path / "data" / "session-secret"
    own = {"DATABASE_URL": database_url, "SESSION_SECRET": None}
    async with daemon_process(tmp_path, **own):
        pass
    fine = await cueapid.run(tmp_path, "check", **own)
    secret.write_text("x")
    damaged = await cueapid.run(tmp_path, "check", **own)
    secret.unlink()
    lost = await cueapid.run(tmp_path, "check", **own)

    assert (fine.code, damaged.code, lost.code) == (0, 1, 1)
    assert f"FAIL secret: {secret} is too short" in damaged.said
    assert "ok   PostgreSQL: fine" in damaged.said
    assert "FAIL secret: SESSION_SECRET differs" in lost.said
    assert not secret.exists()


async def test_a_secret_that_is_lost_can_be_replaced(
    cueapid: Commands, tmp_path: Path, database_url: str, database: Database
) -> None:
    run = partial(cueapid.run, tmp_path, DATABASE_URL=database_url, PORT=free_port(), SESSION_SECRET=PASSWORD * 2)
    async with daemon_process(tmp_path, DATABASE_URL=database_url) as daemon:
        api = await daemon.api.register()
    refused, checked = await run(), await run("check")
    accepted, again, fine = await run("accept-secret"), await run("accept-secret"), await run("check")
    async with daemon_process(tmp_path, DATABASE_URL=database_url, SESSION_SECRET=PASSWORD * 2) as daemon:
        me = await Api(daemon.client, api.key).get("/v1/auth/me")

    assert "cueapid accept-secret" in failed_with_one_line(refused, 1)
    assert (checked.code, accepted.code, again.code, fine.code) == (1, 0, 0, 0)
    assert "deliveries fail until" in accepted.said
    assert again.said == "The database goes with this secret already: nothing is changed.\n"
    assert "FAIL secret: SESSION_SECRET differs" in checked.said
    assert me["email"]


async def test_check_warns_of_what_is_left_open_and_succeeds(
    cueapid: Commands, tmp_path: Path, database_url: str
) -> None:
    ended = await cueapid.run(
        tmp_path, "check", DATABASE_URL=database_url, HOST="0.0.0.0", CALLBACK_ALLOW="0.0.0.0/0", CORS_ORIGINS="*"
    )

    warned = [line.split()[1] for line in ended.said.splitlines() if line.startswith("warn ")]
    assert ended.code == 0
    assert warned[:4] == ["ENV:", "ALLOW_REGISTER:", "CORS_ORIGINS:", "CALLBACK_ALLOW:"]


async def test_check_warns_where_handlers_on_other_machines_are_given_an_address_of_this_one(
    cueapid: Commands, tmp_path: Path, database_url: str, database: Database
) -> None:
    user, said = await add_user(database), []
    for host in ("127.0.0.1:9000", "localhost:80", "::1:80", "agent.example.com:443"):
        await add_cue(database, user, callback_url="https://agent.example.com/", callback_host=host)
        said.append((await cueapid.run(tmp_path, "check", DATABASE_URL=database_url)).said)
    reached = await cueapid.run(tmp_path, "check", DATABASE_URL=database_url, BASE_URL="https://cue.example.com")

    warning = (
        "warn BASE_URL: is http://localhost:8000, where no handler on another machine can report, such as the one at "
    )
    assert [warning in one for one in said] == [False, False, False, True]
    assert f"{warning}agent.example.com:443" in said[-1]
    assert "can report" not in reached.said


async def test_a_variable_that_does_nothing_here_is_named_at_the_start_and_by_check(
    cueapid: Commands, tmp_path: Path, database_url: str
) -> None:
    (tmp_path / ".env").write_text("RESEND_API_KEY=re_of-the-hosted-server\n")

    checked = await cueapid.run(tmp_path, "check", DATABASE_URL=database_url)
    async with daemon_process(tmp_path, DATABASE_URL=database_url) as daemon:
        code = await daemon.stop()

    (said,) = daemon.log("variable_ignored")
    assert (checked.code, code) == (0, 0)
    assert "warn RESEND_API_KEY: has no effect: mail leaves by SMTP_URL" in checked.said
    assert (said["level"], said["variable"], "SMTP_URL" in said["advice"]) == ("warning", "RESEND_API_KEY", True)
    assert "re_of" not in checked.said + daemon.logged.read_text()


async def test_a_daemon_raises_the_soft_limit_of_open_files(tmp_path: Path, database_url: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1_024, hard), hard))
    try:
        async with daemon_process(tmp_path, DATABASE_URL=database_url) as daemon:
            limits = Path(f"/proc/{daemon.process.pid}/limits").read_text()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    (line,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
    assert line.split()[3] == line.split()[4]
