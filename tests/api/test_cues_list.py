import re
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import trio

from cueapi.domain.ids import new_cue_id
from cueapi.storage.database import Database
from tests.api.refusals import Refused, surprises
from tests.conftest import Api, RunningDaemon, cue
from tests.receiver import open_receiver

URL = "https://93.184.215.14/run"
"""An address: nothing to look up, and nothing is sent there before the new year."""

SURE = {"X_Confirm_Destructive": "true"}
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

# Ids are given as they are, since 10,001 requests would take a minute.
MANY = """
insert into cues (id, user_id, name, status, transport, schedule_type, cron, timezone, catchup, overlap,
                  callback_method, payload, max_attempts, backoff_minutes, verification)
select 'cue_' || lpad(n::text, 12, '0'), u.id, 'many-' || n, 'completed', 'worker', 'recurring', '0 0 1 1 *', 'UTC',
       'latest', 'allow', 'POST', '{}', 1, '{1}', 'none'
  from users u, generate_series(1, $1::int) n
"""

CALLS = [
    ("GET", "/v1/cues/{}", None),
    ("PATCH", "/v1/cues/{}", {}),
    ("PATCH", "/v1/cues/{}", {"status": "paused"}),
    ("DELETE", "/v1/cues/{}", None),
    ("POST", "/v1/cues/{}/fire", None),
    ("POST", "/v1/cues/{}/fire", {"payload_override": {"a": 1}}),
    ("GET", "/v1/cues/{}/executions", None),
    ("GET", "/v1/cues/{}/upcoming", None),
]

BAD_FIRES = [
    Refused("a list", {"payload_override": [1]}, 422, "validation_error", "body.payload_override"),
    Refused("a strategy", {"merge_strategy": "deep"}, 422, "validation_error", "'merge' or 'replace'"),
    Refused("no moment", {"send_at": "soon"}, 422, "validation_error", "2030-05-01T09:00:00Z"),
    Refused("a number", {"send_at": 5}, 422, "validation_error", "body.send_at"),
    Refused("the past", {"send_at": "2020-01-01T00:00:00Z"}, 400, "invalid_schedule", "in the future"),
    Refused("beyond the calendar", {"send_at": "9999-12-31T23:59:59-01:00"}, 422, "validation_error", "2030-05-01T"),
    Refused("the last moment", {"send_at": "9999-12-31T23:59:59.9999999Z"}, 422, "validation_error", "2 to 9998"),
    Refused("size", {"payload_override": {"a": "ä" * 174_762}}, 400, "invalid_payload_size", "1,048,576"),
    Refused("no object", [], 422, "validation_error", "body: must be a JSON object"),
]

BAD_DELETIONS = [
    Refused("nothing", {}, 422, "validation_error", "body.ids: is required"),
    Refused("no ids", {"ids": []}, 422, "validation_error", "at least 1"),
    Refused("101 ids", {"ids": ["cue_000000000000"] * 101}, 422, "validation_error", "at most 100"),
    Refused("a text", {"ids": "cue_000000000000"}, 422, "validation_error", "body.ids"),
    Refused("a number", {"ids": [5]}, 422, "validation_error", "body.ids.0"),
]


async def make(api: Api, count: int, **fields: Any) -> list[dict[str, Any]]:
    """So many cues, the oldest first."""
    return [await api.post("/v1/cues", cue(**fields)) for _ in range(count)]


async def codes(api: Api, *paths: str) -> dict[str, tuple[int, str]]:
    """How these GETs are refused."""
    return {path: (await api.refused("GET", path))[:2] for path in paths}


async def claimed(api: Api) -> list[dict[str, Any]]:
    """What a worker gets to do."""
    return list((await api.post("/v1/worker/heartbeat", {"claim": 50}))["executions"])


async def test_cues_are_listed_page_by_page_newest_first(api: Api) -> None:
    with trio.fail_after(20):
        other = await api.register("other@example.com")
        await make(other, 1)
        made = await make(api, 5)
        whole = await api.get("/v1/cues")
        pages = [await api.get(f"/v1/cues?limit=2&offset={offset}") for offset in (0, 2, 4, 6)]

    names = [one["name"] for one in reversed(made)]
    assert {key: whole[key] for key in whole if key != "cues"} == {
        "total": 5,
        "limit": 50,
        "offset": 0,
        "has_more": False,
    }
    assert [one["name"] for one in whole["cues"]] == names
    assert whole["cues"][0] == (await api.get("/v1/cues?limit=1"))["cues"][0]
    assert whole["cues"][0].keys() == made[0].keys()
    assert [[one["name"] for one in page["cues"]] for page in pages] == [names[:2], names[2:4], names[4:], []]
    assert [(page["total"], page["limit"], page["offset"], page["has_more"]) for page in pages] == [
        (5, 2, 0, True),
        (5, 2, 2, True),
        (5, 2, 4, False),
        (5, 2, 6, False),
    ]


