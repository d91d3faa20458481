"""`/v1/operations`: what each kind does, what it passes over, and what is refused."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
import trio

from cueapi.domain.clock import iso
from cueapi.storage.database import Database
from tests.api.keys import with_key
from tests.api.test_dead_letters import add_dead, listed
from tests.conftest import Api, cue
from tests.receiver import open_receiver
from tests.storage.rows import add_execution, ago


async def begun(api: Api, kind: str, **fields: Any) -> dict[str, Any]:
    """A new operation, as it was answered."""
    confirm = {"X_Confirm_Destructive": "true"} if kind == "delete" else {}
    response = await api.ask("POST", "/v1/operations", {"kind": kind, "rate_per_second": 1000} | fields, **confirm)
    assert response.status_code == 202, response.text
    return dict(response.json())


async def ended(api: Api, operation: dict[str, Any]) -> dict[str, Any]:
    """An operation as soon as it has ended; its sum is right."""
    while (shown := await api.get(f"/v1/operations/{operation['id']}"))["status"] in {"queued", "running"}:
        await trio.sleep(0.02)
    assert shown["matched"] == shown["done"] + shown["failed"] + sum(shown["skipped"].values())
    return shown


async def done(api: Api, kind: str, **fields: Any) -> tuple[int, int, dict[str, int]]:
    """What an operation comes to: matched, done, skipped."""
    shown = await ended(api, await begun(api, kind, **fields))
    assert (shown["status"], shown["failed"], shown["eta_seconds"]) == ("done", 0, None)
    return shown["matched"], shown["done"], shown["skipped"]


async def dry(api: Api, kind: str, **fields: Any) -> dict[str, Any]:
    return await api.post("/v1/operations", {"kind": kind, "dry_run": True} | fields)


async def test_what_failed_is_run_again_with_its_own_payload_at_the_present_target(
    api: Api, database: Database
) -> None:
    with trio.fail_after(60):
        async with open_receiver([200]) as receiver:
            made = await api.post("/v1/cues", cue("http://127.0.0.1:9/", group="night"))
            dead = [await add_dead(database, made["id"], payload=f'{{"n": {n}}}', http_status=503) for n in range(5)]
            other = await add_dead(database, made["id"], http_status=500)
            await api.patch(f"/v1/cues/{made['id']}", {"callback": {"url": receiver.url("/run")}, "payload": {"n": 99}})
            seen = await dry(api, "replay", filter={"http_status": 503, "group": "night"})
            begun_ = await begun(
                api, "replay", filter={"http_status": "503", "group": "night"}, reason="it is up again"
            )
            shown = await ended(api, begun_)
            replays = (await api.get("/v1/executions?triggered_by=replay"))["executions"]
            for one in replays:
                await api.execution(one["id"])
            left = await listed(api)

    assert (seen["matched"], seen["matched_capped"], seen["warnings"]) == (5, False, [])
    assert [one["id"] for one in seen["sample"]] == dead[::-1]
    assert (shown["matched"], shown["done"], shown["skipped"], shown["failed"]) == (5, 5, {}, 0)
    assert (shown["reason"], shown["by"]["kind"]) == ("it is up again", "key")
    assert shown["filter"] == {"http_status": 503, "group": "night"}
    assert shown["as_of"] <= shown["started_at"] <= shown["finished_at"]
    assert sorted(json.loads(one.body)["payload"]["n"] for one in receiver.requests) == [0, 1, 2, 3, 4]
    assert left == [other]


async def test_a_replay_passes_over_what_it_must_not_run_twice(api: Api, database: Database) -> None:
    with trio.fail_after(60):
        made = await api.post("/v1/cues", cue())
        gone = await api.post("/v1/cues", cue())
        good = str(await add_execution(database, made["id"], status="success", finished_at=ago()))
        running = str(await add_execution(database, made["id"]))
        retried, repeated, plain = [await add_dead(database, made["id"]) for _ in range(3)]
        await add_execution(database, made["id"], triggered_by="replay", replayed_from=retried)
        later = await add_dead(database, made["id"], triggered_by="replay", replayed_from=repeated)
        of_gone = await add_dead(database, gone["id"])
        await api.ask("DELETE", f"/v1/cues/{gone['id']}")
        ids = [good, running, retried, repeated, plain, later, of_gone, str(uuid4()), "odd", plain]
        warned = await dry(api, "replay", filter={"cue_id": made["id"]})
        result = await done(api, "replay", ids=ids)

    assert warned["matched"] == 4
    assert warned["warnings"] == [
        "2 of them are skipped: a replay has not ended, or is a dead letter itself and stands for it."
    ]
    assert result == (
        9, 2, {"not_dead": 1, "in_flight": 2, "superseded": 1, "cue_deleted": 1, "not_found": 2},
    )  # fmt: skip


async def test_what_is_dismissed_is_no_dead_letter_any_more(api: Api, database: Database) -> None:
    with trio.fail_after(60):
        made = await api.post("/v1/cues", cue())
        dead = [await add_dead(database, made["id"], error_message="no") for _ in range(3)]
        other = await api.register("other@example.com")
        others = await add_dead(database, (await other.post("/v1/cues", cue()))["id"])
        first = await done(api, "dismiss", ids=[dead[0], others])
        second = await done(api, "dismiss", filter={"error": "no"})
        again = await done(api, "dismiss", ids=[dead[0]])
        left = [await listed(api), await listed(other)]

    assert first == (2, 1, {"not_found": 1})
    assert second == (2, 2, {})
    assert again == (1, 0, {"not_dead": 1})
    assert left == [[], [others]]


async def test_what_is_made_after_the_beginning_does_not_belong_to_it(api: Api, database: Database) -> None:
    with trio.fail_after(60):
        made = await api.post("/v1/cues", cue())
        for _ in range(3):
            await add_dead(database, made["id"])
        operation = await begun(api, "dismiss", filter={"cue_id": made["id"]}, rate_per_second=2)
        late = await add_dead(database, made["id"], created_at=ago(seconds=-1), dead_at=ago(seconds=-1))
        shown = await ended(api, operation)
        left = await listed(api)

    assert (shown["matched"], shown["done"]) == (3, 3)
    assert left == [late]


async def test_a_group_of_cues_is_paused_and_resumed_and_deleted(api: Api, database: Database) -> None:
    with trio.fail_after(60):
        cues = [await api.post("/v1/cues", cue(group="night")) for _ in range(3)]
        once = await api.post(
            "/v1/cues", cue(group="night") | {"schedule": {"type": "once", "at": "2099-01-01T00:00:00Z"}}
        )
        outside = await api.post("/v1/cues", cue())
        paused = await done(api, "pause", filter={"group": "night"})
        again = await done(api, "pause", filter={"group": "night", "status": "paused"})
        await database.execute("update cues set schedule_at = now() where id = $1", once["id"])
        resumed = await done(api, "resume", filter={"group": "night"})
        shown = [await api.get(f"/v1/cues/{one['id']}") for one in (*cues, once, outside)]
        named = await done(api, "resume", ids=[cues[0]["id"], once["id"], "cue_000000000000"])
        deleted = await done(api, "delete", filter={"group": "night"})
        left = [one["id"] for one in (await api.get("/v1/cues"))["cues"]]
        audited = await database.fetch("select action, actor_kind, subject_id from audit order by id")

    assert paused == (4, 4, {})
    assert again == (4, 0, {"not_active": 4})
    assert resumed == (4, 3, {"schedule_over": 1})
    assert [one["status"] for one in shown] == ["active"] * 3 + ["paused", "active"]
    assert [one["next_run"] for one in shown[:3]] == [one["next_run"] for one in cues]
    assert named == (3, 0, {"not_paused": 1, "schedule_over": 1, "not_found": 1})
    assert deleted == (4, 4, {})
    assert left == [outside["id"]]
    told = [(one["action"], one["actor_kind"], one["subject_id"]) for one in audited]
    assert [action for action, _, _ in told].count("operation.started") == 5
    assert {one for one in told if one[0] == "cue.paused"} == {
        ("cue.paused", "key", one["id"]) for one in (*cues, once)
    }


async def test_deleting_needs_the_confirming_header_and_a_dry_run_does_not(api: Api) -> None:
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue())
        refused = await api.refused("POST", "/v1/operations", {"kind": "delete", "ids": [made["id"]]})
        seen = await dry(api, "delete", ids=[made["id"]])
        status = (await api.get(f"/v1/cues/{made['id']}"))["status"]

    assert refused[:2] == (400, "confirmation_required")
    assert (seen["matched"], seen["sample"][0]["id"], status) == (1, made["id"], "active")


async def test_many_need_the_number_that_was_seen(api: Api, database: Database) -> None:
    with trio.fail_after(60):
        made = await api.post("/v1/cues", cue())
        await database.execute(
            "insert into executions (id, cue_id, user_id, transport, triggered_by, scheduled_for, status, ready_at,"
            " finished_at, payload, dead_at, created_at)"
            " select gen_random_uuid(), id, user_id, transport, 'manual_fire', now(), 'failed', now(), now(), '{}',"
            " now(), now() - interval '1 second' from cues, generate_series(1, 1200) where id = $1",
            made["id"],
        )
        asked = {"kind": "dismiss", "filter": {"cue_id": made["id"]}, "rate_per_second": 1000}
        answers = [
            await api.ask("POST", "/v1/operations", asked | more)
            for more in ({}, {"expected": 1100}, {"expected": 1187}, {"expected": 1190})
        ]
        shown = await ended(api, answers[-1].json())

    errors = [one.json()["error"] for one in answers[:-1]]
    assert [(one["status"], one["code"], one["matched"]) for one in errors] == [(409, "scope_changed", 1200)] * 3
    assert (shown["matched"], shown["done"]) == (1200, 1200)


async def test_three_run_at_once_and_a_fourth_is_queued_until_one_is_cancelled(api: Api, database: Database) -> None:
    with trio.fail_after(60):
        made = await api.post("/v1/cues", cue())
        for _ in range(30):
            await add_dead(database, made["id"])
        asked = {"filter": {"cue_id": made["id"]}, "rate_per_second": 1}
        four = [await begun(api, "dismiss", **asked) for _ in range(4)]

        async def statuses() -> list[str]:
            return [(await api.get(f"/v1/operations/{one['id']}"))["status"] for one in four]

        while (first := await statuses())[:3] != ["running"] * 3:
            await trio.sleep(0.02)
        other = await (await api.register("other@example.com")).refused(
            "POST", f"/v1/operations/{four[0]['id']}/cancel"
        )
        waiting = await begun(api, "dismiss", **asked)
        never = await api.post(f"/v1/operations/{waiting['id']}/cancel")
        cancelled = await api.post(f"/v1/operations/{four[0]['id']}/cancel")
        while (second := await statuses())[3] != "running":
            await trio.sleep(0.02)
        again = await api.refused("POST", f"/v1/operations/{four[0]['id']}/cancel")
        ends = [await api.post(f"/v1/operations/{one['id']}/cancel") for one in four[1:]]
        running = (await api.get("/v1/operations?status=running"))["operations"]

    assert first[3] == "queued"
    assert (never["status"], never["started_at"], never["finished_at"] is None) == ("cancelled", None, False)
    assert second[0] == "cancelled"
    assert other[:2] == (404, "operation_not_found")
    assert again[:2] == (409, "invalid_state")
    for one in (cancelled, *ends):
        assert one["matched"] == one["done"] + sum(one["skipped"].values())
        assert one["skipped"]["cancelled"] > 0
    assert running == []


async def test_a_list_is_walked_page_by_page(api: Api, database: Database) -> None:
    with trio.fail_after(60):
        made = await api.post("/v1/cues", cue())
        begun_ = [await begun(api, "pause", ids=[made["id"]]) for _ in range(3)]
        [await ended(api, one) for one in begun_]
        await begun(api, "resume", ids=[made["id"]])
        first = await api.get("/v1/operations?kind=pause&limit=2")
        second = await api.get(f"/v1/operations?kind=pause&limit=2&cursor={first['next_cursor']}")
        other = await (await api.register("other@example.com")).get("/v1/operations")

    assert [one["id"] for one in (*first["operations"], *second["operations"])] == [one["id"] for one in begun_[::-1]]
    assert (first["has_more"], second["has_more"], second["next_cursor"]) == (True, False, None)
    assert other["operations"] == []


async def test_a_repeat_under_the_same_key_begins_nothing_more(api: Api) -> None:
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue())
        body = {"kind": "pause", "ids": [made["id"]]}
        first, second = [await api.ask("POST", "/v1/operations", body, Idempotency_Key="k1") for _ in range(2)]
        listed_ = (await api.get("/v1/operations"))["operations"]

    assert (first.status_code, second.status_code, second.headers["Idempotent-Replayed"]) == (202, 202, "true")
    assert first.json()["id"] == second.json()["id"]
    assert len(listed_) == 1


async def test_a_dry_run_uses_up_no_key(api: Api) -> None:
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue())
        body = {"kind": "pause", "ids": [made["id"]]}
        dry_runs = [
            await api.ask("POST", "/v1/operations", body | {"dry_run": True}, Idempotency_Key="k1") for _ in range(2)
        ]
        begun_ = await api.ask("POST", "/v1/operations", body, Idempotency_Key="k1")

    assert [(one.status_code, one.json()["matched"]) for one in dry_runs] == [(200, 1)] * 2
    assert all("Idempotent-Replayed" not in one.headers for one in dry_runs)
    assert begun_.status_code == 202


DAY = {"from": iso(ago(days=1)), "to": iso(ago(hours=1))}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "neither filter nor ids": ({"kind": "replay"}, "body.filter"),
    "both": ({"kind": "replay", "ids": ["a"], "filter": {"group": "a"}}, "body.filter"),
    "an empty filter": ({"kind": "replay", "filter": {}}, "body.filter"),
    "a filter of nothing": ({"kind": "replay", "filter": {"group": None}}, "body.filter"),
    "no ids": ({"kind": "replay", "ids": []}, "body.ids"),
    "too many ids": ({"kind": "replay", "ids": ["a"] * 1001}, "body.ids"),
    "an unknown kind": ({"kind": "destroy", "ids": ["a"]}, "body.kind"),
    "no kind": ({"ids": ["a"]}, "body.kind"),
    "an unknown field": ({"kind": "replay", "ids": ["a"], "rates": 3}, "body.rates"),
    "an unknown filter": ({"kind": "replay", "filter": {"hosts": "a"}}, "body.filter.hosts"),
    "a host without its port": ({"kind": "replay", "filter": {"host": "a.example"}}, "body.filter.host"),
    "a filter of another list": ({"kind": "pause", "filter": {"host": "a:1"}}, "body.filter.host"),
    "a filter of cues": ({"kind": "dismiss", "filter": {"name": "a"}}, "body.filter.name"),
    "a filter that cannot be": ({"kind": "dismiss", "filter": {"since": "soon"}}, "body.filter.since"),
    "a rate of nothing": ({"kind": "replay", "ids": ["a"], "rate_per_second": 0}, "body.rate_per_second"),
    "a rate of too many": ({"kind": "replay", "ids": ["a"], "rate_per_second": 1001}, "body.rate_per_second"),
    "a long reason": ({"kind": "replay", "ids": ["a"], "reason": "r" * 501}, "body.reason"),
    "times of a replay": ({"kind": "replay", "ids": ["a"], "cue_id": "cue_000000000000"}, "body.cue_id"),
    "a backfill of a filter": ({"kind": "backfill", "filter": {"group": "a"}} | DAY, "body.filter"),
    "a backfill of nothing": ({"kind": "backfill"}, "body.cue_id"),
}


@pytest.mark.parametrize(("body", "wrong"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_cannot_be_meant_is_refused_and_named(api: Api, body: dict[str, Any], wrong: str) -> None:
    with trio.fail_after(20):
        status, code, message = await api.refused("POST", "/v1/operations", body)

    assert (status, code) == (422, "validation_error")
    assert message.startswith(f"{wrong}"), message


async def test_an_unknown_operation_is_not_found(api: Api) -> None:
    with trio.fail_after(20):
        refused = [
            (await api.refused(*asked))[:2]
            for asked in (
                ("GET", f"/v1/operations/{uuid4()}"), ("GET", "/v1/operations/odd"),
                ("POST", f"/v1/operations/{uuid4()}/cancel"), ("POST", "/v1/operations/odd/cancel"),
            )
        ]  # fmt: skip

    assert refused == [(404, "operation_not_found")] * 4


async def test_an_operation_that_cannot_be_read_has_failed_and_others_go_on(api: Api, database: Database) -> None:
    with trio.fail_after(60):
        made = await api.post("/v1/cues", cue())
        operation = await begun(api, "dismiss", filter={"cue_id": made["id"]})
        shown = await ended(api, operation)
        broken = uuid4()
        await database.execute(
            "insert into operations (id, user_id, kind, scope, rate, act, matched, matched_capped)"
            ' select $1, user_id, kind, \'{"filter": {"since": "soon"}}\', 50, act, 7, false from operations',
            broken,
        )
        good = await done(api, "pause", ids=[made["id"]])
        shown = await ended(api, {"id": str(broken)})

    assert good == (1, 1, {})
    assert (shown["status"], shown["failed"]) == ("failed", 7)


async def test_a_revoked_account_has_nothing_more_done(api: Api, database: Database) -> None:
    with trio.fail_after(60):
        made = await api.post("/v1/cues", cue())
        for _ in range(20):
            await add_dead(database, made["id"])
        operation = await begun(api, "dismiss", filter={"cue_id": made["id"]}, rate_per_second=2)
        await database.execute("update users set revoked_at = now()")
        query = "select status, skipped::text as skipped from operations where id = $1"
        while (row := (await database.fetch(query, UUID(operation["id"])))[0])["status"] in {"queued", "running"}:
            await trio.sleep(0.02)

    assert row["status"] == "cancelled"
    assert json.loads(row["skipped"])["cancelled"] > 0


async def test_a_hold_refuses_what_would_fire_and_stops_what_fires_until_its_release(
    api: Api, database: Database
) -> None:
    with trio.fail_after(60):
        made = await api.post("/v1/cues", cue())
        dead = [await add_dead(database, made["id"]) for _ in range(6)]
        operation = await begun(api, "replay", filter={"cue_id": made["id"]}, rate_per_second=2)
        await api.ask("PUT", "/v1/hold", {"reason": "they loop"})
        held = len((await api.get("/v1/executions?triggered_by=replay"))["executions"])
        refused = await api.refused("POST", "/v1/operations", {"kind": "replay", "ids": dead[:1]})
        seen = await dry(api, "replay", ids=dead)
        dismissed = await done(api, "dismiss", ids=dead[-1:])
        await trio.sleep(4)  # without the hold all would be replayed by then
        still = (await api.get(f"/v1/operations/{operation['id']}"))["status"]
        after = len((await api.get("/v1/executions?triggered_by=replay"))["executions"])
        await api.ask("DELETE", "/v1/hold")
        shown = await ended(api, operation)

    assert refused[:2] == (409, "account_held")
    assert (seen["matched"], dismissed) == (6, (1, 1, {}))
    assert still in {"queued", "running"}
    assert after - held <= 1
    assert (shown["done"], shown["skipped"]) == (5, {"not_dead": 1})


async def test_a_forced_replay_goes_on_while_the_account_is_held(api: Api, database: Database) -> None:
    with trio.fail_after(60):
        made = await api.post("/v1/cues", cue())
        dead = await add_dead(database, made["id"])
        await api.ask("PUT", "/v1/hold")
        body = {"kind": "replay", "ids": [dead]}
        response = await api.ask("POST", "/v1/operations?force=true", body)
        shown = await ended(api, response.json())

    assert (shown["status"], shown["done"]) == ("done", 1)


@pytest.mark.parametrize("kind", ["pause", "resume", "delete", "dismiss"])
async def test_what_fires_nothing_is_not_forced(api: Api, database: Database, kind: str) -> None:
    with trio.fail_after(30):
        made = await api.post("/v1/cues", cue(group="night"))
        dead = await add_dead(database, made["id"])
        body = {"kind": kind, "ids": [dead if kind == "dismiss" else made["id"]]}
        path = "/v1/operations?force=true"
        refused = [
            await api.refused("POST", path, body | more, X_Confirm_Destructive="true")
            for more in ({}, {"dry_run": True})
        ]
        dry_run = await api.ask("POST", "/v1/operations?force=false", body | {"dry_run": True})

    assert {one[:2] for one in refused} == {(422, "validation_error")}
    assert all("query.force" in one[2] for one in refused)
    assert dry_run.status_code == 200


async def test_what_a_budget_has_no_room_for_is_skipped(api: Api, database: Database) -> None:
    with trio.fail_after(60):
        made = await api.post("/v1/cues", cue(budget={"per": "month", "max_runs": 2}))
        for _ in range(5):
            await add_dead(database, made["id"])
        result = await done(api, "replay", filter={"cue_id": made["id"]})

    assert result == (5, 2, {"budget_reached": 3})


async def test_to_replay_needs_the_scope_fire_and_to_pause_the_scope_write(api: Api, database: Database) -> None:
    with trio.fail_after(60):
        made = await api.post("/v1/cues", cue())
        dead = await add_dead(database, made["id"])
        bodies = [{"kind": "replay", "ids": [dead]}, {"kind": "pause", "ids": [made["id"]]}]
        firing, writing = await with_key(api, "fire"), await with_key(api, "write")
        statuses = [
            (await one.ask("POST", "/v1/operations", body)).status_code for one in (firing, writing) for body in bodies
        ]

    assert statuses == [202, 403, 403, 202]
