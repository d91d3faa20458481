"""`Idempotency-Key`: one effect, one answer, whoever asks how often."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from datetime import datetime
from itertools import count
from typing import Any

import httpx
import pytest
import trio
from pydantic import SecretStr

from cueapi.settings import Settings
from cueapi.storage import idempotency
from cueapi.storage.database import Database, TransactionRolledBack
from cueapi.storage.idempotency import Key
from tests.api.work import report
from tests.conftest import Api, RunningDaemon, cue, running
from tests.moments import post_soon
from tests.process import HANG
from tests.receiver import open_receiver
from tests.storage.own_postgres import own_postgres
from tests.trio_asyncpg.relay import relay_to

CALLERS = 24
NOWHERE = ["/v1/cues/%00/fire", "/v1/cues/%ED%A0%80/fire", "/v1/executions/%F0%9F%98%80/replay"]


class RolledBack(Exception):
    """The test's transaction is to leave nothing behind."""


@pytest.fixture
async def daemons(settings: Settings) -> AsyncIterator[list[RunningDaemon]]:
    """Two daemons on one database."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(running(settings)) for _ in range(2)]


async def send(api: Api, path: str, body: Any = None, key: str = "k") -> httpx.Response:
    """POST under a key."""
    return await api.ask("POST", path, body, Idempotency_Key=key)


def code_of(response: httpx.Response) -> tuple[int, str | None]:
    """Status, and the code of a refusal."""
    return response.status_code, response.json().get("error", {}).get("code")


def is_again(first: httpx.Response, second: httpx.Response) -> bool:
    """The same answer, and it says so."""
    same = (first.status_code, first.content, first.headers["Content-Type"]) == (
        second.status_code,
        second.content,
        second.headers["Content-Type"],
    )
    return same and "Idempotent-Replayed" not in first.headers and second.headers["Idempotent-Replayed"] == "true"


async def counted(database: Database) -> dict[str, int]:
    """How many rows there are."""
    row = await database.fetch_one(
        "select (select count(*) from cues) as cues, (select count(*) from executions) as executions,"
        " (select count(*) from outbox) as outbox, (select count(*) from idempotency_keys) as keys"
    )
    return dict(row)


async def test_a_slash_at_the_end_of_the_path_makes_no_other_request_of_it(api: Api, database: Database) -> None:
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue())
        first = await send(api, f"/v1/cues/{made['id']}/fire")
        second = await send(api, f"/v1/cues/{made['id']}/fire/")

    assert is_again(first, second)
    assert (await counted(database))["executions"] == 1


async def test_a_creation_that_is_repeated_answers_the_same_and_creates_nothing(api: Api, database: Database) -> None:
    body = cue(unknown_field=1, payload={"ä": "😀", "n": 1.0})
    with trio.fail_after(20):
        first = await send(api, "/v1/cues", body)
        await api.patch(f"/v1/cues/{first.json()['id']}", {"description": "changed"})
        await api.ask("DELETE", f"/v1/cues/{first.json()['id']}")
        second = await send(api, "/v1/cues", dict(reversed(body.items())))

    assert first.status_code == 201
    assert is_again(first, second)
    assert "unknown_field" in second.json()["warning"]
    assert second.headers["X-Request-Id"] != first.headers["X-Request-Id"]
    assert (await counted(database))["cues"] == 1


async def test_a_fire_and_a_replay_that_are_repeated_fire_once(api: Api, database: Database) -> None:
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue())
        fired = [await send(api, f"/v1/cues/{made['id']}/fire", body) for body in (None, {})]
        one = fired[0].json()["id"]
        await api.post(f"/v1/executions/{one}/claim", {"worker_id": "w"})
        early = await send(api, f"/v1/executions/{one}/replay")
        await report(api, one, success=True)
        replayed = [await send(api, f"/v1/executions/{one}/replay", body) for body in (None, {}, None)]

    assert is_again(*fired)
    assert code_of(early) == (409, "execution_in_flight")
    assert is_again(*replayed[:2])
    assert is_again(replayed[0], replayed[2])
    assert replayed[0].json()["replayed_from"] == one
    assert await counted(database) == {"cues": 1, "executions": 2, "outbox": 0, "keys": 2}


async def test_what_was_fired_under_a_key_is_delivered_at_once(api: Api) -> None:
    async with open_receiver([200]) as receiver:
        with trio.fail_after(10):
            made = (await send(api, "/v1/cues", cue(receiver.url()))).json()
            one = (await send(api, f"/v1/cues/{made['id']}/fire")).json()["id"]
            await api.execution(one, "success")
            again = (await send(api, f"/v1/executions/{one}/replay")).json()["id"]
            await api.execution(again, "success")
            await receiver.wait_for(2)

    assert len(receiver.requests) == 2


async def test_a_once_cue_that_is_created_under_a_key_fires_on_time(daemon: RunningDaemon) -> None:
    api = await daemon.api.register()
    with trio.fail_after(HANG):
        first, body = await post_soon(api, 1, key="k")
        while not (listed := await api.get("/v1/executions"))["executions"]:
            await trio.sleep(0.02)
        second = await send(api, "/v1/cues", cue() | {"name": first.json()["name"]})
        third = await send(api, "/v1/cues", body)

    (execution,) = listed["executions"]
    late = datetime.fromisoformat(execution["created_at"]) - datetime.fromisoformat(execution["scheduled_for"])
    assert execution["cue_id"] == first.json()["id"]
    assert late.total_seconds() < 15  # without a wake-up a poll comes after 30
    assert code_of(second) == (422, "idempotency_key_reused")
    assert is_again(first, third)  # though `at` has passed


async def test_another_body_under_the_same_key_is_refused(api: Api, database: Database) -> None:
    body = cue(payload={"a": 1, "b": [1, 2]})
    with trio.fail_after(20):
        first = await send(api, "/v1/cues", body)
        others = [
            await send(api, "/v1/cues", other)
            for other in (body | {"name": "other"}, body | {"payload": {"a": 1, "b": [2, 1]}}, body | {"x": None}, {})
        ]
        spaced = await api.client.post(
            "/v1/cues",
            content=b" " + first.request.content.replace(b":", b" : "),
            headers={"Authorization": f"Bearer {api.key}", "Idempotency-Key": "k"},
        )

    assert [code_of(other) for other in others] == [(422, "idempotency_key_reused")] * 4
    assert is_again(first, spaced)
    assert (await counted(database))["cues"] == 1


async def test_a_key_belongs_to_one_user_and_path(api: Api, database: Database) -> None:
    with trio.fail_after(20):
        other = await api.register("other@example.com")
        made = [await send(each, "/v1/cues", cue()) for each in (api, other)]
        cues = [made[0].json()["id"], (await api.post("/v1/cues", cue()))["id"]]
        fired = [await send(api, f"/v1/cues/{cue_id}/fire") for cue_id in cues]
        third = await send(api, f"/v1/cues/{cues[0]}/fire", key="k2")
        foreign = await send(other, f"/v1/cues/{cues[0]}/fire")

    assert [response.status_code for response in (*made, *fired, third)] == [201, 201, 200, 200, 200]
    assert not any("Idempotent-Replayed" in response.headers for response in (*made, *fired, third))
    assert code_of(foreign) == (404, "cue_not_found")
    assert await counted(database) == {"cues": 3, "executions": 3, "outbox": 0, "keys": 5}


async def test_a_key_of_another_method_counts_for_nothing(api: Api, database: Database) -> None:
    with trio.fail_after(20):
        await send(api, "/v1/cues", cue())
        await database.execute("update idempotency_keys set method = 'PUT'")
        second = await send(api, "/v1/cues", cue())

    assert second.status_code == 201
    assert (await counted(database))["cues"] == 2


async def test_a_refusal_is_not_kept(api: Api, database: Database) -> None:
    taken = cue()
    with trio.fail_after(20):
        invalid = [await send(api, "/v1/cues", body) for body in (cue(name=""), cue(schedule={"type": "once"}))]
        existing = await api.post("/v1/cues", taken)
        duplicate = await send(api, "/v1/cues", taken)
        await api.ask("DELETE", f"/v1/cues/{existing['id']}")
        first = await send(api, "/v1/cues", taken)
        nowhere = await send(api, "/v1/cues/cue_000000000000/fire")

    assert [code_of(response) for response in invalid] == [(422, "validation_error"), (400, "invalid_schedule")]
    assert code_of(duplicate) == (409, "duplicate_cue_name")
    assert first.status_code == 201
    assert "Idempotent-Replayed" not in first.headers
    assert code_of(nowhere) == (404, "cue_not_found")
    assert (await counted(database))["keys"] == 1


async def test_a_refusal_for_want_of_room_is_not_kept(settings: Settings) -> None:
    with trio.fail_after(20):
        async with running(settings.model_copy(update={"active_cue_limit": 1})) as daemon:
            api = await daemon.api.register()
            existing = await api.post("/v1/cues", cue())
            body = cue()
            refused = await send(api, "/v1/cues", body)
            await api.ask("DELETE", f"/v1/cues/{existing['id']}")
            taken = [await send(api, "/v1/cues", body) for _ in range(2)]

    assert code_of(refused) == (403, "cue_limit_exceeded")
    assert is_again(*taken)


NO_KEYS = {"empty": [""], "long": ["x" * 256], "ü": ["schlüssel"], "tab": ["a\tb"], "two": ["a", "b"]}


async def test_a_key_that_is_none_is_refused_and_nothing_is_done(api: Api, database: Database) -> None:
    refused = {}
    with trio.fail_after(20):
        for why, keys in NO_KEYS.items():
            authorization = (b"Authorization", f"Bearer {api.key}".encode())
            headers = [authorization, *((b"Idempotency-Key", key.encode("latin-1")) for key in keys)]
            refused[why] = await api.client.post("/v1/cues", json=cue(), headers=headers)

    assert {why: code_of(one) for why, one in refused.items()} == dict.fromkeys(NO_KEYS, (422, "validation_error"))
    assert all("Idempotency-Key" in one.json()["error"]["message"] for one in refused.values())
    assert (await counted(database))["cues"] == 0


async def test_a_key_of_every_printable_sign_is_taken(api: Api) -> None:
    with trio.fail_after(20):
        body, key = cue(), "".join(map(chr, range(0x21, 0x7F))) * 3
        answered = [await send(api, "/v1/cues", body, key[:255]) for _ in range(2)]

    assert is_again(*answered)


async def test_a_path_that_leads_nowhere_is_found_by_no_key(api: Api) -> None:
    with trio.fail_after(20):
        answered = [await send(api, path) for path in NOWHERE]

    assert [response.status_code for response in answered] == [404] * len(NOWHERE)


async def race(apis: list[Api], path: str, body: Any) -> list[httpx.Response]:
    """What 24 callers at once are answered."""
    answered: list[httpx.Response] = []

    async def call(api: Api) -> None:
        answered.append(await send(api, path, body))

    async with trio.open_nursery() as nursery:
        for number in range(CALLERS):
            nursery.start_soon(call, apis[number % len(apis)])
    return answered


async def test_of_24_callers_with_one_key_at_two_daemons_one_has_an_effect(
    daemons: list[RunningDaemon], database: Database
) -> None:
    with trio.fail_after(60):
        api = await daemons[0].api.register()
        apis = [api, Api(daemons[1].client, api.key)]
        body = cue()
        created = await race(apis, "/v1/cues", body)
        cue_id = (await api.get("/v1/cues"))["cues"][0]["id"]
        fired = await race(apis, f"/v1/cues/{cue_id}/fire", None)
        after = [await send(api, "/v1/cues", body) for api in apis]

    for answered, status in ((created, 201), (fired, 200)):
        first = [one for one in answered if one.status_code == status and "Idempotent-Replayed" not in one.headers]
        again = [one for one in answered if one.headers.get("Idempotent-Replayed") == "true"]
        busy = [one for one in answered if code_of(one) == (409, "idempotency_key_in_use")]

        assert len(first) == 1
        assert len(first) + len(again) + len(busy) == CALLERS
        assert all(is_again(first[0], one) for one in again)
    assert all(one.headers["Idempotent-Replayed"] == "true" for one in after)
    assert await counted(database) == {"cues": 1, "executions": 1, "outbox": 0, "keys": 2}


async def test_while_the_first_runs_the_key_is_in_use_and_a_crash_leaves_nothing(api: Api, database: Database) -> None:
    body = cue()
    with trio.fail_after(30):
        async with database.transaction() as tx:
            # The first one cannot go on: it wants to lock the row of its user.
            await tx.fetch("select id from users for update")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send, api, "/v1/cues", body)
                while not (locks := await held(database)):
                    await trio.sleep(0.01)
                meanwhile = await send(api, "/v1/cues", body)
                await database.execute("select pg_terminate_backend($1)", locks[0])
        while await held(database):
            await trio.sleep(0.01)
        between = await counted(database)
        after = [await send(api, "/v1/cues", body) for _ in range(2)]

    assert code_of(meanwhile) == (409, "idempotency_key_in_use")
    assert (between["cues"], between["keys"]) == (0, 0)
    assert is_again(*after)


async def deadlock(api: Api, database: Database, body: dict[str, Any], key: str) -> httpx.Response:
    """The answer to a creation that waits for us while we wait for its key: one of both is rolled back."""
    answered: list[httpx.Response] = []

    async def create() -> None:
        answered.append(await send(api, "/v1/cues", body, key))

    async with trio.open_nursery() as nursery:
        with suppress(TransactionRolledBack):
            async with database.transaction() as tx:
                await tx.fetch("select id from users for update")
                nursery.start_soon(create)
                while not await waiting(database):
                    await trio.sleep(0.01)
                await tx.fetch("select pg_advisory_xact_lock($1)", Key(1, "POST", "/v1/cues", key).lock)
    return answered[0]


async def test_who_loses_a_deadlock_is_put_off_and_has_done_nothing(api: Api, database: Database) -> None:
    won = 0
    with trio.fail_after(300):
        # The one that looks first loses, usually the one that has waited for longer: the creation.
        for number in count():
            body, key = cue(), f"k{number}"
            lost = await deadlock(api, database, body, key)
            if lost.status_code != 201:
                break
            won += 1
        between = await counted(database)
        again = [await send(api, "/v1/cues", body, key) for _ in range(2)]

    assert code_of(lost) == (503, "storage_unavailable")
    assert (between["cues"], between["keys"]) == (won, won)
    assert is_again(*again)
    assert (await counted(database))["cues"] == won + 1


async def test_nobody_is_woken_before_the_commit(api: Api, database: Database) -> None:
    async with open_receiver([200]) as receiver:
        with trio.fail_after(20):
            made = await api.post("/v1/cues", cue(receiver.url()))
            path = f"/v1/cues/{made['id']}/fire"
            async with trio.open_nursery() as nursery:
                with suppress(RolledBack):
                    async with database.transaction() as tx:
                        # The answer cannot be kept until it is clear what becomes of this row.
                        await idempotency.keep(
                            tx, Key(1, "POST", path, "k"), body_hash=b"", status=200, answer=bytes(37)
                        )
                        nursery.start_soon(send, api, path)
                        while not await waiting(database):
                            await trio.sleep(0.01)
                        early = list(receiver.requests)
                        raise RolledBack
            # Woken too early the outbox would have found nothing, and look again at the next poll, in 30 s.
            await receiver.wait_for(1)

    assert early == []


async def waiting(database: Database) -> bool:
    """Does anybody wait for a lock?"""
    return bool(
        await database.fetch(
            "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        )
    )


async def held(database: Database) -> list[int]:
    """Who holds the lock of a key: single numbers are of keys alone."""
    rows = await database.fetch(
        "select pid from pg_locks where locktype = 'advisory' and objsubid = 1 and granted"
        " and database = (select oid from pg_database where datname = current_database())"
    )
    return [row["pid"] for row in rows]


async def test_keys_outlive_the_daemon_and_count_at_another(settings: Settings) -> None:
    body = cue()
    with trio.fail_after(30):
        async with running(settings) as daemon:
            api = await daemon.api.register()
            first = await send(api, "/v1/cues", body)
        async with running(settings) as one, running(settings) as other:
            again = [await send(Api(daemon.client, api.key), "/v1/cues", body) for daemon in (one, other)]

    assert all(is_again(first, one) for one in again)


async def test_after_24_hours_a_key_is_new_again_janitor_or_not(api: Api, database: Database) -> None:
    with trio.fail_after(20):
        first = await send(api, "/v1/cues", cue(name="first"))
        await database.execute("update idempotency_keys set created_at = now() - interval '23 hours 59 minutes'")
        young = await send(api, "/v1/cues", cue(name="first"))
        await database.execute("update idempotency_keys set created_at = now() - interval '24 hours'")
        second = [await send(api, "/v1/cues", cue(name="second")) for _ in range(2)]

    assert is_again(first, young)
    assert is_again(*second)
    assert await counted(database) == {"cues": 2, "executions": 0, "outbox": 0, "keys": 1}


async def test_while_postgresql_is_away_nothing_is_done_and_the_key_stays_free(settings: Settings) -> None:
    body = cue()
    with trio.fail_after(60), own_postgres() as server:
        async with running(settings.model_copy(update={"database_url": SecretStr(server.dsn)})) as daemon:
            api = await daemon.api.register()
            await api.get("/v1/usage")
            await trio.to_thread.run_sync(server.stop)
            away = await send(api, "/v1/cues", body)
            await trio.to_thread.run_sync(server.start)
            back = [await send(api, "/v1/cues", body) for _ in range(2)]

    assert code_of(away) == (503, "storage_unavailable")
    assert is_again(*back)


async def test_without_a_key_nothing_is_kept(api: Api, database: Database) -> None:
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue())
        fired = [(await api.post(f"/v1/cues/{made['id']}/fire"))["id"] for _ in range(2)]

    assert fired[0] != fired[1]
    assert (await counted(database))["keys"] == 0


async def test_a_fire_may_name_its_key_in_the_body_as_in_the_header(api: Api, database: Database) -> None:
    body, named = {"payload_override": {"a": 1}}, {"idempotency_key": "k"}
    with trio.fail_after(20):
        path = f"/v1/cues/{(await api.post('/v1/cues', cue()))['id']}/fire"
        first = await api.ask("POST", path, body | named)
        again = [
            await api.ask("POST", path, body | named),
            await send(api, path, body),
            await send(api, path, body | named),
            await send(api, path, body | {"idempotency_key": None}),
        ]
        reused = await api.ask("POST", path, named)

    assert first.status_code == 200
    assert [is_again(first, one) for one in again] == [True] * 4
    assert code_of(reused) == (422, "idempotency_key_reused")
    assert (await counted(database))["executions"] == 1


@pytest.mark.parametrize("key", ["", "ä", "x" * 256, "a\n", 5, ["k"]], ids=repr)
async def test_a_key_in_the_body_that_is_none_or_another_than_the_header_s_is_refused(api: Api, key: Any) -> None:
    with trio.fail_after(20):
        path = f"/v1/cues/{(await api.post('/v1/cues', cue()))['id']}/fire"
        alone = await api.refused("POST", path, {"idempotency_key": key})
        other = await api.refused("POST", path, {"idempotency_key": "one"}, Idempotency_Key="other")
        fired = await api.get("/v1/executions")

    assert (alone[:2], other[:2]) == ((422, "validation_error"),) * 2
    assert {one[2].partition(":")[0] for one in (alone, other)} == {"body.idempotency_key"}
    assert fired["total"] == 0


async def test_a_fire_whose_commit_lost_its_answer_is_delivered_at_once_and_a_repeat_gets_the_first_answer(
    settings: Settings, database_url: str
) -> None:
    with trio.fail_after(20):
        async with relay_to(database_url) as relay, open_receiver() as receiver:
            relayed = settings.model_copy(update={"database_url": SecretStr(relay.through(database_url))})
            async with running(relayed) as daemon:
                api = await daemon.api.register()
                path = f"/v1/cues/{(await api.post('/v1/cues', cue(receiver.url())))['id']}/fire"
                relay.cut_at = b"COMMIT\0"
                first = await send(api, path)
                await receiver.wait_for(1)
                second = await send(api, path)

    assert code_of(first) == (503, "storage_unavailable")
    assert (second.status_code, second.headers["Idempotent-Replayed"]) == (200, "true")
    assert len(receiver.requests) == 1
