"""Who did that? One call tells: the actor, the change field by field, and why."""

import json
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
import trio

from cueapi.domain.masking import MASK, without_secrets
from cueapi.settings import Settings
from cueapi.storage.database import Database
from tests.api.mailing import mailing
from tests.api.work import claimed, report
from tests.conftest import Api, RunningDaemon, cue
from tests.moments import post_soon
from tests.process import HANG
from tests.receiver import open_receiver

WHY = "The sales desk is closed."


async def rows(api: Api, **filters: str) -> list[dict[str, Any]]:
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    answer = await api.get(f"/v1/audit?{query}")
    return list(answer["audit"])


async def own_key(api: Api) -> str:
    """The id of the key that the account is asked with."""
    return str((await api.get("/v1/auth/me"))["key"]["id"])


async def the_pause(api: Api, cue_id: str) -> dict[str, Any]:
    """Who paused it, in one call."""
    (row,) = await rows(api, subject_id=cue_id, action="cue.paused")
    return row


async def test_who_paused_a_cue_by_key_is_told_in_one_call_and_by_the_cue(api: Api) -> None:
    with trio.fail_after(30):
        made = await api.post("/v1/cues", cue(name="brief"))
        response = await api.ask(
            "PATCH", f"/v1/cues/{made['id']}", {"status": "paused", "reason": WHY}, X_Request_Id="r1"
        )
        row = await the_pause(api, made["id"])
        shown = await api.get(f"/v1/cues/{made['id']}")

    actor = {"kind": "key", "id": await own_key(api), "name": "Account key"}
    assert made["status_changed"] is None
    assert row == {
        "at": row["at"], "actor": actor, "action": "cue.paused",
        "subject": {"kind": "cue", "id": made["id"], "name": "brief"},
        "changes": [{"path": "status", "from": "active", "to": "paused"}],
        "reason": WHY, "request_id": "r1", "address": "127.0.0.1",
    }  # fmt: skip
    assert shown["status_changed"] == {"at": shown["status_changed"]["at"], "by": actor, "reason": WHY}
    assert response.json()["status_changed"] == shown["status_changed"]


async def test_a_cue_that_on_failure_pauses_was_paused_by_the_server_and_the_reason_names_the_execution(
    api: Api,
) -> None:
    with trio.fail_after(30):
        made = await api.post("/v1/cues", cue(retry={"max_attempts": 1}, on_failure={"pause": True}))
        execution = str((await api.post(f"/v1/cues/{made['id']}/fire"))["id"])
        await api.post(f"/v1/executions/{execution}/claim")
        await report(api, execution, success=False, error="no paper")
        row = await the_pause(api, made["id"])
        shown = await api.get(f"/v1/cues/{made['id']}")

    assert row["actor"] == {"kind": "system", "id": None, "name": "CueAPI"}
    assert execution in row["reason"]
    assert "no paper" in row["reason"]
    assert (shown["status"], shown["status_changed"]["by"], shown["status_changed"]["reason"]) == (
        "paused", row["actor"], row["reason"],
    )  # fmt: skip


async def test_one_failure_of_a_batch_pauses_its_cue_and_is_told_once(api: Api) -> None:
    with trio.fail_after(30):
        made = await api.post("/v1/cues", cue(retry={"max_attempts": 1}, on_failure={"pause": True}))
        fired = [str((await api.post(f"/v1/cues/{made['id']}/fire"))["id"]) for _ in range(5)]
        for execution in fired:
            await api.post(f"/v1/executions/{execution}/claim")
        async with trio.open_nursery() as nursery:
            for execution in fired:
                nursery.start_soon(partial(report, api, execution, success=False))
        row = await the_pause(api, made["id"])

    assert any(execution in row["reason"] for execution in fired)


async def test_a_one_time_cue_that_has_ended_was_changed_by_the_server_and_the_audit_is_silent(
    api: Api,
) -> None:
    async with open_receiver([200]) as receiver:
        with trio.fail_after(HANG):
            made = (await post_soon(api, 1, receiver.url("/")))[0].json()
            while (shown := await api.get(f"/v1/cues/{made['id']}"))["status"] != "completed":
                await trio.sleep(0.02)

    assert shown["status_changed"]["by"]["kind"] == "system"
    assert [row["action"] for row in await rows(api, subject_id=made["id"])] == ["cue.created"]


