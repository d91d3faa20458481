"""The pool stays whole, whatever happens to those who use it; the listener notices when it hears no more."""

import os
import signal
from collections.abc import AsyncIterator
from random import Random

import asyncpg
import pytest
import trio
import trio.testing

from cueapi.trio_asyncpg.connection import Connection, close, connect
from cueapi.trio_asyncpg.listener import Notify, listen
from cueapi.trio_asyncpg.pool import Pool, PoolClosed, PoolTimeout, open_pool
from tests.storage.own_postgres import OwnPostgres
from tests.trio_asyncpg.relay import relay_to

UNHURRIED = 20  # seconds; only a test that hangs needs them
OURS = {"application_name": "of the pool"}


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[Pool]:
    async with open_pool(postgres_url, size=3, server_settings=OURS) as pool:
        yield pool


@pytest.fixture
async def admin(postgres_url: str) -> AsyncIterator[Connection]:
    """A connection that looks at the others from outside."""
    admin = await connect(postgres_url)
    yield admin
    await close(admin)


async def backends(admin: Connection, state: str = "%") -> int:
    """How many of the pool's backends the server knows, in any *state* or in one."""
    count = await admin.fetchval(
        "select count(*) from pg_stat_activity where application_name = 'of the pool' and state like $1",
        state,
    )
    return int(count)


async def pid_of(pool: Pool) -> int:
    async with pool.acquire() as connection:
        return int(await connection.fetchval("select pg_backend_pid()"))


async def hold(pool: Pool, task_status: trio.TaskStatus[Connection]) -> None:
    """Keep a connection of *pool* until cancelled."""
    async with pool.acquire() as connection:
        task_status.started(connection)
        await trio.sleep_forever()


async def whole(pool: Pool) -> bool:
    """Whether all places of *pool* are free and each of them still gives a connection that works."""
    free = (pool.in_use, pool.waiters) == (0, 0)
    async with trio.open_nursery() as nursery:
        held = [await nursery.start(hold, pool) for _ in range(pool.size)]
        sums = [await connection.fetchval("select 1") for connection in held]
        nursery.cancel_scope.cancel()
    return free and sum(sums) == pool.size


async def test_connections_are_opened_when_they_are_wanted_and_used_again(pool: Pool, admin: Connection) -> None:
    with trio.fail_after(UNHURRIED):
        assert await backends(admin) == 0
        first = await pid_of(pool)

        assert await pid_of(pool) == first
        assert (pool.size, pool.idle, pool.in_use, pool.waiters) == (3, 1, 0, 0)
        assert await backends(admin) == 1


async def test_there_are_never_more_connections_than_places(pool: Pool, admin: Connection) -> None:
    seen = []

    async def work() -> None:
        async with pool.acquire() as connection:
            seen.append(pool.in_use)
            await connection.execute("select pg_sleep(0.005)")

    with trio.fail_after(UNHURRIED):
        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(work)

        assert (len(seen), max(seen)) == (30, 3)
        assert await backends(admin) == 3


async def test_who_comes_first_is_served_first(postgres_url: str) -> None:
    served = []

    async def take(pool: Pool, number: int) -> None:
        async with pool.acquire():
            served.append(number)

    with trio.fail_after(UNHURRIED):
        async with open_pool(postgres_url, size=1) as pool, trio.open_nursery() as nursery:
            async with pool.acquire():
                for number in range(20):
                    nursery.start_soon(take, pool, number)
                    await trio.testing.wait_all_tasks_blocked()
                assert pool.waiters == 20

    assert served == list(range(20))


async def test_waiting_for_a_connection_has_an_end(postgres_url: str) -> None:
    with trio.fail_after(UNHURRIED):
        async with open_pool(postgres_url, size=1) as pool, trio.open_nursery() as nursery:
            await nursery.start(hold, pool)
            pool.patience = 0.05

            with pytest.raises(PoolTimeout, match=r"within 0\.05 s: 1 of 1 in use"):
                await pid_of(pool)
            nursery.cancel_scope.cancel()


async def test_a_server_that_cannot_be_reached_is_told_at_once_and_costs_no_place() -> None:
    with trio.fail_after(UNHURRIED):
        async with open_pool("postgresql://nobody@127.0.0.1:1/nothing", size=1) as pool:
            for _ in range(3):
                with pytest.raises(OSError, match="connect"):
                    await pid_of(pool)

            assert pool.in_use == 0


async def test_five_cancelled_queries_leave_a_pool_of_three_whole(pool: Pool, admin: Connection) -> None:
    with trio.fail_after(UNHURRIED):
        for _ in range(5):
            async with pool.acquire() as connection:
                with trio.move_on_after(0.02) as scope:
                    await connection.execute("select pg_sleep(60)")
            assert scope.cancelled_caught

        while await backends(admin):  # One whose login was cut goes when it has noticed.
            await trio.lowlevel.checkpoint()
        assert await whole(pool)


