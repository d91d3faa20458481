import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import trio

from cueapi.domain.audit import SYSTEM
from cueapi.settings import Settings
from cueapi.storage import cue_changes, cue_descriptions, cues
from cueapi.storage.cue_changes import CueUpdate
from cueapi.storage.cues import CueRecord
from cueapi.storage.database import Database
from tests.api.refusals import Refused, surprises
from tests.conftest import Api, cue, running
from tests.moments import ask_soon, post_soon
from tests.process import HANG
from tests.receiver import open_receiver
from tests.storage.rows import add_cue, add_execution, add_user, wait_for_locks

URL = "https://93.184.215.14/run"
"""An address: nothing to look up, and nothing is sent there before the new year."""

ODD = "2090-03-04T05:06:07.800000Z"
"""A moment that no schedule here comes to by itself."""

INVALID = [
    Refused("transport", {"transport": "worker"}, 422, "validation_error", "body.transport: unknown field"),
    Refused("an unknown field", {"colour": "red"}, 422, "validation_error", "body.colour"),
    Refused("the id", {"id": "cue_000000000000"}, 422, "validation_error", "body.id"),
    Refused("next run", {"next_run": ODD}, 422, "validation_error", "body.next_run"),
    Refused("short form", {"cron": "@daily"}, 422, "validation_error", "body.cron"),
    Refused("unknown below", {"schedule": {"tz": "UTC"}}, 422, "validation_error", "body.schedule.tz"),
    Refused("transport below", {"callback": {"transport": "worker"}}, 422, "validation_error", "body.callback"),
    Refused("null name", {"name": None}, 422, "validation_error", "body.name"),
    Refused("null status", {"status": None}, 422, "validation_error", "body.status"),
    Refused("null schedule", {"schedule": None}, 422, "validation_error", "body.schedule"),
    Refused("null cron", {"schedule": {"cron": None}}, 422, "validation_error", "body.schedule.cron"),
    Refused("null timezone", {"schedule": {"timezone": None}}, 422, "validation_error", "body.schedule.timezone"),
    Refused("null catchup", {"schedule": {"catchup": None}}, 422, "validation_error", "body.schedule.catchup"),
    Refused("null callback", {"callback": None}, 422, "validation_error", "body.callback"),
    Refused("null url", {"callback": {"url": None}}, 422, "validation_error", "body.callback.url"),
    Refused("null method", {"callback": {"method": None}}, 422, "validation_error", "body.callback.method"),
    Refused("null payload", {"payload": None}, 422, "validation_error", "body.payload"),
    Refused("null retry", {"retry": None}, 422, "validation_error", "body.retry"),
    Refused("null attempts", {"retry": {"max_attempts": None}}, 422, "validation_error", "body.retry.max_attempts"),
    Refused("null on_failure", {"on_failure": None}, 422, "validation_error", "body.on_failure"),
    Refused("null email", {"on_failure": {"email": None}}, 422, "validation_error", "body.on_failure.email"),
    Refused("null verification", {"verification": None}, 422, "validation_error", "body.verification"),
    Refused("null mode", {"verification": {"mode": None}}, 422, "validation_error", "body.verification.mode"),
    Refused("null timeout", {"delivery": {"timeout_seconds": None}}, 422, "validation_error", "body.delivery"),
    Refused("null count", {"alerts": {"consecutive_failures": None}}, 422, "validation_error", "body.alerts"),
    Refused("completed", {"status": "completed"}, 422, "validation_error", "'active' or 'paused'"),
    Refused("failed", {"status": "failed"}, 422, "validation_error", "'active' or 'paused'"),
    Refused("an empty name", {"name": ""}, 422, "validation_error", "at least 1 character"),
    Refused("a long name", {"name": "x" * 256}, 422, "validation_error", "at most 255 characters"),
    Refused("catchup", {"schedule": {"catchup": "some"}}, 422, "validation_error", "'latest', 'all' or 'none'"),
    Refused("method", {"callback": {"method": "DELETE"}}, 422, "validation_error", "'PUT' or 'PATCH'"),
    Refused("header", {"callback": {"headers": {"X A": "1"}}}, 422, "validation_error", "no name of a header"),
    Refused("no url", {"callback": {"url": ""}}, 422, "validation_error", "a callback URL"),
    Refused("payload", {"payload": [1]}, 422, "validation_error", "body.payload"),
    Refused("12 attempts", {"retry": {"max_attempts": 12}}, 422, "validation_error", "less than or equal to 11"),
    Refused("no pauses", {"retry": {"backoff_minutes": []}}, 422, "validation_error", "body.retry.backoff_minutes"),
    Refused("mode", {"verification": {"mode": "strict"}}, 422, "validation_error", "require_external_id"),
    Refused("over 15 minutes", {"delivery": {"timeout_seconds": 901}}, 422, "validation_error", "at most 900"),
    Refused("timeout", {"delivery": {"timeout_seconds": 3_601}}, 422, "validation_error", "equal to 3600"),
    Refused("alerts", {"alerts": {"missed_window_multiplier": 0}}, 422, "validation_error", "body.alerts"),
    Refused("no object", [], 422, "validation_error", "body: must be a JSON object"),
    Refused("neither type", {"schedule": {"type": "daily"}}, 400, "invalid_schedule", "'recurring' or 'once'"),
    Refused("an empty type", {"schedule": {"type": ""}}, 400, "invalid_schedule", "'recurring' or 'once'"),
    Refused("a bad cron", {"schedule": {"cron": "0 9 * *"}}, 400, "invalid_schedule", "has 4 fields"),
    Refused("an empty cron", {"schedule": {"cron": ""}}, 400, "invalid_schedule", "empty"),
    Refused("never", {"schedule": {"cron": "0 0 31 2 *"}}, 400, "invalid_schedule", "never comes"),
    Refused("once, no at", {"schedule": {"type": "once"}}, 400, "invalid_schedule", "needs schedule.at"),
    Refused("past", {"schedule": {"at": "2020-01-01T00:00:00Z"}}, 400, "invalid_schedule", "in the future"),
    Refused("zone", {"schedule": {"timezone": "Mars/Olympus"}}, 422, "invalid_timezone", "Mars/Olympus"),
    Refused("an empty zone", {"schedule": {"timezone": ""}}, 422, "invalid_timezone", "for example"),
    Refused("inside", {"callback": {"url": "http://10.0.0.1/"}}, 400, "invalid_callback_url", "private address"),
    Refused("user", {"callback": {"url": "http://a:b@a.example/"}}, 400, "invalid_callback_url", "user name"),
    Refused("ops", {"on_failure": {"webhook": "http://[::1]/"}}, 400, "invalid_callback_url", "CALLBACK_ALLOW=::1"),
    Refused("size", {"payload": {"a": "ä" * 174_762}}, 400, "invalid_payload_size", "1,048,576"),
    Refused("the first of two", {"name": "new", "status": "off"}, 422, "validation_error", "body.status"),
]

