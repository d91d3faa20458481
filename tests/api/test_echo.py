import json
from typing import Any

import pytest
import trio
from attrs import evolve

from cueapi.domain.confidential import Confidential
from cueapi.domain.signature import sign
from cueapi.settings import Settings
from cueapi.storage.database import Database
from tests.api.work import MOMENT
from tests.conftest import Api, RunningDaemon, cue, running
from tests.receiver import open_receiver
from tests.storage.rows import VAULT

TOKEN = "a-token-of-some-length"
KIB = 1024

BODIES: dict[str, Any] = {
    "an object": {"a": [1, 2.5, None, True, {"ä": "😀"}]},
    "an empty object": {},
    "an array": [1, "two", [3]],
    "a text": "hello",
    "a number": 17,
    "null": None,
    "false": False,
}

NO_JSON = {"nothing": b"", "blanks": b"  ", "text": b"hello", "half": b'{"a": 1', "NaN": b"[NaN]", "Latin-1": b'"\xfc"'}

TOKENS = {
    "x" * 15: (400, "invalid_token"),
    "x": (400, "invalid_token"),
    "x" * 129: (400, "invalid_token"),
    "ä" * 15: (400, "invalid_token"),
    "x" * 20 + "%00": (404, "not_found"),
    "x" * 16 + "/y": (404, "not_found"),
}


@pytest.fixture
async def closed(settings: Settings) -> Any:
    """A daemon as it is by default: callbacks on loopback are closed."""
    async with running(settings.model_copy(update={"callback_allow": ""})) as daemon:
        yield daemon


async def delivered(api: Api, token: str = TOKEN) -> dict[str, Any]:
    """What the token was sent, as soon as it was."""
    while (shown := await api.get(f"/v1/echo/{token}"))["status"] == "waiting":
        await trio.sleep(0.01)
    return shown


async def test_an_echo_shows_what_it_was_sent(api: Api, daemon: RunningDaemon) -> None:
    answered, shown = [], {}
    with trio.fail_after(20):
        before = await api.get(f"/v1/echo/{TOKEN}")
        for why, body in BODIES.items():
            content = json.dumps(body).encode()
            answered.append(await daemon.client.post(f"/v1/echo/{TOKEN}", content=content, headers={"X-Mine": why}))
            shown[why] = await api.get(f"/v1/echo/{TOKEN}")

    assert before == {"status": "waiting"}
    assert [(one.status_code, one.json()) for one in answered] == [(200, {"stored": True})] * len(BODIES)
    assert {one.headers["X-RateLimit-Limit"] for one in answered} == {"6000"}
    assert {why: one["payload"] for why, one in shown.items()} == BODIES
    assert [one["headers"]["x-mine"] for one in shown.values()] == list(BODIES)
    assert {one["status"] for one in shown.values()} == {"delivered"}
    assert all(MOMENT.fullmatch(one["received_at"]) for one in shown.values())


async def test_the_last_one_wins_and_secrets_are_not_kept(api: Api, daemon: RunningDaemon, database: Database) -> None:
    with trio.fail_after(20):
        await daemon.api.post(f"/v1/echo/{TOKEN}", {"n": 1})
        secrets = {"Authorization": "Bearer cue_sk_top", "Cookie": "session=top", "Proxy-Authorization": "Basic top"}
        headers = [*secrets.items(), ("X-Twice", "a"), ("X-Twice", "b")]
        await daemon.client.post(f"/v1/echo/{TOKEN}", json={"n": 2}, headers=headers)
        shown = await api.get(f"/v1/echo/{TOKEN}")
        other = await api.get(f"/v1/echo/{TOKEN}-2")
        rows = await database.fetch("select headers from echoes")
        kept = VAULT.decrypt(rows[0]["headers"], Confidential.ECHO_HEADERS, TOKEN)

    assert shown["payload"] == {"n": 2}
    assert shown["headers"]["x-twice"] == "a, b"
    assert not {"authorization", "cookie", "proxy-authorization"} & shown["headers"].keys()
    assert other == {"status": "waiting"}
    assert len(rows) == 1
    assert "top" not in str(kept)