async def test_a_query_that_is_overtaken_by_its_cancellation_is_cancelled_again(
    own_server: OwnPostgres,
) -> None:
    async def wake(pid: int) -> None:
        await trio.sleep(0.1)
        os.kill(pid, signal.SIGCONT)

    with trio.fail_after(UNHURRIED):
        async with open_pool(own_server.dsn, size=1, server_settings=OURS) as pool:
            async with pool.acquire() as connection, trio.open_nursery() as nursery:
                os.kill(connection.get_server_pid(), signal.SIGSTOP)
                nursery.start_soon(wake, connection.get_server_pid())
                with trio.move_on_after(0.02):
                    await connection.execute("select pg_sleep(60)")

            async with pool.acquire() as connection:
                assert await backends(connection) == 1


async def test_cancelled_at_any_moment_by_many_tasks_it_stays_whole(pool: Pool, admin: Connection) -> None:
    random = Random(7)

    async def work() -> None:
        for _ in range(25):
            with trio.move_on_after(random.uniform(0, 0.02)):
                async with pool.acquire() as connection, connection.transaction():
                    await connection.fetchval("select $1::int, pg_sleep(0.002)", 1)
                    async with connection.transaction():
                        await connection.execute("select pg_advisory_xact_lock(815)")

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(work)

        # Those that were cut off while logging in take a moment to be seen, and another one to go.
        while (await backends(admin), await backends(admin, "idle")) != (pool.idle, pool.idle):
            await trio.lowlevel.checkpoint()
        assert await whole(pool)


async def test_a_transaction_left_open_is_not_left_to_the_next(pool: Pool, admin: Connection) -> None:
    with trio.fail_after(UNHURRIED):
        async with pool.acquire() as connection:
            await connection.execute("begin")
            await connection.execute("select pg_advisory_xact_lock(816)")

        async with pool.acquire() as connection:
            assert not connection.is_in_transaction()
        assert await admin.fetchval("select pg_try_advisory_xact_lock(816)")


async def test_an_error_gives_the_connection_back(pool: Pool) -> None:
    with trio.fail_after(UNHURRIED):
        first = await pid_of(pool)
        with pytest.raises(asyncpg.DivisionByZeroError):
            async with pool.acquire() as connection:
                await connection.execute("select 1/0")

        assert await pid_of(pool) == first


async def test_a_connection_that_grew_old_is_replaced(postgres_url: str, admin: Connection) -> None:
    with trio.fail_after(UNHURRIED):
        async with open_pool(postgres_url, size=1, max_lifetime=0, server_settings=OURS) as pool:
            assert len({await pid_of(pool) for _ in range(3)}) == 3
            assert await backends(admin) == 0


async def test_a_connection_killed_while_idle_is_replaced_unnoticed(pool: Pool, admin: Connection) -> None:
    with trio.fail_after(UNHURRIED):
        first = await pid_of(pool)
        await admin.fetchval("select pg_terminate_backend($1, 10000)", first)

        assert await pid_of(pool) != first


async def test_a_connection_that_was_told_something_while_idle_is_kept(pool: Pool, admin: Connection) -> None:
    with trio.fail_after(UNHURRIED):
        async with pool.acquire() as connection:
            await connection.execute("listen something")
        first = await pid_of(pool)
        await admin.execute("notify something")

        assert await pid_of(pool) == first


async def test_a_restart_of_the_server_is_survived_without_an_error(own_server: OwnPostgres) -> None:
    with trio.fail_after(60):
        async with open_pool(own_server.dsn, size=3) as pool:
            assert await whole(pool)
            await trio.to_thread.run_sync(own_server.stop)
            await trio.to_thread.run_sync(own_server.start)

            assert await whole(pool)


async def test_a_unix_socket_will_do_and_what_is_cut_off_there_is_cancelled_too(
    own_server: OwnPostgres,
) -> None:
    dsn = f"{own_server.dsn.partition('@')[0]}@/postgres?host={own_server.home}&port={own_server.port}"
    with trio.fail_after(UNHURRIED):
        async with open_pool(dsn, size=1, server_settings=OURS) as pool:
            async with pool.acquire() as connection:
                assert await connection.fetchval("select inet_client_addr()") is None
                with trio.move_on_after(0.05):
                    await connection.execute("select pg_sleep(60)")
            async with pool.acquire() as connection:
                assert await backends(connection) == 1


async def test_while_the_server_is_down_every_user_is_told_and_afterwards_all_is_well(
    own_server: OwnPostgres,
) -> None:
    with trio.fail_after(60):
        async with open_pool(own_server.dsn, size=2) as pool:
            assert await whole(pool)
            await trio.to_thread.run_sync(own_server.stop)
            try:
                for _ in range(5):
                    with pytest.raises(OSError, match="connect"):
                        await pid_of(pool)
            finally:
                await trio.to_thread.run_sync(own_server.start)

            assert await whole(pool)