NULL = {
    "description": None,
    "group": None,
    "delivery": None,
    "alerts": None,
    "callback": {"headers": None},
    "on_failure": {"webhook": None},
}


def kept(shown: dict[str, Any], *names: str) -> dict[str, Any]:
    """The cue but for *names* and the moment of the change."""
    return {name: value for name, value in shown.items() if name not in {*names, "updated_at"}}


async def place(database: Database, cue_id: str, *, next_run: str) -> None:
    """Have the cue due at another moment than its schedule says, to see whether that is touched."""
    moment = datetime.fromisoformat(next_run)
    assert await database.execute("update cues set next_run = $2 where id = $1", cue_id, moment) == 1


async def finish(database: Database, cue_ids: Iterable[str], status: str = "completed") -> None:
    """Have one-time cues as they are when their time has come and gone."""
    await database.execute(
        "update cues set status = $2, next_run = null, schedule_at = now() - interval '1 day' where id = any ($1)",
        list(cue_ids),
        status,
    )


def once(**fields: Any) -> dict[str, Any]:
    return cue(URL, schedule={"type": "once", "at": "2090-01-01T00:00:00Z"}, **fields)


async def test_a_change_that_cannot_be_is_refused_and_changes_nothing(api: Api) -> None:
    with trio.fail_after(30):
        await api.post("/v1/cues", cue(URL, name="taken"))
        made = await api.post("/v1/cues", cue(URL))
        path = f"/v1/cues/{made['id']}"
        before = await api.get(path)
        found = await surprises(api, "PATCH", path, INVALID)
        taken = await api.refused("PATCH", path, {"name": "taken", "description": "never seen"})
        after = await api.get(path)

    assert found == {}
    assert taken[:2] == (409, "duplicate_cue_name")
    assert "'taken'" in taken[2]
    assert after == before


