"""What asyncpg promises, kept on Trio."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from uuid import UUID, uuid4

import asyncpg
import pytest
import trio
from attrs import define

from cueapi.trio_asyncpg.connection import SIMPLE_TYPES, Connection, close, connect
from tests.process import HANG

UNHURRIED = 20  # seconds; only a test that hangs needs them


@pytest.fixture
async def connection(postgres_url: str) -> AsyncIterator[Connection]:
    connection = await connect(postgres_url)
    yield connection
    await close(connection)


@pytest.fixture
async def admin(postgres_url: str) -> AsyncIterator[Connection]:
    """A connection that looks at the others from outside."""
    admin = await connect(postgres_url)
    yield admin
    await close(admin)


MOMENT = datetime(2031, 2, 3, 4, 5, 6, 789012, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int2", -32768),
        ("int4", 2**31 - 1),
        ("int8", -(2**63)),
        ("float8", 1.5e300),
        ("float8", float("-inf")),
        ("numeric", Decimal("12345678901234567890.000000001")),
        ("bool", True),
        ("text", "Grüße, 世界 🎺"),
        ("bytea", bytes(range(256))),
        ("timestamptz", MOMENT),
        ("date", date(1999, 12, 31)),
        ("interval", timedelta(days=3, seconds=4, microseconds=5)),
        ("uuid", UUID("0f6e3a6e-5a0e-4d0a-9a27-0f2f4e4d7c11")),
        ("int4[]", [1, None, 3]),
        ("text[]", ["a", 'b"c', ""]),
        ("jsonb", '{"a": [1, null]}'),
        ("text", None),
    ],
)
async def test_a_value_comes_back_as_it_went(connection: Connection, kind: str, value: object) -> None:
    with trio.fail_after(UNHURRIED):
        assert await connection.fetchval(f"select $1::{kind}", value) == value


async def test_an_array_of_300000_elements_comes_back_whole(connection: Connection) -> None:
    many = list(range(300_000))

    with trio.fail_after(UNHURRIED):
        assert await connection.fetchval("select array_agg(n) from unnest($1::int[]) n", many) == many


async def test_five_megabytes_come_back_whole(connection: Connection) -> None:
    large = Random(5).randbytes(5 * 1024 * 1024)

    with trio.fail_after(UNHURRIED):
        assert await connection.fetchval("select $1::bytea", large) == large


async def test_a_composite_type_of_our_own_is_looked_up(connection: Connection) -> None:
    with trio.fail_after(UNHURRIED):
        await connection.execute("create type pg_temp.point3 as (x int, y int, z text)")

        assert await connection.fetchval("select (1, 2, 'z')::pg_temp.point3") == (1, 2, "z")


async def test_all_domains_and_arrays_are_looked_up_once_a_session_and_by_the_statement_that_is_quickly_planned(
    connection: Connection,
) -> None:
    asked = []
    domains = "create domain pg_temp.few as int[]; create domain pg_temp.low as int check (value < 9)"
    values = "select $1::pg_temp.low, $2::pg_temp.few, $3::uuid[]", 3, [1, None], [UUID(int=7)]

    with trio.fail_after(UNHURRIED):
        await connection.execute(domains)
        with connection.query_logger(lambda record: asked.append(record.query)):
            row = await connection.fetchrow(*values)
            again = await connection.fetchval("select $1::timestamptz[]", [MOMENT])
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.fetchval("select $1::pg_temp.low", 9)

    assert (tuple(row), again) == ((3, [1, None], [UUID(int=7)]), [MOMENT])
    assert [query for query in asked if "pg_type" in query] == [SIMPLE_TYPES]


async def test_types_of_other_shapes_are_looked_up_as_asyncpg_does(connection: Connection) -> None:
    with trio.fail_after(UNHURRIED):
        await connection.execute(
            "create domain pg_temp.low as int; create domain pg_temp.lows as pg_temp.low[];"
            " create type pg_temp.mood as enum ('good', 'bad')"
        )
        row = await connection.fetchrow(
            "select $1::pg_temp.low[], $2::pg_temp.lows, $3::pg_temp.mood[], $4::name[], $5::int4range",
            [1, 2], [3], ["good"], ["n"], asyncpg.Range(1, 5),
        )  # fmt: skip

    assert tuple(row) == ([1, 2], [3], ["good"], ["n"], asyncpg.Range(1, 5))


async def test_init_may_set_codecs(postgres_url: str) -> None:
    async def init(connection: Connection) -> None:
        await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")

    with trio.fail_after(UNHURRIED):
        connection = await connect(postgres_url, init=init)
        value = await connection.fetchval("select $1::jsonb", {"a": [1, None]})
        await close(connection)

    assert value == {"a": [1, None]}


async def test_a_connection_whose_init_fails_is_not_left_behind(postgres_url: str, admin: Connection) -> None:
    pids = []

    async def init(connection: Connection) -> None:
        pids.append(connection.get_server_pid())
        await connection.execute("select 1/0")

    with trio.fail_after(UNHURRIED):
        with pytest.raises(asyncpg.DivisionByZeroError):
            await connect(postgres_url, init=init)

        await gone(admin, pids[0])


async def test_server_settings_are_those_of_the_session(postgres_url: str) -> None:
    with trio.fail_after(UNHURRIED):
        connection = await connect(postgres_url, server_settings={"application_name": "contract"})
        name = await connection.fetchval("show application_name")
        await close(connection)

    assert name == "contract"


@pytest.mark.parametrize(
    ("statement", "sqlstate"),
    [
        ("select 1/0", "22012"),
        ("select * from nowhere", "42P01"),
        ("selec", "42601"),
        ("select 'x'::int", "22P02"),
        ("select pg_cancel_backend(pg_backend_pid()), pg_sleep(9)", "57014"),
    ],
)
async def test_an_error_says_its_sqlstate_and_leaves_the_connection_usable(
    connection: Connection, statement: str, sqlstate: str
) -> None:
    with trio.fail_after(UNHURRIED):
        with pytest.raises(asyncpg.PostgresError) as caught:
            await connection.fetch(statement)

        assert caught.value.sqlstate == sqlstate
        assert await connection.fetchval("select 1") == 1


async def test_an_argument_that_does_not_fit_is_refused_before_it_is_sent(connection: Connection) -> None:
    with trio.fail_after(UNHURRIED):
        with pytest.raises(asyncpg.DataError):
            await connection.fetchval("select $1::int", "no number")

        assert await connection.fetchval("select $1::int", 7) == 7


async def test_a_second_task_on_the_same_connection_is_refused(connection: Connection) -> None:
    with trio.fail_after(UNHURRIED):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.execute, "select pg_sleep(60)")
            await trio.testing.wait_all_tasks_blocked()

            with pytest.raises(asyncpg.InterfaceError, match="another operation"):
                await connection.fetchval("select 1")
            nursery.cancel_scope.cancel()


async def test_a_transaction_commits_or_rolls_back(connection: Connection) -> None:
    with trio.fail_after(UNHURRIED):
        await connection.execute("create temp table t (n int)")
        async with connection.transaction():
            await connection.execute("insert into t values (1)")
        with suppress(asyncpg.DivisionByZeroError):
            async with connection.transaction(isolation="serializable"):
                await connection.execute("insert into t values (2)")
                await connection.execute("select 1/0")

        assert await connection.fetchval("select array_agg(n) from t") == [1]


async def test_a_savepoint_rolls_back_alone(connection: Connection) -> None:
    with trio.fail_after(UNHURRIED):
        await connection.execute("create temp table t (n int)")
        async with connection.transaction():
            await connection.execute("insert into t values (1)")
            with suppress(KeyError):
                async with connection.transaction():
                    await connection.execute("insert into t values (2)")
                    raise KeyError
            await connection.execute("insert into t values (3)")

        assert await connection.fetchval("select array_agg(n) from t") == [1, 3]


async def test_a_cursor_yields_row_by_row(connection: Connection) -> None:
    with trio.fail_after(UNHURRIED):
        async with connection.transaction():
            rows = connection.cursor("select n from generate_series(1, 200) n", prefetch=30)

            assert [row["n"] async for row in rows] == list(range(1, 201))


async def test_discard_all_does_not_trouble_the_next_statement(connection: Connection) -> None:
    with trio.fail_after(UNHURRIED):
        for _ in range(3):
            assert await connection.fetchval("select $1::int", 1) == 1
            await connection.execute("discard all")


async def test_discard_all_spoils_a_statement_that_was_prepared_by_name(connection: Connection) -> None:
    with trio.fail_after(UNHURRIED):
        statement = await connection.prepare("select $1::int")
        assert await statement.fetchval(5) == 5
        await connection.execute("discard all")

        with pytest.raises(asyncpg.InvalidSQLStatementNameError):
            await statement.fetchval(5)
        assert await (await connection.prepare("select $1::int")).fetchval(6) == 6


async def test_a_changed_column_does_not_trouble_a_cached_statement(connection: Connection) -> None:
    with trio.fail_after(UNHURRIED):
        await connection.execute("create temp table t (n int); insert into t values (1)")
        assert await connection.fetchval("select n from t") == 1
        await connection.execute("alter table t alter n type text")

        assert await connection.fetchval("select n from t") == "1"


async def test_more_statements_than_the_cache_holds_are_closed_again(connection: Connection) -> None:
    with trio.fail_after(UNHURRIED):
        for n in range(250):
            assert await connection.fetchval(f"select {n}") == n

        assert await connection.fetchval("select count(*) from pg_prepared_statements") <= 101


async def test_asyncpgs_own_timeouts_are_refused(connection: Connection) -> None:
    with trio.fail_after(UNHURRIED):
        with pytest.raises(RuntimeError, match="scopes"):
            await connection.fetchval("select 1", timeout=1)


async def gone(admin: Connection, pid: int) -> None:
    """Wait until the server has no backend *pid* any more."""
    while await admin.fetchval("select count(*) from pg_stat_activity where pid = $1", pid):
        await trio.lowlevel.checkpoint()


async def terminate(admin: Connection, connection: Connection) -> None:
    """Have the server end *connection*'s backend, and wait until it has."""
    assert await admin.fetchval("select pg_terminate_backend($1, 10000)", connection.get_server_pid())