async def test_an_echo_is_gone_after_five_minutes_janitor_or_not(
    api: Api, daemon: RunningDaemon, database: Database
) -> None:
    with trio.fail_after(20):
        await daemon.api.post(f"/v1/echo/{TOKEN}", {})
        row = await database.fetch_one("select expires_at - received_at = interval '5 minutes' as five from echoes")
        await database.execute("update echoes set expires_at = now()")
        shown = await api.get(f"/v1/echo/{TOKEN}")

    assert row["five"]
    assert shown == {"status": "waiting"}


async def test_an_echo_stored_at_one_daemon_is_shown_by_another(
    api: Api, daemon: RunningDaemon, settings: Settings
) -> None:
    with trio.fail_after(20):
        async with running(settings) as other:
            await daemon.api.post(f"/v1/echo/{TOKEN}", [1])
            shown = await evolve(other.api, key=api.key).get(f"/v1/echo/{TOKEN}")

    assert shown["payload"] == [1]


async def test_reading_an_echo_wants_the_key_of_any_account_and_sending_to_it_none(
    api: Api, daemon: RunningDaemon
) -> None:
    with trio.fail_after(20):
        stored = await daemon.api.post(f"/v1/echo/{TOKEN}", {"n": 1})
        refused = await daemon.api.refused("GET", f"/v1/echo/{TOKEN}")
        other = await api.register("other@example.com")
        shown = [await one.get(f"/v1/echo/{TOKEN}") for one in (api, other)]

    assert stored == {"stored": True}
    assert refused[:2] == (401, "invalid_api_key")
    assert [one["payload"] for one in shown] == [{"n": 1}] * 2


async def test_tokens_that_are_none_are_refused(api: Api, daemon: RunningDaemon) -> None:
    with trio.fail_after(20):
        posted = {token: await daemon.api.refused("POST", f"/v1/echo/{token}", {}) for token in TOKENS}
        shown = {token: await api.refused("GET", f"/v1/echo/{token}") for token in TOKENS}
        shortest = await daemon.api.post(f"/v1/echo/{'x' * 16}", {})
        longest = await daemon.api.post(f"/v1/echo/{'x' * 128}", {})

    assert {token: (status, code) for token, (status, code, _) in posted.items()} == TOKENS
    assert {token: (status, code) for token, (status, code, _) in shown.items()} == TOKENS
    assert shortest == longest == {"stored": True}


async def test_a_body_that_is_no_json_is_refused_and_does_not_count(daemon: RunningDaemon) -> None:
    with trio.fail_after(20):
        refused = {
            why: [await daemon.client.post(f"/v1/echo/{TOKEN}", content=content) for _ in range(2)]
            for why, content in NO_JSON.items()
        }
        taken = await daemon.api.post(f"/v1/echo/{TOKEN}", {})

    told = {why: {(one.status_code, one.json()["error"]["code"]) for one in both} for why, both in refused.items()}
    assert told == {why: {(400, "invalid_json")} for why in NO_JSON}
    assert taken == {"stored": True}


async def test_an_echo_takes_256_kib_and_not_a_byte_more(api: Api, daemon: RunningDaemon) -> None:
    with trio.fail_after(20):
        most = b'"' + b"x" * (256 * KIB - 2) + b'"'
        whole = await daemon.client.post(f"/v1/echo/{TOKEN}", content=most)
        more = await daemon.client.post(f"/v1/echo/{TOKEN}", content=most + b" ")
        shown = await api.get(f"/v1/echo/{TOKEN}")

    assert whole.status_code == 200
    assert (more.status_code, more.json()["error"]["code"]) == (413, "request_too_large")
    assert len(shown["payload"]) == 256 * KIB - 2