async def test_what_is_left_out_stays_and_nothing_at_all_is_accepted(api: Api) -> None:
    with trio.fail_after(HANG):
        made = await api.post("/v1/cues", cue(URL, name="brief", description="d", payload={"a": 1, "b": 2}))
        path = f"/v1/cues/{made['id']}"
        same = await api.patch(path, {})
        own_name = await api.patch(path, {"name": "brief"})
        renamed = await api.patch(path, {"name": "other"})
        shown = await api.get(path)

    assert kept(same) == kept(made)
    assert kept(own_name) == kept(made)
    assert kept(renamed, "name") == kept(made, "name")
    assert shown["name"] == "other"
    assert datetime.fromisoformat(renamed["updated_at"]) > datetime.fromisoformat(made["updated_at"])


async def test_nested_objects_merge_one_level_deep(api: Api) -> None:
    said = {
        "schedule": {"type": "recurring", "cron": "0 9 * * *", "timezone": "America/New_York", "overlap": "skip"},
        "callback": {"url": URL, "method": "PUT", "headers": {"X-A": "1", "X-B": "2"}},
        "payload": {"a": {"b": 1}, "c": 2},
        "retry": {"max_attempts": 3, "backoff_minutes": [7]},
        "on_failure": {"email": False, "webhook": f"{URL}/failed"},
        "verification": {"mode": "manual"},
        "delivery": {"timeout_seconds": 5},
    }
    with trio.fail_after(HANG):
        made = await api.post("/v1/cues", cue(**said))
        changed = await api.patch(
            f"/v1/cues/{made['id']}",
            {
                "schedule": {"cron": "30 9 * * *", "catchup": "all"},
                "callback": {"url": f"{URL}/new"},
                "payload": {"d": 3},
                "retry": {"max_attempts": 5},
                "on_failure": {"pause": True},
                "verification": {},
                "delivery": {"outcome_deadline_seconds": 60},
                "alerts": {"consecutive_failures": 2},
            },
        )
        headers = await api.patch(f"/v1/cues/{made['id']}", {"callback": {"headers": {"X-C": "3"}}})
        pauses = await api.patch(f"/v1/cues/{made['id']}", {"retry": {"backoff_minutes": [1, 2]}})

    assert changed["schedule"] == made["schedule"] | {"cron": "30 9 * * *", "catchup": "all"}
    assert changed["callback"] == {"url": f"{URL}/new", "method": "PUT", "headers": {"X-A": "1", "X-B": "2"}}
    assert changed["payload"] == {"d": 3}
    assert changed["retry"] == {"max_attempts": 5, "backoff_minutes": [7]}
    assert changed["on_failure"] == {"email": False, "webhook": f"{URL}/failed", "pause": True}
    assert changed["verification"] == {"mode": "manual"}
    assert changed["delivery"] == {"timeout_seconds": 5, "outcome_deadline_seconds": 60}
    assert changed["alerts"] == {"consecutive_failures": 2}
    assert headers["callback"] == {"url": f"{URL}/new", "method": "PUT", "headers": {"X-C": "3"}}
    assert pauses["retry"] == {"max_attempts": 5, "backoff_minutes": [1, 2]}


async def test_null_clears_what_may_be_empty(api: Api) -> None:
    said = {
        "description": "d",
        "delivery": {"timeout_seconds": 5},
        "alerts": {"consecutive_failures": 2},
        "callback": {"url": URL, "headers": {"X-A": "1"}},
        "on_failure": {"webhook": f"{URL}/failed", "email": False},
    }
    with trio.fail_after(HANG):
        made = await api.post("/v1/cues", cue(**said, transport="webhook"))
        cleared = await api.patch(f"/v1/cues/{made['id']}", NULL)
        again = await api.patch(f"/v1/cues/{made['id']}", NULL)

    assert (cleared["description"], cleared["delivery"], cleared["alerts"]) == (None, None, None)
    assert cleared["callback"] == {"url": URL, "method": "POST", "headers": {}}
    assert cleared["on_failure"] == {"email": False, "webhook": None, "pause": False}
    assert kept(cleared, *NULL) == kept(made, *NULL)
    assert kept(again) == kept(cleared)


