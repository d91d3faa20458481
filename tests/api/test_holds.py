"""The brake of an account: set, seen, released, and what is refused meanwhile."""

from datetime import UTC, datetime, timedelta

import pytest
import trio
from attrs import evolve

from cueapi.settings import Settings
from cueapi.storage.notify import notify
from tests.conftest import Api, RunningDaemon, cue, running
from tests.process import HANG
from tests.receiver import open_receiver
from tests.storage.rows import add_execution

NOTHING = {"held": False, "mode": None, "reason": None, "until": None, "since": None, "by": None}


async def put(api: Api, **body: object) -> dict[str, object]:
    response = await api.ask("PUT", "/v1/hold", body or None)
    assert response.status_code == 200, response.text
    return dict(response.json())


async def test_an_account_is_held_seen_and_released(api: Api) -> None:
    assert await api.get("/v1/hold") == NOTHING

    held = await put(api, reason="The agents loop.")
    changed = await put(api, mode="everything")
    shown = await api.get("/v1/hold")
    released = await api.ask("DELETE", "/v1/hold")

    assert (held["held"], held["mode"], held["reason"], held["until"]) == (True, "fires", "The agents loop.", None)
    assert held["by"]["kind"] == "key"  # type: ignore[index]
    assert (changed["mode"], changed["reason"], changed["since"]) == ("everything", None, held["since"])
    assert shown == changed
    assert (released.status_code, released.content) == (204, b"")
    assert await api.get("/v1/hold") == NOTHING
    assert (await api.ask("DELETE", "/v1/hold")).status_code == 204


async def test_the_header_s_reason_is_that_of_the_hold_and_of_a_mute(api: Api) -> None:
    held = (await api.ask("PUT", "/v1/hold", {}, X_Reason="The agents loop.")).json()
    muted = (await api.ask("PUT", "/v1/mutes", {"account": True}, X_Reason="Tonight.")).json()

    assert (held["reason"], (await api.get("/v1/hold"))["reason"]) == ("The agents loop.", "The agents loop.")
    assert (muted["reason"], (await api.get("/v1/mutes"))["mutes"][0]["reason"]) == ("Tonight.", "Tonight.")


MOMENTS = {
    "past": timedelta(seconds=-1),
    "over a year": timedelta(days=366),
}


@pytest.mark.parametrize("ahead", MOMENTS.values(), ids=MOMENTS)
async def test_a_hold_ends_within_a_year_and_not_in_the_past(api: Api, ahead: timedelta) -> None:
    until = (datetime.now(UTC) + ahead).isoformat()

    status, code, message = await api.refused("PUT", "/v1/hold", {"until": until})

    assert (status, code) == (400, "invalid_schedule")
    assert "until" in message
    assert await api.get("/v1/hold") == NOTHING


BAD = {
    "until": "soon",
    "mode": "some",
    "reason": "x" * 501,
    "resaon": "x",
}


@pytest.mark.parametrize("field", BAD)
async def test_what_is_no_hold_is_refused_at_its_field(api: Api, field: str) -> None:
    status, code, message = await api.refused("PUT", "/v1/hold", {field: BAD[field]})

    assert (status, code) == (422, "validation_error")
    assert field in message


async def test_nothing_is_fired_or_replayed_by_hand_unless_it_is_forced(api: Api) -> None:
    async with open_receiver() as receiver:
        made = await api.post("/v1/cues", cue(receiver.url()))
        fire = f"/v1/cues/{made['id']}/fire"
        first = await api.post(fire)
        replay = f"/v1/executions/{first['id']}/replay"
        await api.execution(first["id"])
        until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        await put(api, reason="loops", mode="everything", until=until)

        refused = [await api.ask("POST", path) for path in (fire, replay)]
        unknown = await api.refused("POST", "/v1/cues/cue_aaaaaaaaaaaa/fire")
        with trio.fail_after(60):
            forced = [await api.post(f"{path}?force=true", Idempotency_Key=path[-9:]) for path in (fire, replay)]
            key = await api.post("/v1/keys", {"name": "fires", "scopes": ["fire"]})
            repeats = [
                await evolve(api, key=key["api_key"]).refused("POST", f"{path}?force=true", Idempotency_Key=path[-9:])
                for path in (fire, replay)
            ]
            shown = [(await api.execution(one["id"]))["status"] for one in forced]

    errors = [answer.json()["error"] for answer in refused]
    assert [(one["status"], one["code"], one["mode"], one["reason"]) for one in errors] == [
        (409, "account_held", "everything", "loops")
    ] * 2
    assert all("force=true" in one["message"] for one in errors)
    assert [one[:2] for one in repeats] == [(403, "insufficient_scope")] * 2
    assert unknown[:2] == (404, "cue_not_found")
    assert shown == ["success", "success"]