async def test_a_change_is_told_field_by_field_and_a_change_of_the_status_in_a_row_of_its_own(api: Api) -> None:
    with trio.fail_after(30):
        made = await api.post("/v1/cues", cue(name="brief"))
        change = {
            "name": "morning", "schedule": {"cron": "0 8 * * *"}, "payload": {"pages": [True]}, "status": "paused",
            "retry": {"max_attempts": 2},
        }  # fmt: skip
        await api.patch(f"/v1/cues/{made['id']}", change)
        paused, updated, created = await rows(api, subject_id=made["id"])
        await api.patch(f"/v1/cues/{made['id']}", {"payload": {"pages": [1]}, "status": "active"})
        resumed, again = (await rows(api, subject_id=made["id"]))[:2]

    assert (created["action"], created["changes"]) == ("cue.created", [])
    assert updated["action"] == "cue.updated"
    assert updated["changes"] == [
        {"path": "name", "from": "brief", "to": "morning"},
        {"path": "schedule.cron", "from": "0 0 1 1 *", "to": "0 8 * * *"},
        {"path": "payload.pages", "from": None, "to": [True]},
        {"path": "retry.max_attempts", "from": 4, "to": 2},
    ]
    assert (updated["subject"]["name"], paused["action"]) == ("morning", "cue.paused")
    assert resumed["action"] == "cue.resumed"
    assert again["changes"] == [{"path": "payload.pages", "from": [True], "to": [1]}]


async def test_a_change_that_changes_nothing_is_not_told(owner: Api) -> None:
    with trio.fail_after(30):
        made = await owner.post("/v1/cues", cue(description="one", callback={"headers": {"X-A": "b"}}))
        same = {"description": "one", "status": "active", "callback": {"headers": {"X-A": "b"}}}
        await owner.patch(f"/v1/cues/{made['id']}", {**same, "schedule": {"cron": "0 0 1 1 *"}})
        await owner.patch("/v1/auth/me", {"email": "you@example.com"})
        told = await rows(owner)

    assert [row["action"] for row in told] == ["cue.created"]


async def test_what_may_be_secret_is_named_and_not_shown(api: Api, database: Database) -> None:
    secrets = ["s3cret-one", "s3cret-two", "s3cret-three", "s3cret-four", "s3cret-five"]
    with trio.fail_after(30):
        url = f"http://127.0.0.1:9/run?access_token={secrets[0]}&page=1"
        made = await api.post("/v1/cues", cue(url, callback={"url": url, "headers": {"X-Team": secrets[1]}}))
        change = {
            "callback": {"url": url.replace("=1", "=2"), "headers": {"X-Team": secrets[2], "X-New": secrets[3]}},
            "payload": {"llm": {"api_key": secrets[4], "model": "m"}},
        }  # fmt: skip
        await api.patch(f"/v1/cues/{made['id']}", change)
        await api.patch("/v1/auth/me", {"alert_webhook_url": f"http://127.0.0.1:9/alerts?token={secrets[0]}"})
        await api.post("/v1/auth/alert-webhook-secret/regenerate", X_Confirm_Destructive="true")
        shown = await api.get("/v1/auth/alert-webhook-secret")
        (updated,) = await rows(api, action="cue.updated")
        (account,) = await rows(api, action="account.changed")
        stored = [row["text"] for row in await database.fetch("select row_to_json(a)::text as text from audit a")]

    assert updated["changes"] == [
        {"path": "callback.url", "from": f"http://127.0.0.1:9/run?access_token={MASK}&page=1",
         "to": f"http://127.0.0.1:9/run?access_token={MASK}&page=2"},
        {"path": "callback.headers.X-Team", "from": MASK, "to": MASK},
        {"path": "callback.headers.X-New", "from": None, "to": MASK},
        {"path": "payload.llm", "from": None, "to": {"api_key": MASK, "model": "m"}},
    ]  # fmt: skip
    assert account["changes"] == [
        {"path": "alert_webhook_url", "from": None, "to": f"http://127.0.0.1:9/alerts?token={MASK}"}
    ]
    assert [one for one in (*secrets, shown["alert_webhook_secret"], api.key) if one in "".join(stored)] == []