async def test_the_warning_follows_the_url(api: Api) -> None:
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue(URL))
        path = f"/v1/cues/{made['id']}"
        unresolved = await api.patch(path, {"callback": {"url": "https://agent.invalid/"}})
        renamed = await api.patch(path, {"name": "renamed"})
        mended = await api.patch(path, {"callback": {"url": URL}})

    assert re.search(r"agent\.invalid (does|did) not resolve", unresolved["warning"])
    assert renamed["warning"] == unresolved["warning"]
    assert mended["warning"] is None


async def test_headers_that_are_not_sent_are_named_when_they_are_set(api: Api) -> None:
    path = f"/v1/cues/{(await api.post('/v1/cues', cue(URL)))['id']}"
    answers = [
        await api.patch(path, {"callback": {"headers": headers}})
        for headers in ({"Host": "other", "X-Mine": "1"}, {"X-Mine": "1"}, None)
    ]

    assert [answer["warning"] for answer in answers] == ["Headers that only we set are not sent: Host.", None, None]


async def test_what_has_no_effect_on_a_schedule_is_named_when_it_is_changed(api: Api) -> None:
    path = f"/v1/cues/{(await api.post('/v1/cues', cue(URL)))['id']}"
    at = "2190-01-01T00:00:00Z"
    answers = [
        await api.patch(path, {"schedule": schedule})
        for schedule in ({"type": "recurring", "at": at}, {"type": "once", "at": at, "cron": "@daily"}, {"at": at})
    ]

    assert [answer["warning"] for answer in answers] == [
        "Of no use in a schedule of type recurring: schedule.at.",
        "Of no use in a schedule of type once: schedule.cron.",
        None,
    ]


async def test_that_no_worker_is_alive_is_not_told_any_more_once_one_is_whatever_was_changed_meanwhile(
    api: Api,
) -> None:
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue())
        renamed = await api.patch(f"/v1/cues/{made['id']}", {"name": "renamed"})
        await api.post("/v1/worker/heartbeat", {})
        served = await api.get(f"/v1/cues/{made['id']}")

    assert "No worker is alive" in renamed["warning"]
    assert served["warning"] is None


async def test_a_cue_that_on_failure_has_paused_says_when_and_why_until_its_status_is_changed(api: Api) -> None:
    with trio.fail_after(20):
        await api.post("/v1/worker/heartbeat", {})
        made = await api.post("/v1/cues", cue(on_failure={"pause": True}, retry={"max_attempts": 1}))
        path = f"/v1/cues/{made['id']}"
        fired = (await api.post(f"{path}/fire"))["id"]
        await api.post(f"/v1/executions/{fired}/claim")
        await api.post(f"/v1/executions/{fired}/outcome", {"success": False, "error": "no paper."})
        paused = await api.get(path)
        (listed,) = (await api.get("/v1/cues"))["cues"]
        renamed = await api.patch(path, {"name": "renamed"})
        resumed = await api.patch(path, {"status": "active"})
        by_hand = await api.patch(path, {"status": "paused"})

    why = f"execution {fired} has failed for good (no paper)."
    at = paused["warning"].removeprefix("Paused by on_failure at ").partition(": ")[0]
    assert (paused["status"], paused["next_run"]) == ("paused", None)
    assert paused["warning"] == f"Paused by on_failure at {at}: {why}"
    assert abs(datetime.fromisoformat(at) - datetime.fromisoformat(paused["updated_at"])) < timedelta(seconds=20)
    assert datetime.fromisoformat(paused["updated_at"]) > datetime.fromisoformat(made["updated_at"])
    assert listed["warning"] == renamed["warning"] == paused["warning"]
    assert (resumed["warning"], by_hand["warning"]) == (None, None)


async def test_a_one_time_cue_changes_when_it_ends(api: Api) -> None:
    with trio.fail_after(HANG):
        answer, _ = await post_soon(api, 0.3, "http://127.0.0.1:9/", retry={"max_attempts": 1})
        made = answer.json()
        while (ended := await api.get(f"/v1/cues/{made['id']}"))["status"] == "active":
            await trio.sleep(0.02)

    assert ended["status"] == "failed"
    assert datetime.fromisoformat(ended["updated_at"]) > datetime.fromisoformat(made["updated_at"])


async def test_a_worker_cue_cannot_be_given_an_evidence_mode(api: Api) -> None:
    with trio.fail_after(HANG):
        made = await api.post("/v1/cues", cue())
        response = await api.ask("PATCH", f"/v1/cues/{made['id']}", {"verification": {"mode": "require_result_url"}})
        manual = await api.patch(f"/v1/cues/{made['id']}", {"verification": {"mode": "manual"}})

    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "unsupported_verification_for_transport")
    assert (error["transport"], error["verification_mode"]) == ("worker", "require_result_url")
    assert error["supported_worker_modes"] == ["none", "manual"]
    assert manual["verification"] == {"mode": "manual"}


