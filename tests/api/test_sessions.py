"""Sessions: what a sign-in opens, for how long, and what ends it."""

from datetime import UTC, datetime, timedelta

import jwt
import pytest
import trio
from attrs import evolve

from cueapi.api.http.auth import LIFETIME
from cueapi.security.sessions import Session, SessionBroken, SessionExpired, Sessions
from cueapi.settings import Settings
from cueapi.storage.database import Database
from tests.api.signing_in import sign_in
from tests.conftest import SECRET, Api, RunningDaemon, running
from tests.storage.rows import wait_for_locks

Printed = pytest.CaptureFixture[str]
NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, UTC)
SURE = {"X_Confirm_Destructive": "true"}


async def session_of(daemon: RunningDaemon, capsys: Printed, email: str = "you@example.com") -> Api:
    """A signed-in user."""
    got = await sign_in(daemon, capsys, email)
    opened = await daemon.api.post("/v1/auth/session", {"token": got["session_token"]})
    assert opened["email"] == email
    return evolve(daemon.api, key=opened["session_token"])


def test_a_session_says_who_signed_in_and_when_for_a_day() -> None:
    sessions = Sessions.of(SECRET)

    token = sessions.write(7, signed_in=NOW, now=NOW)

    assert sessions.read(token, now=NOW) == Session(7, NOW, NOW + timedelta(hours=24))
    assert jwt.get_unverified_header(token)["alg"] == "HS256"
    with pytest.raises(SessionExpired):
        sessions.read(token, now=NOW + timedelta(hours=24))


def test_a_refreshed_session_never_outlives_thirty_days_after_the_sign_in() -> None:
    sessions = Sessions.of(SECRET)

    token = sessions.write(7, signed_in=NOW, now=NOW + timedelta(days=29, hours=12))

    assert sessions.read(token, now=NOW + timedelta(days=29, hours=13)).expires == NOW + timedelta(days=30)
    assert sessions.read(token, now=NOW + timedelta(days=29, hours=13)).signed_in == NOW


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b.c",
        jwt.encode({"sub": "7", "exp": 9e9, "auth_time": 1.0}, "another key, of thirty-two characters", "HS256"),
        jwt.encode({"sub": "7", "exp": 9e9, "auth_time": 1.0}, None, "none"),
        Sessions.of("another secret " * 3).write(7, signed_in=NOW, now=NOW),
        Sessions.of(SECRET).write(7, signed_in=NOW, now=NOW)[:-3] + "abc",
    ],
    ids=["empty", "no token", "another key", "unsigned", "another secret", "changed"],
)
def test_what_another_signed_or_nobody_is_no_session(token: str) -> None:
    with pytest.raises(SessionBroken):
        Sessions.of(SECRET).read(token, now=NOW)


def test_a_token_of_ours_that_says_nothing_is_no_session() -> None:
    sessions = Sessions.of(SECRET)
    key = sessions._key  # The one key that could sign such a thing.

    for claims in ({}, {"sub": "x", "exp": 9e9, "auth_time": 1}, {"sub": "7", "exp": "soon", "auth_time": 1}):
        with pytest.raises(SessionBroken):
            sessions.read(jwt.encode(claims, key, "HS256"), now=NOW)


async def test_a_session_opens_the_account_and_its_token_works_once(daemon: RunningDaemon, capsys: Printed) -> None:
    got = await sign_in(daemon, capsys, "you@example.com")
    opened = await daemon.api.post("/v1/auth/session", {"token": got["session_token"]})
    again = await daemon.api.refused("POST", "/v1/auth/session", {"token": got["session_token"]})

    user = evolve(daemon.api, key=opened["session_token"])
    assert (await user.get("/v1/auth/me"))["email"] == "you@example.com"
    assert (await user.get("/v1/cues"))["cues"] == []
    assert again[:2] == (401, "invalid_token")
    assert (await daemon.api.refused("POST", "/v1/auth/session", {"token": "guessed"}))[:2] == (401, "invalid_token")
    assert (await daemon.api.refused("POST", "/v1/auth/session", {}))[:2] == (422, "validation_error")


async def test_the_token_of_a_sign_in_is_taken_by_one_of_many_and_does_not_live_long(
    daemon: RunningDaemon, database: Database, capsys: Printed
) -> None:
    got = await sign_in(daemon, capsys, "you@example.com")
    statuses: list[int] = []

    async def exchange() -> None:
        answered = await daemon.api.ask("POST", "/v1/auth/session", {"token": got["session_token"]})
        statuses.append(answered.status_code)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(exchange)
    late = await sign_in(daemon, capsys, "late@example.com", "late-code")
    await database.execute("update session_tokens set expires_at = now()")

    assert sorted(statuses) == [200] + [401] * 11
    assert (await daemon.api.refused("POST", "/v1/auth/session", {"token": late["session_token"]}))[0] == 401


async def test_a_session_is_refreshed(daemon: RunningDaemon, capsys: Printed) -> None:
    session = await session_of(daemon, capsys)

    refreshed = await session.post("/v1/auth/session/refresh")

    assert refreshed["email"] == "you@example.com"
    assert (await evolve(session, key=refreshed["session_token"]).get("/v1/auth/me"))["email"] == "you@example.com"
    assert (await daemon.api.refused("POST", "/v1/auth/session/refresh"))[:2] == (401, "invalid_api_key")