async def test_cues_are_found_by_status_and_by_name(api: Api) -> None:
    with trio.fail_after(20):
        active, paused = await make(api, 2)
        await api.patch(f"/v1/cues/{paused['id']}", {"status": "paused"})
        answers = [
            await api.get(f"/v1/cues?{query}")
            for query in (
                "status=active",
                "status=paused",
                "status=failed",
                f"name={active['name']}",
                f"name={active['name']}&status=paused",
                "name=nobody",
            )
        ]
        refused = await api.refused("GET", "/v1/cues?status=retired")

    assert [[one["id"] for one in answer["cues"]] for answer in answers] == [
        [active["id"]],
        [paused["id"]],
        [],
        [active["id"]],
        [],
        [],
    ]
    assert [answer["total"] for answer in answers] == [1, 1, 0, 1, 0, 0]
    assert refused[:2] == (400, "invalid_filter")
    assert "active, completed, failed, paused" in refused[2]


async def test_a_page_that_cannot_be_is_refused(api: Api) -> None:
    with trio.fail_after(20):
        (made,) = await make(api, 1)
        path = f"/v1/cues/{made['id']}"
        answers = await codes(
            api,
            "/v1/cues?limit=0",
            "/v1/cues?limit=101",
            "/v1/cues?limit=ten",
            "/v1/cues?limit=1.5",
            "/v1/cues?offset=-1",
            "/v1/cues?offset=10001",
            "/v1/cues?offset=99999999999999999999",
            f"{path}?execution_limit=0",
            f"{path}?execution_limit=101",
            f"{path}?execution_offset=-1",
            f"{path}?execution_offset=10001",
            f"{path}/executions?limit=101",
            f"{path}/upcoming?count=0",
            f"{path}/upcoming?count=51",
            f"{path}/upcoming?after=soon",
        )
        far = await api.refused("GET", "/v1/cues?offset=10001")
        many = await api.refused("GET", f"{path}/upcoming?count=51")
        last = await api.get("/v1/cues?limit=100&offset=10000")

    assert answers == dict.fromkeys(answers, (422, "validation_error"))
    # This list has no cursor.
    assert "narrow the list by name, group or status instead" in far[2]
    assert many[2] == "query.count: must be a whole number from 1 to 50"
    assert last["cues"] == []


async def test_beyond_ten_thousand_a_total_is_capped(api: Api, database: Database) -> None:
    with trio.fail_after(30):
        await database.execute(MANY, 10_000)
        exact = await api.get("/v1/cues?limit=1")
        await make(api, 1)
        capped = await api.get("/v1/cues?limit=1&offset=10000")
        tied = await api.get("/v1/cues?limit=3&offset=1")

    assert (exact["total"], "total_capped" in exact) == (10_000, False)
    assert (capped["total"], capped["total_capped"], capped["has_more"]) == (10_000, True, False)
    assert [len(capped["cues"]), len(tied["cues"])] == [1, 3]


async def test_cues_of_one_moment_are_ordered_by_id(api: Api, database: Database) -> None:
    with trio.fail_after(20):
        await make(api, 7)
        await database.execute("update cues set created_at = now()")
        pages = [await api.get(f"/v1/cues?limit=2&offset={offset}") for offset in (0, 2, 4, 6)]

    ids = [one["id"] for page in pages for one in page["cues"]]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == 7


async def test_a_cue_is_shown_with_its_newest_executions(api: Api) -> None:
    with trio.fail_after(20):
        made, other = await make(api, 2)
        path = f"/v1/cues/{made['id']}"
        fired = [(await api.post(f"{path}/fire"))["id"] for _ in range(12)]
        await api.post(f"/v1/cues/{other['id']}/fire")
        shown = await api.get(path)
        page = await api.get(f"{path}?execution_limit=2&execution_offset=1")
        listed = await api.get(f"{path}/executions?limit=3")
        (newest,) = (await api.get(f"/v1/executions?cue_id={made['id']}&limit=1"))["executions"]

    assert {name: shown[name] for name in made.keys() - {"fired_count", "last_run"}} == {
        name: made[name] for name in made.keys() - {"fired_count", "last_run"}
    }
    assert (shown["fired_count"], shown["run_count"]) == (12, 0)
    assert datetime.fromisoformat(shown["last_run"]) > datetime.fromisoformat(made["created_at"])
    assert [one["id"] for one in shown["executions"]] == fired[:1:-1]
    assert shown["executions"][0] == newest
    assert (shown["execution_total"], shown["execution_limit"], shown["execution_offset"]) == (12, 10, 0)
    assert [one["id"] for one in page["executions"]] == [fired[10], fired[9]]
    assert (page["execution_total"], page["execution_limit"], page["execution_offset"]) == (12, 2, 1)
    assert [one["id"] for one in listed["executions"]] == fired[:8:-1]
    assert (listed["total"], listed["has_more"]) == (12, True)
    assert listed["next_cursor"]