async def test_an_equal_schedule_and_an_equal_status_leave_the_next_run_alone(api: Api, database: Database) -> None:
    with trio.fail_after(HANG):
        made = await api.post("/v1/cues", cue(URL, schedule={"cron": "0 9 * * *", "timezone": "Europe/Paris"}))
        path = f"/v1/cues/{made['id']}"
        await place(database, made["id"], next_run=ODD)
        changes = [
            {},
            {"description": "d", "payload": {"a": 1}},
            {"status": "active"},
            {"schedule": {}},
            {"schedule": {"type": "recurring", "cron": " 0  9 * * *", "timezone": "Europe/Paris"}},
            {"schedule": made["schedule"], "status": "active", "name": "all of it"},
        ]
        same = [(await api.patch(path, change))["next_run"] for change in changes]
        other_zone = await api.patch(path, {"schedule": {"timezone": "Asia/Kolkata"}})
        other_cron = await api.patch(path, {"schedule": {"cron": "0 8 * * *"}})

    assert same == [ODD] * len(changes)
    assert other_zone["next_run"].endswith("T03:30:00Z")
    assert other_cron["next_run"].endswith("T02:30:00Z")
    assert other_cron["schedule"]["timezone"] == "Asia/Kolkata"


async def test_an_equal_one_time_schedule_leaves_the_next_run_alone(api: Api, database: Database) -> None:
    with trio.fail_after(HANG):
        made = await api.post("/v1/cues", once())
        await place(database, made["id"], next_run=ODD)
        same = await api.patch(f"/v1/cues/{made['id']}", {"schedule": {"at": "2090-01-01T01:00:00+01:00"}})
        other = await api.patch(f"/v1/cues/{made['id']}", {"schedule": {"at": "2090-01-01T00:00:01Z"}})

    assert same["next_run"] == ODD
    assert other["next_run"] == "2090-01-01T00:00:01Z"


async def test_a_schedule_may_become_another_type_and_keeps_its_timezone(api: Api) -> None:
    with trio.fail_after(HANG):
        made = await api.post("/v1/cues", cue(URL, schedule={"cron": "@daily", "timezone": "America/New_York"}))
        path = f"/v1/cues/{made['id']}"
        single = await api.patch(path, {"schedule": {"type": "once", "at": "2090-07-01T09:00:00"}})
        recurring = await api.patch(path, {"schedule": {"cron": "0 9 * 7 *"}})

    assert single["schedule"] == {
        "type": "once",
        "timezone": "America/New_York",
        "at": "2090-07-01T13:00:00Z",
        "catchup": "latest",
        "overlap": "allow",
    }
    assert single["next_run"] == "2090-07-01T13:00:00Z"
    assert (recurring["schedule"]["type"], recurring["schedule"]["timezone"]) == ("recurring", "America/New_York")
    assert "at" not in recurring["schedule"]
    assert recurring["next_run"].endswith("T13:00:00Z")


async def test_pausing_clears_the_next_run_and_resuming_computes_it_anew(api: Api, database: Database) -> None:
    with trio.fail_after(HANG):
        made = await api.post("/v1/cues", cue(URL))
        path = f"/v1/cues/{made['id']}"
        await place(database, made["id"], next_run=ODD)
        paused = await api.patch(path, {"status": "paused"})
        still = await api.patch(path, {"status": "paused", "description": "d"})
        resumed = await api.patch(path, {"status": "active"})
        me = await api.get("/v1/auth/me")

    assert (paused["status"], paused["next_run"]) == ("paused", None)
    assert (still["status"], still["next_run"]) == ("paused", None)
    assert (resumed["status"], resumed["next_run"]) == ("active", made["next_run"])
    assert me["active_cues"] == 1