async def test_a_connection_killed_under_a_query_says_so(connection: Connection, admin: Connection) -> None:
    with trio.fail_after(UNHURRIED):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(terminate, admin, connection)
            with pytest.raises(asyncpg.ConnectionDoesNotExistError, match="administrator command"):
                await connection.execute("select pg_sleep(30)")

    assert connection.is_closed()


async def test_a_connection_killed_while_idle_says_so(connection: Connection, admin: Connection) -> None:
    with trio.fail_after(UNHURRIED):
        await terminate(admin, connection)

        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await connection.fetchval("select 1")
        with pytest.raises(asyncpg.InterfaceError, match="closed"):
            await connection.fetchval("select 1")


async def test_a_connection_killed_in_a_transaction_says_so_and_commits_nothing(
    connection: Connection, admin: Connection
) -> None:
    async def interrupted() -> None:
        async with connection.transaction():
            await connection.execute("create table killed (n int)")
            await terminate(admin, connection)
            await connection.execute("insert into killed values (1)")

    with trio.fail_after(UNHURRIED):
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await interrupted()

        assert await admin.fetchval("select to_regclass('killed')") is None
    assert connection.is_closed()


async def test_a_connection_killed_before_commit_says_so(connection: Connection, admin: Connection) -> None:
    with trio.fail_after(UNHURRIED):
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            async with connection.transaction():
                await terminate(admin, connection)


