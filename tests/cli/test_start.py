"""What a start makes of its database: what passes is waited for, what no daemon can work on ends it with one line."""

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio

from cueapi.storage.database import Database
from tests.cli.test_main import failed_with_one_line
from tests.conftest import in_database, say
from tests.ports import free_port
from tests.process import Commands, daemon_process
from tests.storage.pooler import pooler

_numbers = count()


@pytest.fixture
def empty_url(postgres_url: str) -> Iterator[str]:
    """A database with nothing in it."""
    name = f"cueapi_start_{os.getpid()}_{next(_numbers)}"
    say(postgres_url, f"create database {name}")
    yield in_database(postgres_url, name)
    say(postgres_url, f"drop database {name} with (force)")


@pytest.mark.parametrize(
    ("fault", "mended", "reason"),
    [
        ("allow_connections false", "allow_connections true", "is not currently accepting connections"),
        ("set default_transaction_read_only = on", "reset default_transaction_read_only", "in a read-only transaction"),
    ],
)
async def test_a_start_waits_for_a_database_that_does_not_serve_just_now(
    postgres_url: str, empty_url: str, tmp_path: Path, fault: str, mended: str, reason: str
) -> None:
    alter = f"alter database {empty_url.rpartition('/')[2]}"
    await trio.to_thread.run_sync(say, postgres_url, f"{alter} {fault}")

    async with daemon_process(tmp_path, healthy=False, DATABASE_URL=empty_url) as daemon:
        waiting = await daemon.logs("database_awaited")
        await trio.to_thread.run_sync(say, postgres_url, f"{alter} {mended}")
        await daemon.healthy()
        code = await daemon.stop()

    assert reason in waiting["reason"]
    assert code == 0


async def test_a_start_prints_a_link_for_the_first_account_and_none_where_there_is_one(
    empty_url: str, tmp_path: Path
) -> None:
    async with daemon_process(tmp_path, fresh=True, DATABASE_URL=empty_url) as daemon:
        (line,) = [line for line in daemon.lines() if not line.startswith("{")]
        page = await daemon.client.get(urlsplit(line.split()[-1]).path)
        await daemon.api.register()
        await daemon.stop()
    async with daemon_process(tmp_path, DATABASE_URL=empty_url) as later:
        await later.stop()

    assert "Make my account" in page.text
    assert [line for line in later.lines() if not line.startswith("{")] == []
    assert (daemon.said.read_text(), later.said.read_text()) == ("", "")


@pytest.mark.parametrize("setting", [{"ENV": "production"}, {"DASHBOARD": "false"}], ids=["production", "no dashboard"])
async def test_where_no_one_watches_or_there_is_no_dashboard_no_link_is_printed(
    empty_url: str, tmp_path: Path, setting: dict[str, str]
) -> None:
    secret = {"SESSION_SECRET": "s" * 32}
    async with daemon_process(tmp_path, DATABASE_URL=empty_url, **secret, **setting) as daemon:
        await daemon.stop()

    assert [line for line in daemon.lines() if not line.startswith("{")] == []


async def test_a_start_on_a_terminal_says_where_the_server_is_and_how_to_begin(empty_url: str, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    environment = {"DATABASE_URL": empty_url, "DATA_DIR": str(tmp_path), "PORT": str(free_port())}
    with open(ours, "rb", buffering=0) as terminal:
        process = subprocess.Popen([sys.executable, "-m", "cueapi"], env=environment, cwd=tmp_path, stdout=theirs,
                                   stderr=subprocess.DEVNULL)  # fmt: skip
        os.close(theirs)
        said = b""
        with trio.fail_after(120):
            while b"/ui/enter/" not in said or not said.endswith(b"\n"):
                said += await trio.to_thread.run_sync(terminal.read, 4096)
        process.terminate()
        assert await trio.to_thread.run_sync(process.wait) == 0

    port = environment["PORT"]
    assert f"CueAPI serves at http://localhost:{port}; its data lies in the database of DATABASE_URL.".encode() in said
    assert f"Begin here, within 15 minutes: http://localhost:{port}/ui/enter/".encode() in said


async def test_a_database_that_allows_no_connections_while_a_daemon_runs_is_waited_for(
    postgres_url: str, empty_url: str, tmp_path: Path
) -> None:
    name = empty_url.rpartition("/")[2]
    cut = f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"

    async with daemon_process(tmp_path, DATABASE_URL=empty_url) as daemon:
        api = await daemon.api.register()
        await trio.to_thread.run_sync(say, postgres_url, f"alter database {name} allow_connections false", cut)
        refused = await api.refused("GET", "/v1/cues")
        await daemon.logs("sibling_waiting")
        await trio.to_thread.run_sync(say, postgres_url, f"alter database {name} allow_connections true")
        await daemon.healthy()
        listed = await api.get("/v1/cues")
        restarts = {one["restarts"] for one in (await daemon.siblings()).values()}

    assert refused[:2] == (503, "storage_unavailable")
    assert listed["cues"] == []
    assert restarts == {0}


async def test_a_role_without_the_privilege_to_make_tables_ends_the_start_with_2(
    cueapid: Commands, postgres_url: str, empty_url: str, tmp_path: Path
) -> None:
    role = f"guest_{os.getpid()}_{next(_numbers)}"
    here = urlsplit(empty_url)
    guest = here._replace(netloc=f"{role}:secret@{here.hostname}:{here.port}").geturl()
    await trio.to_thread.run_sync(say, postgres_url, f"create role {role} login password 'secret'")
    try:
        ended = await cueapid.run(tmp_path, DATABASE_URL=guest, PORT=free_port())
    finally:
        await trio.to_thread.run_sync(say, postgres_url, f"drop role {role}")

    assert "permission denied for schema public" in failed_with_one_line(ended, 2)


async def test_a_database_that_lacks_an_index_ends_the_start_with_2_and_check_names_it(
    cueapid: Commands, tmp_path: Path, database_url: str, database: Database
) -> None:
    await database.execute("drop index cues_due")

    ended = await cueapid.run(tmp_path, DATABASE_URL=database_url, PORT=free_port())
    checked = await cueapid.run(tmp_path, "check", DATABASE_URL=database_url)

    line = failed_with_one_line(ended, 2)
    assert "index cues_due on cues is missing" in line
    assert f"FAIL migrations: {line}" in checked.said
    assert checked.code == 1


async def test_a_pooler_by_transaction_ends_the_start_with_2_and_check_says_it(
    cueapid: Commands, tmp_path: Path, database_url: str
) -> None:
    async with pooler(database_url, by_transaction=True) as pooled:
        ended = await cueapid.run(tmp_path, DATABASE_URL=pooled, PORT=free_port())
        checked = await cueapid.run(tmp_path, "check", DATABASE_URL=pooled)

    line = failed_with_one_line(ended, 2)
    assert line.startswith("DATABASE_URL: ")
    assert "pool_mode = session" in line
    assert f"FAIL PostgreSQL: {line}" in checked.said


async def test_behind_a_pooler_by_session_a_daemon_serves_without_a_warning(database_url: str, tmp_path: Path) -> None:
    async with pooler(database_url, by_transaction=False) as pooled:
        async with daemon_process(tmp_path, DATABASE_URL=pooled) as daemon:
            await daemon.api.register()
            code = await daemon.stop()

    assert code == 0
    # That the machine stood still says nothing of the pooler.
    told = [line for line in daemon.log() if line["level"] != "info" and line["event"] != "standstill_noticed"]
    assert told == []