async def test_the_status_applies_last(api: Api) -> None:
    daily, nightly = {"cron": "0 9 * * *"}, {"cron": "0 2 * * *"}
    with trio.fail_after(HANG):
        made = await api.post("/v1/cues", cue(URL))
        path = f"/v1/cues/{made['id']}"
        both = await api.patch(path, {"status": "paused", "schedule": daily})
        while_paused = await api.patch(path, {"schedule": nightly})
        never = await api.refused("PATCH", path, {"schedule": {"cron": "0 0 31 2 *"}})
        resumed = await api.patch(path, {"status": "active", "schedule": daily})

    assert (both["status"], both["next_run"], both["schedule"]["cron"]) == ("paused", None, "0 9 * * *")
    assert (while_paused["status"], while_paused["next_run"]) == ("paused", None)
    assert while_paused["schedule"]["cron"] == "0 2 * * *"
    assert never[:2] == (400, "invalid_schedule")
    assert resumed["status"] == "active"
    assert resumed["next_run"].endswith("T09:00:00Z")


async def test_a_paused_one_time_cue_is_resumed_only_before_its_time(api: Api, database: Database) -> None:
    with trio.fail_after(HANG):
        early, late = await api.post("/v1/cues", once()), await api.post("/v1/cues", once())
        for made in (early, late):
            await api.patch(f"/v1/cues/{made['id']}", {"status": "paused"})
        await finish(database, [late["id"]], "paused")
        resumed = await api.patch(f"/v1/cues/{early['id']}", {"status": "active"})
        refused = await api.refused("PATCH", f"/v1/cues/{late['id']}", {"status": "active"})
        moved = await api.patch(f"/v1/cues/{late['id']}", {"status": "active", "schedule": {"at": ODD}})

    assert (resumed["status"], resumed["next_run"]) == ("active", "2090-01-01T00:00:00Z")
    assert refused[:2] == (400, "invalid_schedule")
    assert "'2030-05-01T09:00:00Z'" in refused[2]
    assert (moved["status"], moved["next_run"]) == ("active", ODD)


async def test_a_one_time_cue_that_has_ended_is_revived_by_a_new_time_only(api: Api, database: Database) -> None:
    with trio.fail_after(HANG):
        completed, failed = await api.post("/v1/cues", once()), await api.post("/v1/cues", once())
        await finish(database, [completed["id"]])
        await finish(database, [failed["id"]], "failed")
        paths = [f"/v1/cues/{one['id']}" for one in (completed, failed)]
        paused = [await api.refused("PATCH", path, {"status": "paused"}) for path in paths]
        resumed = [await api.refused("PATCH", path, {"status": "active"}) for path in paths]
        into_past = await api.refused("PATCH", paths[0], {"schedule": {"at": "2020-01-01T00:00:00Z"}})
        described = [await api.patch(path, {"description": "over"}) for path in paths]
        before = await api.get("/v1/auth/me")
        revived = await api.patch(paths[0], {"schedule": {"at": ODD}})
        revived_paused = await api.patch(paths[1], {"schedule": {"at": ODD}, "status": "paused"})
        after = await api.get("/v1/auth/me")

    assert [answer[:2] for answer in paused] == [(409, "invalid_state")] * 2
    assert ["completed" in paused[0][2], "failed" in paused[1][2]] == [True, True]
    assert [answer[:2] for answer in resumed] == [(400, "invalid_schedule")] * 2
    assert into_past[:2] == (400, "invalid_schedule")
    assert [one["status"] for one in described] == ["completed", "failed"]
    assert (revived["status"], revived["next_run"]) == ("active", ODD)
    assert (revived_paused["status"], revived_paused["next_run"]) == ("paused", None)
    assert (before["active_cues"], after["active_cues"]) == (0, 2)


async def test_a_one_time_cue_that_has_fired_can_be_given_another_time(api: Api) -> None:
    with trio.fail_after(20):
        async with open_receiver() as receiver:
            made = (await post_soon(api, 0.3, receiver.url()))[0].json()
            await receiver.wait_for(1)
            (execution,) = (await api.get(f"/v1/cues/{made['id']}/executions"))["executions"]
            await api.execution(execution["id"])
            over = await api.get(f"/v1/cues/{made['id']}")
            resumed = await api.refused("PATCH", f"/v1/cues/{made['id']}", {"status": "active"})
            await ask_soon(
                0.3, lambda at: api.ask("PATCH", f"/v1/cues/{made['id']}", {"schedule": {"at": at.isoformat()}})
            )
            await receiver.wait_for(2)

    assert (over["status"], over["next_run"], over["fired_count"]) == ("completed", None, 1)
    assert resumed[:2] == (400, "invalid_schedule")