async def test_what_is_not_there_and_what_is_anothers_answer_alike(api: Api) -> None:
    with trio.fail_after(30):
        other = await api.register("other@example.com")
        (theirs,) = await make(other, 1)
        (gone,) = await make(api, 1)
        await api.ask("DELETE", f"/v1/cues/{gone['id']}")
        ids = [theirs["id"], gone["id"], new_cue_id(), "cue_UPPERCASE000", "5", "cue_" + "a" * 300, "%00", "%ff"]
        answers = {
            (method, path, cue_id): await api.refused(method, path.format(cue_id), body)
            for method, path, body in CALLS
            for cue_id in ids
        }
        deleted = await api.post("/v1/cues/bulk-delete", {"ids": [theirs["id"]]}, **SURE)
        untouched = await other.get(f"/v1/cues/{theirs['id']}")

    assert answers == dict.fromkeys(answers, (404, "cue_not_found", "There is no such cue."))
    assert deleted == {"deleted": [], "not_found": [theirs["id"]], "skipped": [theirs["id"]]}
    assert (untouched["status"], untouched["fired_count"], untouched["updated_at"]) == (
        "active",
        0,
        theirs["updated_at"],
    )


async def test_a_deleted_cue_is_gone_at_once_and_its_executions_with_it(api: Api) -> None:
    with trio.fail_after(20):
        (made,) = await make(api, 1)
        fired = await api.post(f"/v1/cues/{made['id']}/fire")
        response = await api.ask("DELETE", f"/v1/cues/{made['id']}", Content_Type="application/json")
        again = await api.refused("DELETE", f"/v1/cues/{made['id']}")
        listed = await api.get("/v1/cues")
        work = await claimed(api)
        execution = await api.refused("GET", f"/v1/executions/{fired['id']}")

    assert (response.status_code, response.content) == (204, b"")
    assert again[:2] == (404, "cue_not_found")
    assert (listed["cues"], listed["total"]) == ([], 0)
    assert work == []
    assert execution[:2] == (404, "execution_not_found")


async def test_many_cues_are_deleted_at_once_and_each_is_accounted_for(api: Api) -> None:
    with trio.fail_after(20):
        other = await api.register("other@example.com")
        first, second, kept = await make(api, 3)
        (theirs,) = await make(other, 1)
        ids = [second["id"], theirs["id"], first["id"], "no-id", second["id"]]
        bare = await api.refused("POST", "/v1/cues/bulk-delete", {"ids": ids})
        found = await surprises(sure(api), "POST", "/v1/cues/bulk-delete", BAD_DELETIONS)
        answer = await api.post("/v1/cues/bulk-delete", {"ids": ids}, **SURE)
        again = await api.post("/v1/cues/bulk-delete", {"ids": ids[:1]}, **SURE)
        left = await api.get("/v1/cues")

    assert bare[:2] == (400, "confirmation_required")
    assert found == {}
    missing = [theirs["id"], "no-id"]
    assert answer == {"deleted": [second["id"], first["id"]], "not_found": missing, "skipped": missing}
    assert again == {"deleted": [], "not_found": [second["id"]], "skipped": [second["id"]]}
    assert [one["id"] for one in left["cues"]] == [kept["id"]]


def sure(api: Api) -> Api:
    """The same user, who confirms whatever is asked."""

    class Sure(Api):
        async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
            return await super().ask(method, path, body, **SURE, **headers)

    return Sure(api.client, api.key)