async def test_an_error_of_ours_is_not_hidden_by_a_connection_killed_before_rollback(
    connection: Connection, admin: Connection
) -> None:
    async def interrupted() -> None:
        async with connection.transaction():
            await terminate(admin, connection)
            raise KeyError

    with trio.fail_after(UNHURRIED), pytest.raises(KeyError):
        await interrupted()


@pytest.mark.parametrize("statement", ["select pg_sleep(60)", "select pg_sleep($1)"], ids=["simple", "prepared"])
async def test_a_query_that_is_cut_off_ends_at_the_server_too(
    connection: Connection, admin: Connection, statement: str
) -> None:
    arguments = [60] if "$" in statement else []
    pid = connection.get_server_pid()
    with trio.fail_after(UNHURRIED):
        with trio.move_on_after(0.05) as scope:
            await connection.execute(statement, *arguments)

        assert scope.cancelled_caught
        assert connection.is_closed()
        assert not await admin.fetchval("select count(*) from pg_stat_activity where pid = $1", pid)


async def test_a_transaction_that_is_cut_off_gives_its_locks_back_at_once(
    connection: Connection, admin: Connection
) -> None:
    with trio.fail_after(UNHURRIED):
        with trio.move_on_after(0.05) as scope:
            async with connection.transaction(), connection.transaction():
                await connection.execute("select pg_advisory_xact_lock(4711)")
                await connection.execute("select pg_sleep(60)")

        assert scope.cancelled_caught
        assert await admin.fetchval("select pg_try_advisory_lock(4711)")


async def test_a_transaction_that_is_cancelled_between_two_statements_is_rolled_back_and_the_connection_stays(
    connection: Connection,
) -> None:
    with trio.fail_after(UNHURRIED):
        await connection.execute("create temp table t (n int)")
        with trio.CancelScope() as scope:
            async with connection.transaction():
                await connection.execute("insert into t values (1)")
                scope.cancel()
                await trio.sleep_forever()

        assert scope.cancelled_caught
        assert await connection.fetchval("select count(*) from t") == 0