async def test_a_revived_cue_needs_room(settings: Settings, database: Database) -> None:
    rounds = []
    with trio.fail_after(40):
        async with running(settings.model_copy(update={"active_cue_limit": 3})) as daemon:
            api = await daemon.api.register()
            ids = []
            for _ in range(9):
                ids.append((await api.post("/v1/cues", once()))["id"])
                await finish(database, ids)
            for _ in range(3):
                answers = await changed_at_once(api, ids, {"schedule": {"at": ODD}})
                rounds.append((sorted(answers), (await api.get("/v1/auth/me"))["active_cues"]))
                await finish(database, ids)
            await api.post("/v1/cues", cue(URL))
            await api.patch(f"/v1/cues/{ids[0]}", {"schedule": {"at": ODD}})
            await api.patch(f"/v1/cues/{ids[1]}", {"schedule": {"at": ODD}, "status": "paused"})
            refused = await api.refused("PATCH", f"/v1/cues/{ids[2]}", {"schedule": {"at": ODD}, "status": "paused"})
            await api.patch(f"/v1/cues/{ids[2]}", {"description": "over"})
            await api.patch(f"/v1/cues/{ids[1]}", {"status": "active"})

    assert rounds == [([200] * 3 + [403] * 6, 3)] * 3
    assert refused[:2] == (403, "cue_limit_exceeded")
    assert "3 active and paused cues" in refused[2]


async def changed_at_once(api: Api, cue_ids: list[str], *changes: dict[str, Any]) -> list[int]:
    """The statuses of all these changes of all these cues, which go out at the same time."""
    statuses = []

    async def change(cue_id: str, body: dict[str, Any]) -> None:
        statuses.append((await api.ask("PATCH", f"/v1/cues/{cue_id}", body)).status_code)

    async with trio.open_nursery() as nursery:
        for cue_id in cue_ids:
            for body in changes:
                nursery.start_soon(change, cue_id, body)
    return statuses


AT_ONCE: tuple[dict[str, Any], ...] = (
    {"description": "d"}, {"group": "g"}, {"payload": {"a": 1}},
    {"schedule": {"timezone": "Asia/Tokyo"}}, {"schedule": {"catchup": "all"}}, {"schedule": {"overlap": "skip"}},
    {"callback": {"method": "PUT"}}, {"callback": {"url": f"{URL}/2"}},
    {"on_failure": {"pause": True}}, {"on_failure": {"email": False}}, {"on_failure": {"webhook": f"{URL}/failed"}},
    {"retry": {"max_attempts": 2}}, {"retry": {"backoff_minutes": [9]}},
    {"delivery": {"timeout_seconds": 7}}, {"delivery": {"outcome_deadline_seconds": 77}},
    {"alerts": {"consecutive_failures": 5}}, {"alerts": {"missed_window_multiplier": 6}},
)  # fmt: skip
"""Changes of which each has a field of its own."""


async def test_of_many_changes_at_once_none_is_refused_and_none_is_lost(api: Api) -> None:
    with trio.fail_after(60):
        for _ in range(3):
            made = await api.post("/v1/cues", cue(URL))
            statuses = await changed_at_once(api, [made["id"]], *AT_ONCE, *AT_ONCE)
            after = await api.get(f"/v1/cues/{made['id']}")

            assert statuses == [200] * 2 * len(AT_ONCE)
            assert [change for change in AT_ONCE if not holds(after, change)] == []


def holds(shown: dict[str, Any], change: dict[str, Any]) -> bool:
    """Whether a cue has what *change* says."""
    return all(
        holds(shown[name], value) if isinstance(value, dict) else shown[name] == value for name, value in change.items()
    )


async def test_a_cue_that_ends_while_it_is_to_be_paused_is_not_paused(api: Api, database: Database) -> None:
    refused = []

    async def pause(path: str) -> None:
        refused.append(await api.refused("PATCH", path, {"status": "paused"}))

    with trio.fail_after(20):
        made = await api.post("/v1/cues", once())
        async with trio.open_nursery() as nursery, database.transaction() as tx:
            # As where an execution ends its cue: the cue is locked first, and its user last. A PATCH locks them the
            # other way round: of the two it gives way, and is tried again.
            await tx.execute("set local deadlock_timeout = '60s'")
            await tx.execute("select from cues where id = $1 for no key update", made["id"])
            nursery.start_soon(pause, f"/v1/cues/{made['id']}")
            await wait_for_locks(database)
            await tx.execute("update cues set status = 'completed', next_run = null where id = $1", made["id"])
        after = await api.get(f"/v1/cues/{made['id']}")

    assert [one[:2] for one in refused] == [(409, "invalid_state")]
    assert after["status"] == "completed"