async def test_upcoming_times_are_those_of_the_schedule_in_utc(api: Api) -> None:
    with trio.fail_after(20):
        made = await api.post(
            "/v1/cues", cue(URL, schedule={"cron": "0 9 * * *", "timezone": "America/New_York", "type": "recurring"})
        )
        path = f"/v1/cues/{made['id']}/upcoming"
        default = (await api.get(path))["upcoming"]
        most = (await api.get(f"{path}?count=50"))["upcoming"]
        change = await api.get(f"{path}?count=3&after=2030-03-08T14:00:00Z")
        offset = await api.get(f"{path}?count=1&after=2030-03-08T15:59:59+02:00")
        await api.patch(f"/v1/cues/{made['id']}", {"status": "paused"})
        paused = await api.get(path)

    assert default[0] == made["next_run"]
    assert default == most[:5]
    assert (len(default), len(most)) == (5, 50)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT1[34]:00:00Z", moment) for moment in most)
    assert all(first < second for first, second in pairwise(most))
    assert change == {"upcoming": ["2030-03-09T14:00:00Z", "2030-03-10T13:00:00Z", "2030-03-11T13:00:00Z"]}
    assert offset == {"upcoming": ["2030-03-08T14:00:00Z"]}
    assert paused == {"upcoming": default}


async def test_the_times_of_a_rare_cron_hold_up_nobody(daemon: RunningDaemon) -> None:
    spans, api = list[float](), await daemon.api.register()

    async def watch() -> None:
        while True:
            begun = time.thread_time()
            await trio.sleep(0.01)
            spans.append(time.thread_time() - begun)

    with trio.fail_after(30):
        made = await api.post("/v1/cues", cue(URL, schedule={"cron": "0 0 29 2 */7"}))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            answer = await api.get(f"/v1/cues/{made['id']}/upcoming?count=50")
            nursery.cancel_scope.cancel()

    assert len(answer["upcoming"]) == 50
    assert len(spans) > 1
    assert max(spans) < 0.5


async def test_a_one_time_cue_has_one_upcoming_time(api: Api) -> None:
    at = "2090-01-01T00:00:00Z"
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue(URL, schedule={"type": "once", "at": at}))
        path = f"/v1/cues/{made['id']}/upcoming"
        before = await api.get(path)
        at_that_moment = await api.get(f"{path}?after={at}")
        await api.patch(f"/v1/cues/{made['id']}", {"status": "paused"})
        paused = await api.get(path)

    assert before == {"upcoming": [at]}
    assert at_that_moment == {"upcoming": []}
    assert paused == {"upcoming": [at]}


async def test_a_cue_is_fired_by_hand_in_any_status(api: Api, database: Database) -> None:
    with trio.fail_after(20):
        (made,) = await make(api, 1)
        path = f"/v1/cues/{made['id']}"
        bare = await api.post(f"{path}/fire")
        await api.post(f"{path}/fire", {})
        await api.post(f"{path}/fire", Content_Type="application/json")
        await api.patch(path, {"status": "paused"})
        await api.post(f"{path}/fire")
        await database.execute("update cues set status = 'completed'")
        await api.post(f"{path}/fire")
        shown = await api.get(path)
        execution = await api.get(f"/v1/executions/{bare['id']}")

    assert bare == {
        "id": bare["id"],
        "cue_id": made["id"],
        "scheduled_for": execution["scheduled_for"],
        "status": "pending",
        "triggered_by": "manual_fire",
    }
    assert UUID.fullmatch(bare["id"])
    assert (execution["status"], execution["triggered_by"]) == ("pending", "manual_fire")
    assert (shown["status"], shown["fired_count"], shown["next_run"]) == ("completed", 5, None)


async def test_a_fire_by_hand_may_have_another_payload(api: Api) -> None:
    with trio.fail_after(20):
        (made,) = await make(api, 1, payload={"task": "a", "deep": {"x": 1, "y": 2}, "kept": True})
        path = f"/v1/cues/{made['id']}/fire"
        override = {"task": "b", "deep": {"x": 3}}
        for body in (
            None,
            {"payload_override": override},
            {"payload_override": override, "merge_strategy": "merge"},
            {"payload_override": override, "merge_strategy": "replace"},
            {"payload_override": {}, "merge_strategy": "replace"},
        ):
            await api.post(path, body)
        work = await claimed(api)
        found = await surprises(api, "POST", path, BAD_FIRES)
        shown = await api.get(f"/v1/cues/{made['id']}")

    merged = {"task": "b", "deep": {"x": 3}, "kept": True}
    assert [one["payload"] for one in work] == [made["payload"], merged, merged, override, {}]
    assert [one["task"] for one in work] == ["a", "b", "b", "b", None]
    assert found == {}
    assert (shown["fired_count"], shown["payload"]) == (5, made["payload"])


