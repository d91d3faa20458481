from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import pytest
import trio
from pydantic import SecretStr
from structlog.testing import capture_logs

from cueapi.api.http.rate_limits import PAUSE, Windows
from cueapi.domain.errors import Refusal
from cueapi.net.redis import open_redis
from cueapi.settings import Settings
from tests.conftest import Api, running
from tests.delivery.siblings import until
from tests.net.own_redis import OwnRedis, own_redis
from tests.process import HANG

SAID = {"rate_limits_local", "rate_limits_shared"}


@pytest.fixture
def mortal() -> Iterator[OwnRedis]:
    """A Redis that the test may kill."""
    with own_redis() as server:
        yield server


@pytest.fixture
def limited(settings: Settings, redis_url: str) -> Settings:
    """Settings with four requests a minute, counted in Redis."""
    return with_redis(settings, redis_url)


def with_redis(settings: Settings, url: str, limit: int = 4) -> Settings:
    """*settings* with a Redis."""
    return settings.model_copy(update={"redis_url": SecretStr(url), "rate_limit_per_minute": limit})


async def statuses(api: Api, times: int) -> list[int]:
    """What so many requests are answered."""
    return [(await api.ask("GET", "/v1/usage")).status_code for _ in range(times)]


async def test_two_daemons_share_the_window_of_a_user(limited: Settings) -> None:
    with trio.fail_after(HANG):
        async with running(limited) as one, running(limited) as other:
            api = await one.api.register()
            elsewhere = Api(other.client, api.key)
            first = [await statuses(each, 1) for each in (api, elsewhere)]
            usage = await elsewhere.get("/v1/usage")
            last = await api.ask("GET", "/v1/usage")
            refused = [await each.ask("GET", "/v1/usage") for each in (api, elsewhere)]
            health = await other.api.get("/health")

    assert first == [[200], [200]]
    assert usage["rate_limit"] == {"requests_per_minute": 4, "limit": 4, "current_usage": 3}
    assert last.headers["X-RateLimit-Remaining"] == "0"
    assert [one.json()["error"]["code"] for one in refused] == ["rate_limit_exceeded"] * 2
    assert all(1 <= int(one.headers["Retry-After"]) <= 60 for one in refused)
    assert health["services"]["redis"] == "ok"


async def test_two_daemons_share_the_windows_of_addresses_and_reports_are_never_refused(limited: Settings) -> None:
    with trio.fail_after(HANG):
        async with running(limited) as one, running(limited) as other:
            api = await one.api.register()
            strangers = [await statuses(daemon.api, 2) for daemon in (one, other)]
            beats = [
                (await Api(daemon.client, api.key).ask("POST", "/v1/worker/heartbeat", {})).status_code
                for daemon in (one, other) * 3
            ]
            beyond = await statuses(Api(other.client, api.key), 1)

    assert strangers == [[401, 401], [401, 429]]
    assert beats == [200] * 6
    assert beyond == [429]


async def test_while_redis_is_away_each_daemon_counts_by_itself_and_says_so_once(
    settings: Settings, mortal: OwnRedis
) -> None:
    with trio.fail_after(HANG):
        async with running(with_redis(settings, mortal.url)) as daemon:
            with capture_logs() as early:
                api = await daemon.api.register()
                before = await statuses(api, 2)
            mortal.kill()
            with capture_logs() as lines:
                after = await statuses(api, 6)
                health = await daemon.api.get("/health")

    said_early, said = ([line["event"] for line in part if line["event"] in SAID] for part in (early, lines))
    assert before == [200, 200]
    # Where the machine is slow, Redis may have been given up before it was killed: the first two are counted, too.
    assert after.count(200) in ({2, 3} if said_early else {4})
    assert after == sorted(after)
    assert said_early + said == ["rate_limits_local"]
    assert (health["status"], health["services"]["redis"]) == ("degraded", "down")


async def test_a_daemon_starts_without_its_redis(settings: Settings, mortal: OwnRedis) -> None:
    mortal.kill()
    with trio.fail_after(30):
        async with running(with_redis(settings, mortal.url)) as daemon:
            health = await daemon.api.get("/health")
            answered = await statuses(await daemon.api.register(), 5)

    assert health["services"]["redis"] == "down"
    assert answered == [200] * 4 + [429]