async def test_a_one_time_cue_whose_time_has_passed_can_still_change_its_overlap(api: Api, database: Database) -> None:
    made = await api.post("/v1/cues", cue(schedule={"type": "once", "at": "2099-01-01T00:00:00Z"}))
    await database.execute(
        "update cues set schedule_at = now() - interval '1 day', next_run = null where id = $1", made["id"]
    )

    changed = await api.patch(f"/v1/cues/{made['id']}", {"schedule": {"overlap": "skip"}})

    assert changed["schedule"]["overlap"] == "skip"
    assert (changed["status"], changed["next_run"]) == ("active", None)


async def test_a_cue_can_be_stopped_whatever_has_become_of_its_callback(settings: Settings, database: Database) -> None:
    async with running(settings) as daemon:
        api = await daemon.api.register()
        made = await api.post("/v1/cues", cue("http://127.0.0.1:9/hook"))
    strict = settings.model_copy(update={"callback_allow": ""})
    path = f"/v1/cues/{made['id']}"
    async with running(strict) as daemon:
        api = Api(daemon.api.client, api.key)
        paused = await api.patch(path, {"status": "paused"})
        resumed = await api.refused("PATCH", path, {"status": "active"})

    (row,) = await database.fetch("select callback_host from cues")
    assert (paused["status"], paused["next_run"]) == ("paused", None)
    assert resumed[:2] == (400, "invalid_callback_url")
    assert row["callback_host"] == "127.0.0.1:9"


async def test_a_failure_webhook_that_is_empty_is_none(api: Api) -> None:
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue(on_failure={"webhook": ""}))
        path = f"/v1/cues/{made['id']}"
        await api.patch(path, {"on_failure": {"webhook": "http://127.0.0.1:9/failed"}})
        cleared = await api.patch(path, {"on_failure": {"webhook": ""}})

    assert (made["on_failure"]["webhook"], cleared["on_failure"]["webhook"]) == (None, None)


async def test_a_change_that_is_refused_moves_no_delivery_to_another_host(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user)
    await add_execution(database, cue_id)
    row = await cues.show(database, cue_id=cue_id, user=user)
    assert row is not None
    moved = CueRecord(cue_descriptions.to_cue(row, {}), "{}", "other:1", None)

    no_room = CueUpdate([], 0, "active", moves=False, next_run=None)
    changed = await cue_changes.change(database, moved, no_room, cue_id=cue_id, user=user, act=SYSTEM)

    assert changed is None
    assert [row["host"] for row in await database.fetch("select host from outbox")] == ["127.0.0.1:9"]


async def test_a_group_is_set_shown_changed_and_cleared(api: Api) -> None:
    with trio.fail_after(HANG):
        made = await api.post("/v1/cues", cue(URL, group="a" + "9._-" * 15 + "zz"))
        path = f"/v1/cues/{made['id']}"
        kept = await api.patch(path, {"description": "d"})
        changed = await api.patch(path, {"group": "0"})
        refused = await api.refused("PATCH", path, {"group": "Two words"})
        read = await api.get(path)
        cleared = await api.patch(path, {"group": None})

    assert (made["group"], kept["group"]) == ("a" + "9._-" * 15 + "zz",) * 2
    assert (changed["group"], read["group"], cleared["group"]) == ("0", "0", None)
    assert refused[:2] == (422, "validation_error")


async def test_a_policy_is_changed_in_the_words_of_catch_up_and_nothing_else_moves(api: Api) -> None:
    with trio.fail_after(HANG):
        made = await api.post("/v1/cues", cue(URL))
        path = f"/v1/cues/{made['id']}"
        top = await api.patch(path, {"catch_up": "skip_missed"})
        below = await api.patch(path, {"schedule": {"catch_up": "replay_all"}})
        refused = [
            await api.refused("PATCH", path, body)
            for body in ({"catch_up": None}, {"catch_up": "skip_missed", "schedule": {"catchup": "all"}})
        ]

    assert (top["schedule"], below["schedule"]) == (
        made["schedule"] | {"catchup": "none"},
        made["schedule"] | {"catchup": "all"},
    )
    assert (top["next_run"], below["next_run"]) == (made["next_run"], made["next_run"])
    assert [(one[0], one[2].partition(":")[0]) for one in refused] == [(422, "body.catch_up")] * 2