async def test_one_account_s_brake_stops_no_other(daemon: RunningDaemon, api: Api) -> None:
    other = await daemon.api.register("other@example.com")
    await put(api)

    made = await other.post("/v1/cues", cue())

    assert await other.get("/v1/hold") == NOTHING
    assert (await other.post(f"/v1/cues/{made['id']}/fire"))["status"] == "pending"


async def test_what_was_parked_fires_as_soon_as_the_account_is_released(daemon: RunningDaemon, api: Api) -> None:
    db = daemon.resources.database
    async with open_receiver() as receiver:
        once = {"type": "once", "at": (datetime.now(UTC) + timedelta(days=9)).isoformat()}
        parked = f"/v1/cues/{(await api.post('/v1/cues', cue(receiver.url(), schedule=once)))['id']}"
        every = f"/v1/cues/{(await api.post('/v1/cues', cue(receiver.url())))['id']}"
        later = f"/v1/executions/{(await api.post(f'{every}/fire', {'send_at': once['at']}))['id']}"
        await put(api)
        await db.execute("update cues set next_run = now(), schedule_at = now() + (schedule_at - schedule_at)")
        await db.execute("update executions set scheduled_for = now(), ready_at = now()")
        await db.execute("update outbox set ready_at = now()")
        await notify(db, "test cue:0 delivery")
        with trio.fail_after(HANG):
            while (held := await api.get(parked))["next_run"] is not None:
                await trio.sleep(0.02)
            while not await db.fetch("select from executions where ready_at <= now() - interval '0.2 seconds'"):
                await trio.sleep(0.02)
            waiting = (await api.get(later))["status"]
            await api.ask("DELETE", "/v1/hold")
            while (fired := await api.get(parked))["status"] != "completed":
                await trio.sleep(0.02)
            shown = await api.execution(later.rpartition("/")[2])

    assert "held" in held["warning"]
    assert (waiting, shown["status"], shown["late"]) == ("pending", "success", True)
    assert (held["held_count"], fired["fired_count"], fired["executions"][0]["late"]) == (0, 1, True)
    assert (await api.get(every))["held_count"] == 1


async def test_claims_go_on_at_once_where_a_hold_stops_no_more_than_fires(settings: Settings) -> None:
    seldom = settings.model_copy(update={"poller_interval_seconds": 3_600.0})
    with trio.fail_after(HANG):
        async with open_receiver() as receiver, running(seldom) as daemon:
            api, db = await daemon.api.register(), daemon.resources.database
            made = await api.post("/v1/cues", cue(receiver.url()))
            await put(api, mode="everything")
            waiting = await add_execution(db, made["id"])
            await put(api, mode="fires")
            shown = await api.execution(str(waiting))

    assert shown["status"] == "success"


async def test_who_has_held_and_released_the_account_is_kept(daemon: RunningDaemon, api: Api) -> None:
    await put(api, reason="The agents loop.")
    await api.ask("DELETE", "/v1/hold", X_Reason="All is well.")

    rows = await daemon.resources.database.fetch("select action, actor_kind, reason from audit order by id")
    assert [tuple(row) for row in rows if row["action"].startswith("hold.")] == [
        ("hold.set", "key", "The agents loop."),
        ("hold.released", "key", "All is well."),
    ]


async def test_moments_of_holds_are_told_as_all_others(api: Api) -> None:
    until = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    for mode in ("fires", "everything"):
        await put(api, mode=mode, until=until.isoformat())
    await api.ask("DELETE", "/v1/hold")

    changes = [row["changes"][0] for row in (await api.get("/v1/audit"))["audit"]]
    moments = [
        [side and side["until"] for side in (one["from"], one["to"])] for one in changes if one["path"] == "hold"
    ]
    written = f"{until:%Y-%m-%dT%H:%M:%S}.000000Z"
    assert moments == [[written, None], [written, written], [None, written]]


async def test_a_hold_whose_time_is_over_ends_by_itself(daemon: RunningDaemon, api: Api) -> None:
    db = daemon.resources.database
    await put(api, until=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    await db.execute("update holds set until = now()")

    assert await api.get("/v1/hold") == NOTHING
    with trio.fail_after(120):
        while not await db.fetch("select from audit where action = 'hold.released' and actor_kind = 'system'"):
            await trio.sleep(0.05)