URLS = [
    "https://a.example/run", "https://me:pw@a.example/run", "http://a.example/?page=1&api_key=s3cret#end",
    "http://a.example/?pw=s3cret&dbPwd=s3cret&upward=up&pw_2=s3cret",
    "http://a.example/?TOKEN=s3cret", "https://a.example/?sig=s3cret&page=2", "no url", "https://a@b@c.example/?x=@",
    "see https://me:s3cret@a.example/ and http://b.example/?key=s3cret too, or you@a.example",
]  # fmt: skip


@pytest.mark.parametrize("url", URLS)
async def test_urls_are_masked_alike_in_the_database_and_outside(database: Database, url: str) -> None:
    row = await database.fetch_one("select without_secrets($1) as shown", url)

    assert row is not None
    assert row["shown"] == without_secrets(url)
    assert "s3cret" not in row["shown"]


async def test_another_verification_is_told_by_its_parts_without_the_values_of_secrets(api: Api) -> None:
    asserted = [{"field": "metadata.token", "op": "=", "value": "s3cret"}, {"field": "duration_ms", "op": "exists"}]
    made = await api.post("/v1/cues", cue())
    await api.patch(f"/v1/cues/{made['id']}", {"verification": {"assert": asserted, "on_failed": "fail"}})
    told = await rows(api)

    assert [(row["action"], row["changes"]) for row in told] == [
        ("cue.updated", [
            {"path": "verification.assert", "from": None, "to": [asserted[0] | {"value": MASK}, asserted[1]]},
            {"path": "verification.on_failed", "from": "keep", "to": "fail"},
        ]),
        ("cue.created", []),
    ]  # fmt: skip


async def test_deletes_are_told_one_by_one_and_those_of_nothing_are_not(api: Api) -> None:
    with trio.fail_after(30):
        made = [await api.post("/v1/cues", cue(name=f"cue {number}")) for number in range(3)]
        headers = {"Authorization": f"Bearer {api.key}", "X-Reason": "üblich".encode()}
        await api.client.delete(f"/v1/cues/{made[0]['id']}", headers=headers)
        ids = [one["id"] for one in made]
        await api.post("/v1/cues/bulk-delete", {"ids": [*ids, "cue_000000000000"]}, X_Confirm_Destructive="true")
        told = await rows(api, action="cue.deleted")

    assert {(row["subject"]["name"], row["reason"]) for row in told} == {
        ("cue 0", "üblich"), ("cue 1", None), ("cue 2", None),
    }  # fmt: skip


async def test_a_verdict_is_told_and_the_life_of_executions_is_not(api: Api) -> None:
    with trio.fail_after(30):
        execution = await claimed(api)
        await report(api, execution, success=True)
        await api.post(f"/v1/executions/{execution}/verify", {"valid": False, "reason": "wrong number"})
        told = await rows(api)

    assert [row["action"] for row in told] == ["execution.verified", "cue.created"]
    assert told[0]["changes"] == [{"path": "outcome_state", "from": "reported_success", "to": "verification_failed"}]
    assert (told[0]["subject"]["id"], told[0]["reason"]) == (execution, "wrong number")


async def test_another_address_is_told_when_it_is_asked_for_and_when_its_link_is_confirmed(settings: Settings) -> None:
    async with mailing(settings) as here:
        with trio.fail_after(60):
            api = await here.join("you@example.com")
            await api.patch("/v1/auth/me", {"email": "new@example.com"})
            await here.press(await here.link_to("new@example.com"))
            told = await rows(api)

    moves = [[(one["path"], one["from"], one["to"]) for one in row["changes"]] for row in told]
    assert [row["action"] for row in told if row["action"] != "account.changed"] == ["key.replaced"]
    assert [one for one in moves if one] == [
        [("email", "you@example.com", "new@example.com")],
        [("pending_email", None, "new@example.com")],
        [("email_verified", False, True)],
    ]
    assert {row["actor"]["kind"]: row["actor"]["name"] for row in told} == {
        "session": "a link in a mail", "key": "Account key",
    }  # fmt: skip