async def test_closing_waits_for_those_who_have_a_connection_and_refuses_those_who_wait(
    postgres_url: str, admin: Connection
) -> None:
    log = []

    async def work(pool: Pool, *, task_status: trio.TaskStatus[None]) -> None:
        async with pool.acquire() as connection:
            task_status.started()
            await connection.execute("select pg_advisory_lock(818)")
            log.append("done")

    async def come_late(pool: Pool) -> None:
        with pytest.raises(PoolClosed):
            await pid_of(pool)
        log.append("refused")

    with trio.fail_after(UNHURRIED):
        await admin.execute("select pg_advisory_lock(818)")
        async with trio.open_nursery() as nursery:
            async with open_pool(postgres_url, size=1, server_settings=OURS) as pool:
                await nursery.start(work, pool)
                nursery.start_soon(come_late, pool)
                await trio.testing.wait_all_tasks_blocked()
                # It runs once the block is left: the pool is closing then.
                nursery.start_soon(admin.execute, "select pg_advisory_unlock(818)")
            log.append("closed")
            await come_late(pool)

        assert log == ["done", "refused", "closed", "refused"]
        assert await backends(admin) == 0


async def test_closing_does_not_wait_for_ever(postgres_url: str, admin: Connection) -> None:
    async def linger(pool: Pool, *, task_status: trio.TaskStatus[None]) -> None:
        async with pool.acquire() as connection:
            task_status.started()
            await connection.execute("select pg_sleep(60)")

    async def linger_on(pool: Pool, *, task_status: trio.TaskStatus[None]) -> None:
        with pytest.raises((asyncpg.ConnectionDoesNotExistError, asyncpg.QueryCanceledError)):
            await linger(pool, task_status=task_status)

    with trio.fail_after(UNHURRIED):
        async with trio.open_nursery() as nursery:
            async with open_pool(postgres_url, size=1, server_settings=OURS) as pool:
                await nursery.start(linger_on, pool)
                pool.patience = 0.1

        while await backends(admin):
            await trio.lowlevel.checkpoint()


async def test_a_cancelled_pool_takes_leave_of_the_server_all_the_same(postgres_url: str, admin: Connection) -> None:
    with trio.fail_after(UNHURRIED):
        with trio.CancelScope() as scope:
            async with open_pool(postgres_url, server_settings=OURS) as pool:
                await pid_of(pool)
                scope.cancel()
                await trio.lowlevel.checkpoint()

        assert scope.cancelled_caught
        assert await backends(admin) == 0


async def test_notifications_are_heard_in_order(postgres_url: str, admin: Connection) -> None:
    with trio.fail_after(UNHURRIED):
        async with listen(postgres_url, "One", "two") as listener:
            await admin.execute("notify \"One\", 'a'; notify three, 'b'; notify two")

            assert await listener.next() == Notify("One", "a")
            assert await listener.next() == Notify("two", "")


async def test_a_listener_may_hold_a_lock_and_miss_nothing_while_it_queries(
    postgres_url: str, admin: Connection
) -> None:
    with trio.fail_after(UNHURRIED):
        async with listen(postgres_url, "one") as listener:
            await admin.execute("notify one, 'a'")
            assert await listener.connection.fetchval("select pg_try_advisory_lock(817)")
            assert await listener.next() == Notify("one", "a")
            with trio.move_on_after(0.02):
                await listener.next()
            await admin.execute("notify one, 'b'")

            assert await listener.next() == Notify("one", "b")
            assert not await admin.fetchval("select pg_try_advisory_lock(817)")
        assert await admin.fetchval("select pg_try_advisory_lock(817)")


async def test_silence_is_none_when_the_server_is_alive(postgres_url: str) -> None:
    with trio.fail_after(UNHURRIED):
        async with listen(postgres_url, "one", heartbeat=0.8) as listener:
            assert [await listener.next(), await listener.next()] == [None, None]


async def test_a_listener_whose_backend_is_killed_says_so(postgres_url: str, admin: Connection) -> None:
    with trio.fail_after(UNHURRIED):
        async with listen(postgres_url, "one") as listener:
            pid = listener.connection.get_server_pid()
            await admin.fetchval("select pg_terminate_backend($1, 10000)", pid)

            with pytest.raises(asyncpg.ConnectionDoesNotExistError):
                await listener.next()


async def test_a_listener_whose_server_fell_silent_says_so(tcp_url: str) -> None:
    with trio.fail_after(UNHURRIED):
        async with relay_to(tcp_url) as relay:
            before, _, there = tcp_url.rpartition("@")
            dsn = f"{before}@127.0.0.1:{relay.port}/{there.partition('/')[2]}"
            async with listen(dsn, "one", heartbeat=1.0) as listener:
                assert await listener.next() is None
                listener.heartbeat = 0.2
                with relay.frozen(), pytest.raises(asyncpg.ConnectionDoesNotExistError, match="answer"):
                    await listener.next()


async def test_a_connection_that_a_fail_over_went_past_is_given_up(pool: Pool) -> None:
    async with pool.acquire() as connection:
        await connection.execute("set default_transaction_read_only = on")
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await connection.execute("create table never (id int)")

    async with pool.acquire() as other:
        assert other is not connection
    assert connection.is_closed()