async def test_a_redis_that_comes_back_is_found_after_a_pause_and_shared_again(mortal: OwnRedis) -> None:
    now = 0.0
    with trio.fail_after(30), capture_logs() as lines, open_redis(mortal.url, patience=10) as redis:
        windows, other = Windows(redis, lambda: now), Windows(redis)
        mortal.kill()
        away = [(await windows.count("k", 3)).remaining for _ in range(2)]
        mortal.start()
        now = PAUSE / 2
        early = (await windows.count("k", 3)).remaining, await windows.is_shared()
        now = PAUSE
        back = (await windows.count("k", 3)).remaining, await windows.is_shared()
        elsewhere = (await other.count("k", 3)).remaining

    assert away == [2, 1]
    assert early == (0, False)
    assert back == (2, True)
    assert elsewhere == 1
    assert [line["event"] for line in lines] == ["rate_limits_local", "rate_limits_shared"]


async def test_a_redis_that_hangs_is_waited_for_by_one_request_in_a_while(nursery: trio.Nursery) -> None:
    now, asked = 0.0, 0

    async def hang(stream: trio.SocketStream) -> None:
        nonlocal asked
        asked += 1
        await trio.sleep_forever()

    with trio.fail_after(30):
        (listener,) = await nursery.start(partial(trio.serve_tcp, hang, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        with open_redis(f"redis://127.0.0.1:{port}", patience=0.3) as redis:
            windows = Windows(redis, lambda: now)
            counted = [(await windows.count("k", 20)).used for _ in range(20)]
            await until(lambda: asked >= 1)
            first = asked
            now = PAUSE
            again = (await windows.count("k", 21)).used
            await until(lambda: asked >= 2)
        nursery.cancel_scope.cancel()

    assert counted == list(range(1, 21))
    assert (first, asked) == (1, 2)
    assert again == 21


@pytest.fixture(params=["in the process", "in Redis"])
def windows(request: pytest.FixtureRequest) -> Iterator[Windows]:
    """Windows that nobody has been counted in."""
    if request.param == "in the process":
        yield Windows()
        return
    with open_redis(request.getfixturevalue("redis_url"), patience=10) as redis:
        yield Windows(redis)


async def refused(check: Callable[[], Awaitable[None]]) -> Refusal:
    """What *check* raises."""
    with pytest.raises(Refusal) as caught:
        await check()
    return caught.value


async def test_a_route_s_own_limit_is_by_name_and_key_and_tells_when_to_come_again(windows: Windows) -> None:
    with trio.fail_after(20):
        for key in ("a@example.com", "b@example.com"):
            for _ in range(3):
                await windows.check("magic", key, 3, 3_600)
        await windows.check("device", "a@example.com", 3, 3_600)
        refusal = await refused(lambda: windows.check("magic", "a@example.com", 3, 3_600))

    assert refusal.code == "rate_limit_exceeded"
    assert 3_590 <= refusal.extra["retry_after"] <= 3_600


async def test_what_strangers_make_up_pushes_out_nothing_of_another_kind() -> None:
    windows = Windows(remembered=10)

    await windows.count("user:7", 3)
    for number in range(30):
        await windows.count(f"address:{number}", 3)
        await windows.check("device-code", str(number), 3, 60)
    again = await windows.count("user:7", 3)

    assert again.remaining == 1


async def test_of_24_callers_at_once_a_limit_admits_as_many_as_it_says(windows: Windows) -> None:
    admitted = []

    async def call() -> None:
        if not (await windows.count("k", 5)).refused:
            admitted.append(1)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for _ in range(24):
                nursery.start_soon(call)

    assert len(admitted) == 5


async def test_redis_holds_no_address_of_e_mail(redis_url: str, own_redis_server: OwnRedis) -> None:
    with trio.fail_after(20), open_redis(redis_url, patience=10) as redis:
        await Windows(redis).check("magic", "a@example.com", 3, 60)

    assert len(own_redis_server.memory()) == 1
    assert "example" not in str(own_redis_server.memory())