async def test_an_address_stores_ten_in_an_hour_and_reads_as_often_as_it_likes(api: Api, daemon: RunningDaemon) -> None:
    with trio.fail_after(20):
        stored = [await daemon.api.ask("POST", f"/v1/echo/{TOKEN}-{number}", {}) for number in range(11)]
        read = [(await api.ask("GET", f"/v1/echo/{TOKEN}-0")).status_code for _ in range(12)]

    last = stored.pop()
    assert [response.status_code for response in stored] == [200] * 10
    assert (last.status_code, last.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert 3_590 <= int(last.headers["Retry-After"]) <= 3_600
    assert read == [200] * 12


async def test_a_cue_may_call_the_server_s_own_echo_without_any_setting(closed: RunningDaemon) -> None:
    with trio.fail_after(30):
        api = await closed.api.register()
        secret = (await api.get("/v1/auth/webhook-secret"))["webhook_secret"]
        url = f"{closed.resources.address}/v1/echo/{TOKEN}"
        made = await api.post("/v1/cues", cue(url, payload={"task": "x"}, name="mine"))
        one = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]
        settled = await api.execution(one)
        shown = await delivered(api)

    body = json.dumps(shown["payload"], sort_keys=True).encode()
    signature = sign(secret, int(shown["headers"]["x-cueapi-timestamp"]), body)
    assert (settled["status"], settled["http_status"]) == ("success", 200)
    assert (shown["payload"]["name"], shown["payload"]["payload"]) == ("mine", {"task": "x"})
    assert shown["headers"]["x-cueapi-execution-id"] == shown["headers"]["webhook-id"] == one
    assert shown["headers"]["x-cueapi-signature"] == signature


async def test_the_server_s_own_deliveries_do_not_count_against_its_address(closed: RunningDaemon) -> None:
    with trio.fail_after(30):
        api = await closed.api.register()
        made = await api.post("/v1/cues", cue(f"{closed.resources.address}/v1/echo/{TOKEN}"))
        settled = []
        for _ in range(12):
            one = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]
            settled.append((await api.execution(one))["http_status"])
        stranger = await closed.api.ask("POST", f"/v1/echo/{TOKEN}-2", {})

    assert settled == [200] * 12
    assert stranger.status_code == 200


async def test_a_stranger_who_poses_as_a_delivery_counts(api: Api, database: Database) -> None:
    async with open_receiver(["hang"]) as receiver:
        with trio.fail_after(30):
            made = await api.post("/v1/cues", cue(receiver.url(f"/v1/echo/{TOKEN}")))
            one = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]
            (sent,) = await receiver.wait_for(1)
            names = ("X-CueAPI-Execution-Id", "X-CueAPI-Timestamp", "X-CueAPI-Signature")
            genuine = {name: sent.header(name) for name in names}
            posed = [
                *[await pose(api, TOKEN, b'{"forged": 1}', genuine) for _ in range(4)],
                *[await pose(api, f"{TOKEN}-2", sent.body, genuine) for _ in range(4)],
                await pose(api, TOKEN, sent.body, genuine | {"X-CueAPI-Timestamp": "0"}),
                await pose(api, TOKEN, sent.body, genuine | {"X-CueAPI-Signature": "v1=ä"}),
                await pose(api, TOKEN, sent.body, genuine | {"X-CueAPI-Execution-Id": "nonsense"}),
            ]
            real = await pose(api, TOKEN, sent.body, genuine)
            await database.execute("update executions set status = 'success'")
            late = await pose(api, TOKEN, sent.body, genuine)

    assert genuine["X-CueAPI-Execution-Id"] == one
    assert posed == [200] * 10 + [429]
    assert (real, late) == (200, 429)


async def pose(api: Api, token: str, body: bytes, headers: dict[str, Any]) -> int:
    """Send what looks like a delivery."""
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    return (await api.client.post(f"/v1/echo/{token}", content=body, headers=encoded)).status_code
