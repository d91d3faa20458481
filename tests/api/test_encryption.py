"""Secrets and callback headers: readable in no row, shown to their user, and said plainly where they cannot be read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from attrs import evolve, frozen
from pydantic import SecretStr

from cueapi.cli.check import run_check
from cueapi.cli.operator import accept_secret
from cueapi.settings import Settings
from cueapi.storage.database import Database
from tests.conftest import Api, RunningDaemon, cue, running
from tests.delivery.siblings import until
from tests.delivery.test_notifier import is_signed
from tests.receiver import open_receiver

SURE = {"X_Confirm_Destructive": "true"}
TOKEN = "an-echo-of-encrypted-headers"
HEADERS = {"X-Vault-Token": "hvs.very-secret", "X-Team": "ops"}
OTHER_SECRET = SecretStr("another secret of the tests, just as long")
DONE = (200, b'{"success": true}')


async def everything(database: Database) -> str:
    """Each row of each table as text."""
    tables = await database.fetch(
        "select table_name as name from information_schema.tables"
        " where table_schema = 'public' and table_type = 'BASE TABLE'"
    )
    rows = [row for table in tables for row in await database.fetch(f"select to_json(t)::text from {table['name']} t")]
    return "\n".join(row[0] for row in rows)


def in_hex(text: str) -> str:
    return text.encode().hex()


async def test_no_row_holds_a_secret_or_a_header_of_a_callback_in_clear(
    daemon: RunningDaemon, api: Api, database: Database
) -> None:
    with trio.fail_after(20):
        old = (await api.get("/v1/auth/webhook-secret"))["webhook_secret"]
        new = (await api.post("/v1/auth/webhook-secret/regenerate?overlap_hours=1", **SURE))["webhook_secret"]
        alert = (await api.get("/v1/auth/alert-webhook-secret"))["alert_webhook_secret"]
        callback = {"url": f"{daemon.resources.address}/v1/echo/{TOKEN}", "headers": HEADERS}
        body = cue(callback["url"], callback=callback)
        made = await api.post("/v1/cues", body, Idempotency_Key="first")
        again = await api.post("/v1/cues", body, Idempotency_Key="first")
        await api.execution((await api.post(f"/v1/cues/{made['id']}/fire"))["id"], "success")
        echoed = await api.get(f"/v1/echo/{TOKEN}")
        stored = await everything(database)

    secrets = [api.key, old, new, alert, HEADERS["X-Vault-Token"]]
    assert "you@example.com" in stored
    assert [one for one in secrets if one in stored or in_hex(one) in stored] == []
    assert made["callback"]["headers"] == again["callback"]["headers"] == HEADERS
    assert echoed["headers"]["x-vault-token"] == HEADERS["X-Vault-Token"]


async def test_headers_are_shown_wherever_a_cue_is_and_sent(api: Api) -> None:
    with trio.fail_after(20):
        async with open_receiver([DONE]) as receiver:
            made = await api.post("/v1/cues", cue("", callback={"url": receiver.url(), "headers": HEADERS}))
            path = f"/v1/cues/{made['id']}"
            moved = await api.patch(path, {"description": "moved"})
            shown, listed = await api.get(path), await api.get("/v1/cues")
            await api.post(f"{path}/fire")
            (request,) = await receiver.wait_for(1)
            changed = await api.patch(path, {"callback": {"headers": {"X-Team": "dev"}}})
            cleared = await api.patch(path, {"callback": {"headers": None}})

    everywhere = [made, moved, shown, listed["cues"][0]]
    assert [one["callback"]["headers"] for one in everywhere] == [HEADERS] * 4
    assert request.header("x-vault-token") == HEADERS["X-Vault-Token"]
    assert (changed["callback"]["headers"], cleared["callback"]["headers"]) == ({"X-Team": "dev"}, {})


async def test_a_ciphertext_that_was_copied_from_another_account_opens_nothing(
    daemon: RunningDaemon, api: Api, database: Database
) -> None:
    with trio.fail_after(20):
        thief = await daemon.api.register("thief@example.com")
        await database.execute(
            "update users set webhook_secret = (select webhook_secret from users where email = 'you@example.com')"
        )
        await database.execute("update api_keys set encrypted = (select min(encrypted::bytea) from api_keys)")
        refused = await thief.refused("GET", "/v1/auth/webhook-secret")
        keys = [await one.ask("GET", "/v1/auth/key") for one in (api, thief)]
        mine = await api.ask("GET", "/v1/auth/webhook-secret")

    assert refused[:2] == (410, "secret_not_recoverable")
    assert sorted(one.status_code for one in keys) == [200, 410]
    assert mine.status_code == 200


@frozen
class Lost:
    """A daemon whose former SESSION_SECRET is lost, and a cue of before that has headers, by its path."""

    settings: Settings
    api: Api
    path: str

    async def fire(self) -> str:
        return str((await self.api.post(f"{self.path}/fire"))["id"])


@asynccontextmanager
async def secret_lost(settings: Settings, url: str) -> AsyncIterator[Lost]:
    other = settings.model_copy(update={"session_secret": OTHER_SECRET})
    async with running(settings) as daemon:
        api = await daemon.api.register()
        callback = {"url": url, "headers": HEADERS}
        made = await api.post("/v1/cues", cue(url, callback=callback, retry={"backoff_minutes": [1]}))
    await accept_secret(other)
    async with running(other) as daemon:
        yield Lost(other, evolve(api, client=daemon.client), f"/v1/cues/{made['id']}")


async def test_under_another_session_secret_deliveries_fail_with_the_reason_and_go_out_once_all_is_set_anew(
    settings: Settings, database: Database
) -> None:
    with trio.fail_after(30):
        async with open_receiver([DONE]) as receiver, secret_lost(settings, receiver.url()) as lost:
            first = await lost.fire()
            without_secret = await lost.api.execution(first, "retrying")
            await lost.api.post("/v1/auth/webhook-secret/regenerate?overlap_hours=1", **SURE)
            second = await lost.fire()
            without_headers = await lost.api.execution(second, "retrying")
            await lost.api.patch(lost.path, {"callback": {"headers": {"X-Team": "dev"}}})
            await database.execute("update executions set ready_at = now() where status = 'retrying'")
            await database.execute("update outbox set ready_at = now()")
            await lost.api.execution(await lost.fire(), "success")
            ended = [await lost.api.execution(one, "success") for one in (first, second)]
            siblings = (await lost.api.get("/health"))["siblings"]

    assert "webhook secret was encrypted under another SESSION_SECRET" in without_secret["error_message"]
    assert "callback.headers holds was encrypted under another SESSION_SECRET" in without_headers["error_message"]
    assert [one["attempts"] for one in ended] == [2, 2]
    assert {request.header("x-team") for request in receiver.requests} == {"dev"}
    assert {one["restarts"] for one in siblings.values()} == {0}


async def test_what_cannot_be_read_any_more_is_said_and_a_change_of_other_fields_leaves_it_alone(
    settings: Settings,
) -> None:
    with trio.fail_after(30):
        async with secret_lost(settings, "http://127.0.0.1:9/") as lost:
            refused = await lost.api.refused("GET", "/v1/auth/webhook-secret")
            hidden = await lost.api.get(lost.path)
            kept = await lost.api.patch(lost.path, {"description": "changed", "callback": {"method": "PUT"}})
            cleared = await lost.api.patch(lost.path, {"callback": {"headers": {}}})

    assert refused[:2] == (410, "secret_not_recoverable")
    assert [one["callback"]["headers"] for one in (hidden, kept, cleared)] == [{}, {}, {}]
    assert ["SESSION_SECRET" in (one["warning"] or "") for one in (hidden, kept, cleared)] == [True, True, False]


async def test_check_counts_what_cannot_be_read_until_all_is_set_anew(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with trio.fail_after(30):
        async with secret_lost(settings, "http://127.0.0.1:9/") as lost:
            await run_check(lost.settings, {})
            checked = capsys.readouterr().out
            await lost.api.post("/v1/auth/webhook-secret/regenerate", **SURE)
            await lost.api.patch(lost.path, {"callback": {"headers": None}})
            await run_check(lost.settings, {})
            mended = capsys.readouterr().out

    assert "warn SESSION_SECRET: 1 webhook secrets and the headers of 1 cues are of a former one" in checked
    assert "of a former one" not in mended


async def test_an_alert_whose_secret_cannot_be_read_stays_in_the_list_and_is_dropped_alone(
    settings: Settings, database: Database
) -> None:
    with trio.fail_after(30):
        async with open_receiver([200]) as receiver, secret_lost(settings, receiver.url("/work")) as lost:
            await lost.api.patch("/v1/auth/me", {"alert_webhook_url": receiver.url("/alerts")})
            await database.execute("update users set alert_webhook_secret = webhook_secret")
            await lost.api.patch(lost.path, {"retry": {"max_attempts": 1}})
            await lost.api.execution(await lost.fire(), "failed")
            await until(lambda: database.fetch("select from notifications where attempts > 0 and claim is null"))
            alerts = (await lost.api.get("/v1/alerts"))["alerts"]

    assert ["SESSION_SECRET" in alert["message"] for alert in alerts] == [True]
    assert receiver.requests == []


async def test_an_answer_that_cannot_be_read_any_more_is_said_and_nothing_happens_twice(
    settings: Settings, database: Database
) -> None:
    other = settings.model_copy(update={"session_secret": OTHER_SECRET})
    body = cue()
    with trio.fail_after(30):
        async with running(settings) as daemon:
            api = await daemon.api.register()
            await api.post("/v1/cues", body, Idempotency_Key="once")
        await accept_secret(other)
        async with running(other) as daemon:
            refused = await evolve(api, client=daemon.client).refused("POST", "/v1/cues", body, Idempotency_Key="once")

    assert (refused[:2], "SESSION_SECRET" in refused[2]) == ((422, "idempotency_key_reused"), True)
    assert len(await database.fetch("select from cues")) == 1


async def test_a_channel_whose_secret_cannot_be_read_is_signed_with_a_new_one_that_is_shown_once(
    settings: Settings,
) -> None:
    other = settings.model_copy(update={"session_secret": OTHER_SECRET})
    with trio.fail_after(30):
        async with open_receiver([200]) as receiver:
            async with running(settings) as daemon:
                api = await daemon.api.register()
                body = {"kind": "webhook", "name": "pager", "url": receiver.url("/old")}
                made = await api.post("/v1/channels", body)
            await accept_secret(other)
            async with running(other) as daemon:
                api, path = evolve(api, client=daemon.client), f"/v1/channels/{made['id']}"
                unread = await api.post(f"{path}/test")
                lacking = await api.refused("PATCH", path, {"enabled": True})
                mended = await api.patch(path, {"url": receiver.url("/new")})
                later = await api.patch(path, {"name": "siren"})
                tested = await api.post(f"{path}/test")

    (request,) = receiver.requests
    assert (unread["delivered"], "SESSION_SECRET" in unread["error"]) == (False, True)
    assert (lacking[:2], "url" in lacking[2]) == ((422, "validation_error"), True)
    assert mended["secret"] != made["secret"]
    assert "secret" not in later
    assert tested["delivered"]
    assert (request.path, is_signed(request, mended["secret"])) == ("/new", True)