async def test_a_key_gets_a_session_that_ends_with_it(owner: Api) -> None:
    with trio.fail_after(20):
        made = await owner.post("/v1/auth/session/refresh")
        session = evolve(owner, key=made["session_token"])
        me = await session.get("/v1/auth/me")
        again = await session.post("/v1/auth/session/refresh")
        key = (await owner.post("/v1/auth/key/regenerate", **SURE))["api_key"]
        ended = [
            await evolve(owner, key=token).refused("GET", "/v1/auth/me")
            for token in (session.key, again["session_token"])
        ]
        old = await owner.refused("POST", "/v1/auth/session/refresh")
        anew = await evolve(owner, key=key).post("/v1/auth/session/refresh")
        opened = await evolve(owner, key=anew["session_token"]).get("/v1/auth/me")

    assert made["email"] == me["email"] == opened["email"] == "you@example.com"
    assert [one[:2] for one in ended] == [(401, "invalid_session")] * 2
    assert old[:2] == (401, "key_rotated")


async def test_a_session_that_a_key_gets_while_it_is_being_replaced_ends_with_it(api: Api, database: Database) -> None:
    sessions = []

    async def sign_in_by_key() -> None:
        sessions.append((await api.post("/v1/auth/session/refresh"))["session_token"])

    async def replace_key() -> None:
        await api.post("/v1/auth/key/regenerate", **SURE)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery, database.transaction() as tx:
            await tx.execute("select from users for no key update")
            nursery.start_soon(sign_in_by_key)
            await wait_for_locks(database)
            nursery.start_soon(replace_key)
            await wait_for_locks(database, 2)
        (token,) = sessions
        ended = await evolve(api, key=token).refused("GET", "/v1/auth/me")

    assert ended[:2] == (401, "invalid_session")


async def test_an_expired_session_says_so_and_a_broken_one_too(daemon: RunningDaemon, capsys: Printed) -> None:
    await session_of(daemon, capsys)
    sessions, long_ago = daemon.resources.sessions, datetime.now(UTC) - timedelta(hours=25)
    expired = evolve(daemon.api, key=sessions.write(1, signed_in=long_ago, now=long_ago))
    unknown = evolve(daemon.api, key=sessions.write(999, signed_in=datetime.now(UTC), now=datetime.now(UTC)))

    for path in ("/v1/auth/me", "/v1/cues"):
        assert (await expired.refused("GET", path))[:2] == (401, "session_expired")
        assert (await unknown.refused("GET", path))[:2] == (401, "invalid_session")
    assert (await expired.refused("POST", "/v1/auth/session/refresh"))[:2] == (401, "session_expired")


async def test_a_new_key_ends_every_session_token_and_unclaimed_code_on_every_daemon(
    settings: Settings, database: Database, capsys: Printed
) -> None:
    async with running(settings) as daemon, running(settings) as other:
        session = await session_of(daemon, capsys)
        there = Api(other.client, session.key)
        await there.get("/v1/auth/me")
        waiting = await sign_in(daemon, capsys, "you@example.com", "second-code")
        await daemon.api.post("/v1/auth/device-code", {"device_code": "third-code"})
        body = {"device_code": "third-code", "email": "you@example.com"}
        await daemon.api.post("/v1/auth/device-code/submit-email", body)
        link = capsys.readouterr().err.split()[-1]
        approved = await other.client.post(link.partition("/v1")[1] + link.partition("/v1")[2], json={
            "token": link.partition("token=")[2].partition("&")[0], "device_code": "third-code"})  # fmt: skip
        assert approved.status_code == 200, approved.text

        key = (await session.post("/v1/auth/key/regenerate", **SURE))["api_key"]
        with trio.fail_after(LIFETIME / 2):  # for so long the other daemon would remember it
            while (await there.ask("GET", "/v1/auth/me")).status_code == 200:
                await trio.sleep(0.02)
        refused = [
            await api.refused(method, path, body)
            for api, method, path, body in (
                (session, "GET", "/v1/auth/me", None),
                (there, "GET", "/v1/auth/me", None),
                (session, "POST", "/v1/auth/session/refresh", None),
                (daemon.api, "POST", "/v1/auth/session", {"token": waiting["session_token"]}),
            )
        ]
        polled = await daemon.api.post("/v1/auth/device-code/poll", {"device_code": "third-code"})
        fresh = await sign_in(other, capsys, "you@example.com", "fourth-code")
        opened = await daemon.api.post("/v1/auth/session", {"token": fresh["session_token"]})
        me = await Api(other.client, opened["session_token"]).get("/v1/auth/me")

    assert {one[:2] for one in refused} == {(401, "invalid_session"), (401, "invalid_token")}
    assert polled == {"status": "expired"}
    assert fresh["api_key"] == key
    assert me["email"] == "you@example.com"


async def test_a_session_can_be_used_by_a_worker_that_reports_beyond_its_limit(
    settings: Settings, capsys: Printed
) -> None:
    async with running(settings.model_copy(update={"rate_limit_per_minute": 8})) as daemon:
        session = await session_of(daemon, capsys)
        answers = [await session.ask("POST", "/v1/worker/heartbeat", {}) for _ in range(12)]
        listed = await session.ask("GET", "/v1/workers")

    assert {one.status_code for one in answers} == {200}
    assert listed.status_code == 429
