"""The SDK's cues: made, listed, read, changed, paused, resumed, deleted."""

import json
from typing import Any

import trio

from tests.clients.sdk import Sdk
from tests.conftest import Api, cue
from tests.process import HANG
from tests.receiver import open_receiver

DONE = (200, b'{"success": true}')
BEYOND = {
    "group", "verification", "delivery", "alerts", "budget", "budget_use", "held_count", "status_changed",
    "target_state", "executions", "execution_total", "execution_limit",
    "execution_offset",
}  # fmt: skip
"""What a cue has and the client's model has not."""


def kept(shown: dict[str, Any]) -> dict[str, Any]:
    """What the client's model keeps of a cue."""
    schedule = {"cron": None, "at": None} | shown["schedule"]
    of_schedule = {name: schedule[name] for name in ("type", "cron", "at", "timezone")}
    return {name: value for name, value in shown.items() if name not in BEYOND} | {"schedule": of_schedule}


async def test_every_kind_of_cue_is_made_as_it_was_asked_for(sdk: Sdk, api: Api) -> None:
    with trio.fail_after(HANG):
        async with open_receiver([DONE]) as receiver:
            made = await sdk.run("create", api, url=receiver.url("/hook"))
            shown = {name: await api.get(f"/v1/cues/{one['id']}") for name, one in made.items()}

    recurring = shown["recurring"]
    schedules = {name: (one["schedule"]["type"], one["schedule"]["timezone"]) for name, one in shown.items()}
    assert schedules == {
        "recurring": ("recurring", "Europe/Berlin"),
        "as text": ("once", "America/New_York"),
        "naive": ("once", "Asia/Tokyo"),
        "aware": ("once", "UTC"),
        "pulled": ("recurring", "UTC"),
    }
    assert {name: one["next_run"] for name, one in shown.items() if one["schedule"]["type"] == "once"} == {
        "as text": "2091-05-01T13:00:00Z",
        "naive": "2091-05-01T00:00:00Z",
        "aware": "2091-05-01T07:00:00Z",
    }
    assert recurring["schedule"]["cron"] == "0 9 * * 1-5"
    assert recurring["description"] == "Every morning"
    assert recurring["callback"] == {"url": receiver.url("/hook"), "method": "PUT", "headers": {"X-Team": "ops"}}
    assert recurring["retry"] == {"max_attempts": 2, "backoff_minutes": [7]}
    assert recurring["on_failure"] == {"email": False, "webhook": receiver.url("/hook"), "pause": True}
    assert recurring["payload"] == {
        "task": "morning-brief",
        "kind": "content_generation",
        "instruction": "Grüße an alle",
        "context_ref": "memory-7",
        "context_mode": "summary",
        "agent": "socrates",
        "pages": 3,
    }
    assert [name for name, one in shown.items() if one["transport"] == "worker"] == ["pulled"]


async def test_the_client_shows_a_cue_as_the_server_has_it(sdk: Sdk, api: Api) -> None:
    with trio.fail_after(HANG):
        async with open_receiver([DONE]) as receiver:
            made = list((await sdk.run("create", api, url=receiver.url("/hook"))).values())
            got = await sdk.call(api, *[("cues.get", {"cue_id": one["id"]}) for one in made])
            shown = [await api.get(f"/v1/cues/{one['id']}") for one in made]

    assert got == [kept(one) for one in shown]
    assert [one | {"warning": None} for one in made] == [one | {"warning": None} for one in got]


async def test_a_cue_that_the_client_made_is_delivered_with_its_method_headers_and_payload(sdk: Sdk, api: Api) -> None:
    with trio.fail_after(HANG):
        async with open_receiver([DONE]) as receiver:
            made = await sdk.run("create", api, url=receiver.url("/hook"))
            fired = await api.post(f"/v1/cues/{made['recurring']['id']}/fire")
            shown = await api.execution(fired["id"])

    (request,) = receiver.requests
    assert (request.method, request.path, request.header("x-team")) == ("PUT", "/hook", "ops")
    assert json.loads(request.body)["payload"] == made["recurring"]["payload"]
    assert shown["status"] == "success"