async def test_filters_and_cursors_lead_through_the_audit_without_a_gap(api: Api, database: Database) -> None:
    with trio.fail_after(30):
        for number in range(7):
            await api.post("/v1/cues", cue(name=f"cue {number}"))
        # Rows of one moment, as a statement writes them.
        user = (await database.fetch("select user_id from audit limit 1"))[0]["user_id"]
        at = datetime.fromisoformat((await rows(api))[3]["at"])
        await database.execute(
            "insert into audit (user_id, at, actor_kind, action, subject_kind)"
            " select $1, $2, 'system', 'budget.set', 'budget' from generate_series(1, 5)", user, at,
        )  # fmt: skip
        walked, cursor = [], ""
        while cursor is not None:
            page = await api.get(f"/v1/audit?limit=2&cursor={cursor}")
            walked += page["audit"]
            assert page["has_more"] == (page["next_cursor"] is not None)
            cursor = page["next_cursor"]
        whole = await rows(api, limit="100")
        since = await rows(api, since=at.isoformat().replace("+", "%2B"), action="cue.created")
        until = await rows(api, until=at.isoformat().replace("+", "%2B"))
        later = await rows(api, since=(at + timedelta(days=1)).isoformat().replace("+", "%2B"))
        by_key = await rows(api, actor_id=await own_key(api))
        damaged = [
            await api.refused("GET", f"/v1/audit?cursor={wrong}")
            for wrong in ("x", "W10", page["next_cursor"] or "e30")
        ]

    assert walked == whole
    assert len(whole) == 12
    assert [len(since), len(until), len(later), len(by_key)] == [4, 3, 0, 7]
    assert {one[:2] for one in damaged} == {(400, "invalid_filter")}


async def test_a_cursor_serves_under_its_own_filters_alone(api: Api) -> None:
    for number in range(3):
        await api.post("/v1/cues", cue(name=f"cue {number}"))
    page = await api.get("/v1/audit?limit=1&action=cue.created")

    refused = await api.refused("GET", f"/v1/audit?limit=1&cursor={page['next_cursor']}")

    assert refused[:2] == (400, "invalid_filter")


async def test_wrong_filters_are_refused(api: Api) -> None:
    asked = ["action=pause", "action=CUE.PAUSED", "since=yesterday", "until=1", "limit=0", "limit=101", "offset=1"]

    answers = {one: (await api.refused("GET", f"/v1/audit?{one}"))[:2] for one in asked}

    assert set(answers.values()) == {(422, "validation_error")}


async def test_another_account_sees_nothing_of_it(daemon: RunningDaemon, api: Api) -> None:
    made = await api.post("/v1/cues", cue())
    other = await daemon.api.register("other@example.com")

    assert await rows(other) == []
    assert await rows(other, subject_id=made["id"]) == []


async def test_nothing_changes_a_row_of_the_audit(api: Api, database: Database) -> None:
    await api.post("/v1/cues", cue())

    with pytest.raises(Exception, match="rows of audit are not changed"):
        await database.execute("update audit set reason = 'another'")


async def test_what_is_refused_is_not_told(api: Api) -> None:
    with trio.fail_after(30):
        made = await api.post("/v1/cues", cue(name="brief"))
        await api.post("/v1/cues", cue(name="other"))
        await api.refused("PATCH", f"/v1/cues/{made['id']}", {"name": "other"})
        await api.refused("POST", "/v1/cues", cue(name="brief"))
        await api.refused("POST", "/v1/auth/webhook-secret/regenerate")
        told = await rows(api)

    assert [row["action"] for row in told] == ["cue.created"] * 2


async def test_a_repeat_under_an_idempotency_key_is_told_once(api: Api) -> None:
    body = cue(name="brief")
    for _ in range(2):
        await api.post("/v1/cues", body, Idempotency_Key="once")

    assert [row["action"] for row in await rows(api)] == ["cue.created"]


async def test_a_payload_of_many_fields_is_told_in_a_short_row(api: Api, database: Database) -> None:
    with trio.fail_after(30):
        made = await api.post("/v1/cues", cue(payload={f"field{n}": "x" * 5_000 for n in range(100)}))
        await api.patch(f"/v1/cues/{made['id']}", {"payload": {f"field{n}": "y" * 5_000 for n in range(100)}})
        (row,) = await rows(api, action="cue.updated")

    assert len(row["changes"]) == 51
    assert row["changes"][-1] == {"path": "…", "from": None, "to": "50 further changes"}
    assert len(json.dumps(row)) < 60_000
    assert row["changes"][0]["to"] == "y" * 300 + "…"