async def test_a_merged_payload_has_the_same_bound_as_every_other(api: Api) -> None:
    with trio.fail_after(20):
        (made,) = await make(api, 1, payload={"a": "x" * 600_000})
        path = f"/v1/cues/{made['id']}/fire"
        refused = await api.refused("POST", path, {"payload_override": {"b": "x" * 600_000}})
        await api.post(path, {"payload_override": {"b": "x" * 600_000}, "merge_strategy": "replace"})

    assert refused[:2] == (400, "invalid_payload_size")


async def test_a_fire_by_hand_may_wait_for_its_time(api: Api) -> None:
    late, seconds = datetime.now(UTC) + timedelta(days=364), 1.0
    with trio.fail_after(20):
        async with open_receiver() as receiver:
            made = await api.post("/v1/cues", cue(receiver.url()))
            path = f"/v1/cues/{made['id']}/fire"
            far = await api.post(path, {"send_at": late.isoformat()})
            while True:
                soon = datetime.now(UTC) + timedelta(seconds=seconds)
                near = await api.post(path, {"send_at": soon.replace(tzinfo=None).isoformat()})
                if datetime.now(UTC) < soon:
                    break
                seconds *= 2  # The machine was too slow to ask for it before that time.
            while not (mine := [one for one in receiver.requests if one.header("x-cueapi-execution-id") == near["id"]]):
                await trio.sleep(0.01)
            waiting = await api.get(f"/v1/executions/{far['id']}")
            await api.execution(near["id"])
            shown = await api.get(f"/v1/cues/{made['id']}")

    assert datetime.fromisoformat(far["scheduled_for"]) == late
    assert datetime.fromisoformat(near["scheduled_for"]) == soon
    assert (far["status"], near["triggered_by"]) == ("pending", "manual_fire")
    # Without a wake-up a poll comes after 30.
    assert [0 <= request.at - soon.timestamp() < 15 for request in mine] == [True]
    assert (waiting["status"], waiting["attempts"]) == ("pending", 0)
    assert datetime.fromisoformat(shown["last_run"]) >= soon


async def test_a_moment_up_to_a_minute_past_means_now_and_none_is_too_far_ahead(api: Api) -> None:
    with trio.fail_after(20):
        (made,) = await make(api, 1)
        path = f"/v1/cues/{made['id']}/fire"
        asked = datetime.now(UTC)
        just = await api.post(path, {"send_at": (asked - timedelta(seconds=40)).isoformat()})
        past = await api.refused("POST", path, {"send_at": (asked - timedelta(seconds=70)).isoformat()})
        far = [await api.post(path, {"send_at": at}) for at in ("2030-05-01T09:00:00Z", "9998-12-31T00:00:00Z")]
        work = await claimed(api)
        shown = await api.get(f"/v1/executions?cue_id={made['id']}&status=pending")

    assert timedelta(seconds=-1) < datetime.fromisoformat(just["scheduled_for"]) - asked
    assert (past[:2], "send_at must lie in the future" in past[2]) == ((400, "invalid_schedule"), True)
    assert [one["scheduled_for"] for one in far] == ["2030-05-01T09:00:00Z", "9998-12-31T00:00:00Z"]
    assert [one["execution_id"] for one in work] == [just["id"]]
    assert {one["id"] for one in shown["executions"]} == {one["id"] for one in far}


async def test_cues_and_executions_are_filtered_by_the_group(api: Api) -> None:
    with trio.fail_after(10):
        grouped = await api.post("/v1/cues", cue(URL, name="grouped", transport="worker", group="team-1"))
        other = await api.post("/v1/cues", cue(URL, name="other", transport="worker", group="team-2"))
        alone = await api.post("/v1/cues", cue(URL, name="alone", transport="worker"))
        for one in (grouped, other, alone, grouped):
            await api.post(f"/v1/cues/{one['id']}/fire", {})
        found = await api.get("/v1/cues?group=team-1")
        fired = await api.get("/v1/executions?group=team-1&limit=1")
        rest = await api.get(f"/v1/executions?group=team-1&cursor={fired['next_cursor']}")
        nothing = [await api.get(f"/v1/{name}?group=team-3") for name in ("cues", "executions")]
        bad = [
            await api.refused("GET", f"/v1/{name}?group={group}")
            for name in ("cues", "executions")
            for group in ("Team", "-", "a%0A", "a" * 64)
        ]

    assert [one["name"] for one in found["cues"]] == ["grouped"]
    assert {one["cue_id"] for one in fired["executions"] + rest["executions"]} == {grouped["id"]}
    assert (found["total"], fired["total"], len(rest["executions"])) == (1, 2, 1)
    assert [one["total"] for one in nothing] == [0, 0]
    assert {one[:2] for one in bad} == {(422, "validation_error")}