async def test_a_large_value_that_is_cut_off_on_its_way_leaves_nothing_behind(
    connection: Connection, admin: Connection
) -> None:
    pid = connection.get_server_pid()
    with trio.fail_after(UNHURRIED):
        with trio.move_on_after(0.005):
            await connection.execute("select length($1::bytea), pg_sleep(60)", bytes(50_000_000))

        assert not await admin.fetchval("select count(*) from pg_stat_activity where pid = $1", pid)


@define(eq=False)
class CutOff(trio.abc.Instrument):
    """Cancels *scope* when the task that made it has taken *left* steps."""

    scope: trio.CancelScope
    task: trio.lowlevel.Task
    left: int

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.left -= 1
            if self.left == 0:
                self.scope.cancel()


async def a_whole_life(dsn: str) -> None:
    connection = await connect(dsn, server_settings={"application_name": "a whole life"})
    try:
        async with connection.transaction():
            await connection.fetchval("select array[$1::int]", 1)
            async with connection.transaction():
                await connection.execute("select 1")
        statement = await connection.prepare("select $1::text")
        await statement.fetch("x")
        await connection.execute("select pg_sleep(0.001)")
    finally:
        await close(connection)


async def test_cancelled_at_every_single_await_it_leaves_nothing_behind(postgres_url: str, admin: Connection) -> None:
    steps = 0
    with trio.fail_after(HANG):
        while True:
            steps += 1
            with trio.CancelScope() as scope:
                cut_off = CutOff(scope, trio.lowlevel.current_task(), steps)
                trio.lowlevel.add_instrument(cut_off)
                try:
                    await a_whole_life(postgres_url)
                finally:
                    trio.lowlevel.remove_instrument(cut_off)
            if not scope.cancelled_caught:
                break
        while await admin.fetchval("select count(*) from pg_stat_activity where application_name = 'a whole life'"):
            await trio.lowlevel.checkpoint()

    assert steps > 20


async def test_closing_returns_when_the_backend_is_gone(connection: Connection, admin: Connection) -> None:
    pid = connection.get_server_pid()
    with trio.fail_after(UNHURRIED):
        await close(connection)
        await close(connection)

        assert not await admin.fetchval("select count(*) from pg_stat_activity where pid = $1", pid)


async def test_a_wrong_password_is_refused_as_such(tcp_url: str) -> None:
    there = tcp_url.rpartition("@")[2]
    with trio.fail_after(UNHURRIED), pytest.raises(asyncpg.InvalidPasswordError):
        await connect(f"postgresql://postgres:wrong@{there}")


async def test_the_password_may_be_in_a_file(tcp_url: str, tmp_path: object) -> None:
    user, _, rest = tcp_url.partition("://")[2].partition(":")
    password, _, there = rest.partition("@")
    passfile = f"{tmp_path}/pgpass"
    await trio.Path(passfile).write_text(f"*:*:*:{user}:{password}\n")
    await trio.Path(passfile).chmod(0o600)

    with trio.fail_after(UNHURRIED):
        connection = await connect(f"postgresql://{user}@{there}?passfile={passfile}")
        assert await connection.fetchval("select current_user") == user
        await close(connection)


async def test_hosts_are_tried_in_order(tcp_url: str) -> None:
    before, _, there = tcp_url.rpartition("@")
    with trio.fail_after(UNHURRIED):
        connection = await connect(f"{before}@127.0.0.1:1,{there}")
        assert await connection.fetchval("select 1") == 1
        await close(connection)


async def test_when_no_host_takes_us_the_last_error_is_raised() -> None:
    with trio.fail_after(UNHURRIED), pytest.raises(OSError, match="connect"):
        await connect("postgresql://nobody@127.0.0.1:1,127.0.0.1:2/nothing")


@pytest.mark.parametrize("wanted", ["any", "primary", "read-write", "prefer-standby"])
async def test_a_primary_is_taken_where_it_will_do(tcp_url: str, wanted: str) -> None:
    with trio.fail_after(UNHURRIED):
        connection = await connect(f"{tcp_url}?target_session_attrs={wanted}")
        assert await connection.fetchval("select 1") == 1
        await close(connection)


@pytest.mark.parametrize("wanted", ["standby", "read-only"])
async def test_a_primary_is_refused_where_a_standby_is_wanted(tcp_url: str, wanted: str) -> None:
    with trio.fail_after(UNHURRIED), pytest.raises(asyncpg.TargetServerAttributeNotMatched):
        await connect(f"{tcp_url}?target_session_attrs={wanted}")


Statement = tuple[str, Sequence[object]]