async def test_cues_are_listed_by_status_and_by_page(sdk: Sdk, api: Api) -> None:
    with trio.fail_after(HANG):
        ids = [(await api.post("/v1/cues", cue()))["id"] for _ in range(4)]
        await api.patch(f"/v1/cues/{ids[1]}", {"status": "paused"})
        every, active, paused, page = await sdk.call(
            api,
            ("cues.list", {}),
            ("cues.list", {"status": "active"}),
            ("cues.list", {"status": "paused"}),
            ("cues.list", {"limit": 2, "offset": 1}),
        )

    assert [[one["id"] for one in found["cues"]] for found in (every, active, paused, page)] == [
        [ids[3], ids[2], ids[1], ids[0]],
        [ids[3], ids[2], ids[0]],
        [ids[1]],
        [ids[2], ids[1]],
    ]
    assert [found["total"] for found in (every, active, paused, page)] == [4, 3, 1, 4]
    assert (page["limit"], page["offset"]) == (2, 1)


async def test_each_argument_of_an_update_changes_its_part_and_nothing_else(sdk: Sdk, api: Api) -> None:
    changes: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"name": "renamed"}, {"name": "renamed"}),
        ({"description": "Now described"}, {"description": "Now described"}),
        ({"status": "paused"}, {"status": "paused", "next_run": None}),
        ({"payload": {"task": "other"}}, {"payload": {"task": "other"}}),
        ({"retry": {"max_attempts": 5}}, {"retry": {"max_attempts": 5, "backoff_minutes": [1, 5, 15]}}),
        ({"on_failure": {"pause": True}}, {"on_failure": {"email": True, "webhook": None, "pause": True}}),
        (
            {"callback": "http://127.0.0.1:2/new"},
            {"callback": {"url": "http://127.0.0.1:2/new", "method": "PUT", "headers": {"X-Team": "ops"}}},
        ),
    ]
    callback = {"url": "http://127.0.0.1:1/old", "method": "PUT", "headers": {"X-Team": "ops"}}
    with trio.fail_after(HANG):
        made = await api.post("/v1/cues", cue(callback=callback, transport="webhook"))
        changed = await sdk.call(api, *[("cues.update", {"cue_id": made["id"], **change}) for change, _ in changes])

    before = [kept(made), *changed]
    for earlier, later, (_, expected) in zip(before, changed, changes, strict=False):
        assert later == earlier | expected | {"updated_at": later["updated_at"]}


async def test_an_update_of_the_schedule_computes_the_next_run_anew(sdk: Sdk, api: Api) -> None:
    with trio.fail_after(HANG):
        made = await api.post(
            "/v1/cues", cue(schedule={"type": "recurring", "cron": "@daily", "timezone": "Asia/Tokyo"})
        )
        changed = await sdk.call(
            api,
            ("cues.update", {"cue_id": made["id"], "cron": "0 12 1 1 *"}),
            ("cues.update", {"cue_id": made["id"], "cron": "0 12 1 1 *", "timezone": "UTC"}),
            ("cues.update", {"cue_id": made["id"], "at": "2091-05-01T09:00:00", "timezone": "Europe/Berlin"}),
            ("cues.update", {"cue_id": made["id"], "at": "2091-05-01T09:00:00+00:00"}),
        )

    assert [one["schedule"] for one in changed] == [
        {"type": "recurring", "cron": "0 12 1 1 *", "at": None, "timezone": "Asia/Tokyo"},
        {"type": "recurring", "cron": "0 12 1 1 *", "at": None, "timezone": "UTC"},
        {"type": "once", "cron": None, "at": "2091-05-01T07:00:00Z", "timezone": "Europe/Berlin"},
        {"type": "once", "cron": None, "at": "2091-05-01T09:00:00Z", "timezone": "Europe/Berlin"},
    ]
    assert [one["next_run"][5:] for one in changed] == [
        "01-01T03:00:00Z",
        "01-01T12:00:00Z",
        "05-01T07:00:00Z",
        "05-01T09:00:00Z",
    ]


async def test_a_cue_is_paused_resumed_and_deleted(sdk: Sdk, api: Api) -> None:
    with trio.fail_after(HANG):
        made = await api.post("/v1/cues", cue())
        this = {"cue_id": made["id"]}
        paused, resumed, deleted = await sdk.call(
            api, ("cues.pause", this), ("cues.resume", this), ("cues.delete", this)
        )
        gone = await api.refused("GET", f"/v1/cues/{made['id']}")

    assert [(one["status"], one["next_run"]) for one in (paused, resumed)] == [
        ("paused", None),
        ("active", made["next_run"]),
    ]
    assert deleted is None
    assert gone[:2] == (404, "cue_not_found")
