"""Sliding windows in a real Redis, and what happens without one."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from functools import partial

import pytest
import trio

from cueapi.net.redis import COUNT, Redis, RedisMisnamed, RedisUnavailable, open_redis, ping
from tests.net.own_redis import OwnRedis
from tests.ports import free_port
from tests.scarcity import no_file_left, no_thread_left

PATIENT = 10.0


@pytest.fixture
async def shared(redis_url: str) -> AsyncIterator[Redis]:
    """An empty Redis, with a longer timeout than a request has."""
    with open_redis(redis_url, patience=PATIENT) as shared:
        yield shared


@pytest.fixture
def unused_port() -> int:
    """A port that no program listens on."""
    return free_port()


async def test_a_window_in_redis_slides_and_what_it_refuses_does_not_count(shared: Redis) -> None:
    with trio.fail_after(20):
        while True:
            begun = time.monotonic()
            first = [await shared.count("k", 3, 1.0) for _ in range(3)]
            full = await shared.count("k", 3, 1.0)
            if time.monotonic() - begun < 1.0:
                break
            # The machine stood still: the first of them may have left the window.
            await trio.sleep(1.0)
        while (later := await shared.count("k", 3, 1.0)).refused:
            assert 0 < later.reset <= 1.0
            await trio.sleep(0.005)
        passed = time.monotonic() - begun

    assert [(one.used, one.refused) for one in first] == [(1, False), (2, False), (3, False)]
    assert (full.used, full.refused) == (3, True)
    assert passed >= 0.99
    assert 1 <= later.used <= 3


async def test_of_24_callers_at_once_as_many_as_the_limit_are_admitted(shared: Redis, redis_url: str) -> None:
    admitted: list[int] = []

    async def call(redis: Redis) -> None:
        if not (counted := await redis.count("k", 7, 60)).refused:
            admitted.append(counted.used)

    with trio.fail_after(30), open_redis(redis_url, patience=PATIENT) as other:
        async with trio.open_nursery() as nursery:
            for redis in [shared, other] * 12:
                nursery.start_soon(call, redis)

    assert sorted(admitted) == [1, 2, 3, 4, 5, 6, 7]


async def test_requests_that_are_never_refused_count_and_a_window_holds_no_more_than_its_limit(
    shared: Redis, own_redis_server: OwnRedis
) -> None:
    with trio.fail_after(20):
        beyond = [await shared.count("k", 3, 60, never_refuse=True) for _ in range(8)]
        after = await shared.count("k", 3, 60)
        none = await shared.count("none", 0, 60, never_refuse=True)

    held = own_redis_server.memory()
    assert [one.refused for one in beyond] == [False] * 8
    assert [one.used for one in beyond] == [1, 2, 3, 3, 3, 3, 3, 3]
    assert after.refused
    assert none.used == 0
    assert held.keys() == {"cueapi::k"}
    assert held["cueapi::k"][0] == 3
    assert 55_000 < held["cueapi::k"][1] <= 60_000


async def test_a_window_whose_clock_was_set_back_begins_anew(shared: Redis) -> None:
    with trio.fail_after(20):
        future = str((int(time.time()) + 3_600) * 1_000_000)
        shared.client.rpush(shared.prefix + "k", future, future)
        counted = await shared.count("k", 2, 60)

    assert (counted.used, counted.refused) == (1, False)


async def test_each_key_of_each_installation_has_its_own_window(shared: Redis, redis_url: str) -> None:
    with trio.fail_after(20), open_redis(redis_url, prefix="other", patience=PATIENT) as other:
        used = [(await redis.count(key, 9, 60)).used for redis, key in ((shared, "a"), (shared, "b"), (other, "a"))]

    assert used == [1, 1, 1]


async def test_the_script_is_sent_again_where_redis_has_forgotten_it(shared: Redis) -> None:
    with trio.fail_after(20):
        await shared.count("k", 9, 60)
        shared.client.script_flush()
        counted = await shared.count("k", 9, 60)

    assert counted.used == 2
    assert "TIME" in COUNT


async def test_a_redis_that_hangs_is_given_up_in_time(nursery: trio.Nursery) -> None:
    async def hang(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    with trio.fail_after(20):
        (listener,) = await nursery.start(partial(trio.serve_tcp, hang, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        begun = trio.current_time()
        with open_redis(f"redis://127.0.0.1:{port}", patience=0.2) as hanging:
            with pytest.raises(RedisUnavailable):
                await hanging.count("k", 1, 60)
        passed = trio.current_time() - begun
        nursery.cancel_scope.cancel()

    assert passed < 5


async def test_a_redis_that_does_not_run_is_unavailable(unused_port: int) -> None:
    with trio.fail_after(10), open_redis(f"redis://127.0.0.1:{unused_port}") as nowhere:
        for ask in (nowhere.ping, lambda: nowhere.count("k", 1, 60)):
            with pytest.raises(RedisUnavailable):
                await ask()


@pytest.mark.parametrize("url", ["redis://:pass/word@host:6379", "redis://h?db=x", "ftp://h"])
async def test_the_message_about_an_unreadable_url_holds_no_password(url: str) -> None:
    with trio.fail_after(10), pytest.raises(RedisMisnamed) as told:
        await ping(url)

    assert "pass" not in str(told.value).replace("password", "")


@pytest.mark.parametrize("scarce", [no_file_left, no_thread_left])
async def test_a_shortage_of_ours_is_a_redis_that_is_away(
    redis_url: str, scarce: Callable[[], AbstractContextManager[None]]
) -> None:
    with trio.fail_after(20), open_redis(redis_url, patience=PATIENT) as shared:
        with scarce(), pytest.raises(RedisUnavailable):
            await shared.ping()
        await shared.ping()