def random_statement(random: Random) -> Statement:
    """A statement that may work and may fail, in one session's temporary table or without any."""
    number, word = random.randrange(-50, 50), "".join(random.choices("aäb'\"\\ 世", k=random.randrange(9)))
    statements: list[Statement] = [
        ("select $1::int / $2::int", (number, random.randrange(-1, 5))),
        ("select $1::text || $2, length($1), null::int", (word, word)),
        ("select n, n * 1.5 as f, $1::bytea from generate_series(1, $2) n", (word.encode(), abs(number))),
        ("select $1::timestamptz + $2", (MOMENT, timedelta(seconds=number))),
        ("select $1::numeric ^ 3, $2::uuid, $3::jsonb", (Decimal(number) / 7, uuid4(), json.dumps([word]))),
        ("select $1::int[] || $2::int", ([number, None], number)),
        ("select $1::text::int", (str(number) + random.choice(["", "x"]),)),
        ("insert into t values ($1, $2) returning *", (number, word)),
        ("update t set word = $2 where n > $1 returning n", (number, word)),
        ("delete from t where n = $1", (number,)),
        ("select n, word from t order by n", ()),
        (random.choice(["begin", "commit", "rollback", "savepoint s", "rollback to s"]), ()),
        ("select * from missing where n = $1", (number,)),
    ]
    return random.choice(statements)


async def answers(connection: asyncpg.Connection, statements: Sequence[Statement]) -> list[object]:
    """What the server said to each of *statements*: rows, or a SQLSTATE."""
    await connection.execute("create temp table t (n int primary key, word text)")
    said: list[object] = []
    for statement, arguments in statements:
        try:
            said.append([tuple(row) for row in await connection.fetch(statement, *arguments)])
        except asyncpg.PostgresError as error:
            said.append(error.sqlstate)
    return said


async def answers_on_asyncio(dsn: str, statements: Sequence[Statement]) -> list[object]:
    connection = await asyncpg.connect(dsn)
    try:
        return await answers(connection, statements)
    finally:
        await connection.close()


async def test_10000_random_statements_are_answered_as_on_asyncio(postgres_url: str, connection: Connection) -> None:
    random = Random(20310203)
    statements = [random_statement(random) for _ in range(10_000)]
    with trio.fail_after(HANG):
        ours = await answers(connection, statements)
        theirs = await trio.to_thread.run_sync(asyncio.run, answers_on_asyncio(postgres_url, statements))

    assert ours == theirs
    assert len({str(answer) for answer in ours if isinstance(answer, str)}) > 5


WITHOUT_ASYNCIO = """
import asyncio
import sys

def refuse(*args, **kwargs):
    raise AssertionError("asyncio was used")

for module in (asyncio, asyncio.events, asyncio.futures, asyncio.tasks, asyncio.timeouts):
    for name in ("get_event_loop", "get_running_loop", "new_event_loop", "_get_running_loop", "Future",
                 "Task", "create_task", "ensure_future", "current_task", "wait_for", "shield", "timeout"):
        if hasattr(module, name):
            setattr(module, name, refuse)

import asyncpg
import trio
from cueapi.trio_asyncpg.connection import close, connect
from cueapi.trio_asyncpg.listener import listen
from cueapi.trio_asyncpg.pool import open_pool

async def init(connection):
    await connection.set_type_codec("jsonb", encoder=str, decoder=str, schema="pg_catalog")

async def main(dsn):
    async with open_pool(dsn, size=2, init=init) as pool, pool.acquire() as connection:
        async with connection.transaction():
            assert len([row async for row in connection.cursor("select generate_series(1, 99)")]) == 99
        assert await (await connection.prepare("select $1::int")).fetchval(1) == 1
        try:
            await connection.fetch("select 1/0")
        except asyncpg.DivisionByZeroError:
            pass
        await connection.execute("discard all")
        assert (await connection.fetchrow("select $1::jsonb", "[1]"))[0] == "[1]"
        with trio.move_on_after(0.05):
            await connection.execute("select pg_sleep(60)")
    async with listen(dsn, "unheard", heartbeat=1.0) as listener:
        assert await listener.next() is None
    await close(await connect(dsn))

trio.run(main, sys.argv[1])
"""


async def test_asyncio_is_not_needed_for_any_of_it(postgres_url: str) -> None:
    with trio.fail_after(HANG):
        ended = await trio.run_process(
            [sys.executable, "-W", "error", "-c", WITHOUT_ASYNCIO, postgres_url],
            capture_stderr=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    assert (ended.returncode, ended.stderr.decode()) == (0, "")
