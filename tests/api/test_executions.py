import base64
from types import NoneType
from typing import Any
from urllib.parse import quote
from uuid import UUID

import trio

from cueapi.domain.clock import iso
from cueapi.storage.database import Database
from tests.api.work import MOMENT, NO_IDS, TEXT_OR_NULL, claimed, fired, report, shown, wrong_fields
from tests.conftest import Api, cue
from tests.process import HANG
from tests.receiver import open_receiver
from tests.storage.rows import add_execution, ago

EXECUTION = {
    "id": str, "execution_id": str, "cue_id": str, "cue_name": str, "scheduled_for": str, "status": str,
    "triggered_by": str, "attempts": int, "http_status": (int, NoneType), "response_body": TEXT_OR_NULL,
    "error_message": TEXT_OR_NULL, "started_at": TEXT_OR_NULL, "delivered_at": TEXT_OR_NULL,
    "last_attempt_at": TEXT_OR_NULL, "next_retry": TEXT_OR_NULL, "next_run": TEXT_OR_NULL,
    "claimed_by_worker": TEXT_OR_NULL, "claimed_at": TEXT_OR_NULL, "outcome": (dict, NoneType),
    "outcome_success": (bool, NoneType), "outcome_state": TEXT_OR_NULL, "evidence": (dict, NoneType),
    "outcome_deadline_at": TEXT_OR_NULL, "missed_runs": int, "created_at": str, "updated_at": str,
}  # fmt: skip
OUTCOME = {"success": bool, "result": TEXT_OR_NULL, "error": TEXT_OR_NULL, "metadata": (dict, NoneType),
           "recorded_at": str}  # fmt: skip
EVIDENCE = {"external_id": TEXT_OR_NULL, "result_url": TEXT_OR_NULL, "result_ref": TEXT_OR_NULL,
            "result_type": TEXT_OR_NULL, "summary": TEXT_OR_NULL, "artifacts": (list, NoneType),
            "validation_state": TEXT_OR_NULL}  # fmt: skip
ATTEMPT = {"attempt": int, "started_at": str, "duration_ms": int, "sent_after_ms": (int, NoneType),
           "first_byte_after_ms": (int, NoneType), "http_status": (int, NoneType),
           "error": TEXT_OR_NULL, "outcome": str, "response_body": TEXT_OR_NULL}  # fmt: skip
WORK = {"execution_id": str, "cue_id": str, "cue_name": str, "task": TEXT_OR_NULL, "scheduled_for": str,
        "payload": dict, "attempt": int}  # fmt: skip

STATUSES = ["pending", "delivering", "retrying", "retry_ready", "success", "failed", "missed", "outcome_timeout"]
OUTCOME_STATES = ["reported_success", "reported_failure", "verified_success", "verification_failed",
                  "verification_pending"]  # fmt: skip

ENDED = ["success", "failed", "missed", "outcome_timeout"]
UNDER_WAY = ["pending", "delivering", "retrying"]

WRONG_FILTERS = {
    "status=gone": "invalid_filter",
    "status=Success": "invalid_filter",
    "outcome_state=success": "invalid_filter",
    "triggered_by=hand": "invalid_filter",
    "since=yesterday": "validation_error",
    "until=2026-13-01T00:00:00Z": "validation_error",
    "limit=0": "validation_error",
    "limit=101": "validation_error",
    "limit=-1": "validation_error",
    "limit=ten": "validation_error",
    "limit=1.5": "validation_error",
    "limit=%2B-5": "validation_error",
    "limit=1e1": "validation_error",
    "limit=%D9%A5": "validation_error",
    "limit=" + "9" * 5_000: "validation_error",
    "offset=-1": "validation_error",
    "offset=x": "validation_error",
    "cue_id=%00": "validation_error",
}

DAMAGED = {
    "no base64": "!!!",
    "not ASCII": "ünïcode",
    "no JSON": base64.urlsafe_b64encode(b"hello").decode(),
    "not UTF-8": base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    "a number": base64.urlsafe_b64encode(b"1").decode(),
    "too little": base64.urlsafe_b64encode(b"[]").decode(),
    "wrong types": base64.urlsafe_b64encode(b"[1, 2, 3]").decode(),
    "no moment": base64.urlsafe_b64encode(b'["now", "x", "y"]').decode(),
    "nested": base64.urlsafe_b64encode(b"[" * 9_000).decode(),
}


async def executions(api: Api, query: str = "") -> list[str]:
    """The ids of the first page."""
    return [one["id"] for one in (await api.get(f"/v1/executions?{query}"))["executions"]]


async def backlog(database: Database, cue_id: str, number: int, *, task: str | None = None) -> None:
    """So many finished, or for a *task* claimable, executions of a cue, a second between two."""
    await database.execute(
        "insert into executions (id, cue_id, user_id, transport, triggered_by, scheduled_for, status, ready_at,"
        "                        payload, task, finished_at, created_at)"
        " select gen_random_uuid(), id, user_id, transport, 'scheduled', at, $3::text, at, payload, $4,"
        "        case when $3::text = 'success' then at end, at"
        "   from cues, lateral (select now() - n * interval '1 second' as at from generate_series(1, $2) n) times"
        "  where id = $1",
        cue_id,
        number,
        "success" if task is None else "pending",
        task,
    )


async def in_status(api: Api, database: Database, status: str) -> str:
    """An execution of a new worker cue that is in *status*."""
    made = await api.post("/v1/cues", cue(payload={"task": "t", "n": 1}))
    stored = "retrying" if status == "retry_ready" else status
    ready_at = ago(minutes=-5) if status == "retrying" else ago(seconds=1)
    return str(await add_execution(database, made["id"], status=stored, ready_at=ready_at, attempts=1))


async def test_an_execution_has_every_field_of_the_contract_from_the_first_moment(api: Api) -> None:
    with trio.fail_after(20):
        fresh = await shown(api, await fired(api, name="brief"))
        (listed,) = (await api.get("/v1/executions"))["executions"]

    assert wrong_fields(fresh, EXECUTION) == {}
    assert {**listed, "payload": {}, "attempt_log": []} == fresh
    assert fresh["id"] == fresh["execution_id"]
    assert (fresh["cue_name"], fresh["status"], fresh["triggered_by"]) == ("brief", "pending", "manual_fire")
    assert (fresh["attempts"], fresh["missed_runs"]) == (0, 0)
    assert (fresh["outcome"], fresh["evidence"], fresh["outcome_state"], fresh["started_at"]) == (None,) * 4
    assert MOMENT.fullmatch(fresh["scheduled_for"])
    assert MOMENT.fullmatch(fresh["next_run"])
    assert UUID(fresh["id"]).version == 7


async def test_an_execution_tells_at_its_end_who_did_it_what_came_of_it_and_each_attempt(api: Api) -> None:
    proof: dict[str, Any] = {"external_id": "x1", "artifacts": [{"a": 1}], "metadata": {"pages": 3}}
    with trio.fail_after(20):
        done = await claimed(api, "w1", retry={"backoff_minutes": [0]})
        await report(api, done, success=False, error="no paper")
        await api.post(f"/v1/executions/{done}/claim", {"worker_id": "w2"})
        await report(api, done, success=True, result="ok", **proof)
        ended = await shown(api, done)

    assert wrong_fields(ended, EXECUTION | {"attempt_log": list}) == {}
    assert wrong_fields(ended["outcome"], OUTCOME) == {}
    assert wrong_fields(ended["evidence"], EVIDENCE) == {}
    assert (ended["status"], ended["attempts"], ended["claimed_by_worker"]) == ("success", 2, "w2")
    assert (ended["outcome_success"], ended["outcome_state"]) == (True, "reported_success")
    assert (ended["outcome"]["result"], ended["outcome"]["metadata"]) == ("ok", {"pages": 3})
    assert (ended["evidence"]["external_id"], ended["evidence"]["artifacts"]) == ("x1", [{"a": 1}])
    assert ended["evidence"]["validation_state"] is None
    log = ended["attempt_log"]
    assert [wrong_fields(one, ATTEMPT) for one in log] == [{}, {}]
    assert [(one["attempt"], one["outcome"]) for one in log] == [(1, "reported_failure"), (2, "success")]
    assert [one["error"] for one in log] == ["no paper", None]
    assert {(one["sent_after_ms"], one["first_byte_after_ms"]) for one in log} == {(None, None)}


async def test_an_answer_that_is_nested_deep_leaves_every_list_readable(api: Api, database: Database) -> None:
    deep = f'{{"success": true, "result": "done", "metadata": {{"a": {"[" * 300}{"]" * 300}}}}}'.encode()
    with trio.fail_after(20):
        async with open_receiver([(200, deep)]) as receiver:
            execution = await fired(api, transport="webhook", callback={"url": receiver.url()})
            dropped = await api.execution(execution)
        # As an older server, or a hand, may have left it.
        await database.execute(
            "update executions set outcome_metadata = $2::text::json where id = $1", UUID(execution), f"{deep.decode()}"
        )
        statuses = [
            (await api.ask("GET", path)).status_code
            for path in ("/v1/executions", f"/v1/executions/{execution}", f"/v1/cues/{dropped['cue_id']}")
        ]

    assert (dropped["outcome"]["result"], dropped["outcome"]["metadata"]) == ("done", None)
    assert statuses == [200, 200, 200]


async def test_the_log_of_a_webhook_tells_each_attempt_with_its_status_and_its_duration(api: Api) -> None:
    with trio.fail_after(20):
        async with open_receiver([500, (200, b"fine")]) as receiver:
            made = await api.post("/v1/cues", cue(receiver.url(), retry={"backoff_minutes": [0]}))
            answered = await api.post(f"/v1/cues/{made['id']}/fire")
            ended = await api.execution(answered["id"])

    log = ended["attempt_log"]
    assert [wrong_fields(one, ATTEMPT) for one in log] == [{}, {}]
    assert [(one["attempt"], one["http_status"]) for one in log] == [(1, 500), (2, 200)]
    assert [one["response_body"] for one in log] == ["", "fine"]
    assert all(0 <= one["sent_after_ms"] <= one["first_byte_after_ms"] <= one["duration_ms"] for one in log)
    assert log[0]["error"] == "The handler answered 500."
    assert (log[1]["error"], log[1]["outcome"]) == (None, "delivered")
    assert (ended["http_status"], ended["response_body"]) == (200, "fine")
    assert (ended["outcome"], ended["outcome_deadline_at"]) == (None, None)
    assert MOMENT.fullmatch(ended["delivered_at"])


async def test_an_execution_shows_its_own_payload_whatever_has_become_of_its_cue_s(api: Api) -> None:
    payload = {"task": "t", "deep": {"list": [1.0, 2**70, "ü"]}}
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue(payload=payload))
        path = f"/v1/cues/{made['id']}"
        first = (await api.post(f"{path}/fire"))["id"]
        other = (await api.post(f"{path}/fire", {"payload_override": {"task": "other"}}))["id"]
        await api.patch(path, {"payload": {"task": "later"}})
        told = [(await shown(api, one))["payload"] for one in (first, other)]
        lists = [(await api.get(where))["executions"] for where in ("/v1/executions", f"{path}/executions", path)]

    assert told == [payload, {**payload, "task": "other"}]
    assert not any("payload" in one for executions in lists for one in executions)


async def test_each_attempt_keeps_the_beginning_of_its_own_answer_and_a_later_report_leaves_it(api: Api) -> None:
    answers = [(500, b"out of paper: " + b"x" * 5_000), (503, "é".encode() * 3_000), (202, b"a\x00b")]
    with trio.fail_after(20):
        async with open_receiver(answers) as receiver:
            made = await api.post("/v1/cues", cue(receiver.url(), retry={"backoff_minutes": [0, 0]}))
            fired_id = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]
            await api.execution(fired_id)
            await report(api, fired_id, success=True)
            ended = await shown(api, fired_id)
        unreached = await api.execution(
            await fired(api, transport="webhook", callback={"url": "http://127.0.0.1:9/"}, retry={"max_attempts": 1})
        )

    bodies = [one["response_body"] for one in ended["attempt_log"]]
    assert bodies == [("out of paper: " + "x" * 5_000)[:2_000], "é" * 2_000, "a\ufffdb"]
    assert ended["response_body"] == bodies[-1]
    assert [(one["response_body"], one["sent_after_ms"]) for one in unreached["attempt_log"]] == [(None, None)]


async def test_each_status_is_shown_and_filtered_by_its_own_word(api: Api, database: Database) -> None:
    made = {status: await in_status(api, database, status) for status in STATUSES}

    with trio.fail_after(20):
        found = {status: await executions(api, f"status={status}") for status in STATUSES}
        told = {status: (await shown(api, made[status]))["status"] for status in STATUSES}
        waiting = await shown(api, made["retrying"])

    assert found == {status: [made[status]] for status in STATUSES}
    assert told == {status: status for status in STATUSES}
    assert MOMENT.fullmatch(waiting["next_retry"])


async def test_the_list_is_filtered_by_cue_outcome_origin_and_time(api: Api, database: Database) -> None:
    made = await api.post("/v1/cues", cue())
    other = await api.post("/v1/cues", cue())
    moments = [ago(days=5 - number) for number in range(5)]
    by_state = [
        str(await add_execution(database, made["id"], status="success", outcome_state=state, created_at=moment))
        for state, moment in zip(OUTCOME_STATES, moments, strict=True)
    ]
    with trio.fail_after(20):
        (await api.post(f"/v1/cues/{other['id']}/fire"))
        replayed = (await api.post(f"/v1/executions/{by_state[0]}/replay"))["id"]
        scheduled = str(await add_execution(database, other["id"], status="missed", triggered_by="scheduled"))
        since, until = quote(moments[1].isoformat()), quote(moments[3].isoformat())

        assert [await executions(api, f"outcome_state={state}") for state in OUTCOME_STATES] == [
            [one] for one in by_state
        ]
        assert await executions(api, "triggered_by=scheduled") == [scheduled]
        assert await executions(api, "triggered_by=replay") == [replayed]
        assert await executions(api, f"cue_id={made['id']}") == [replayed, *reversed(by_state)]
        assert await executions(api, f"cue_id={made['id']}&since={since}&until={until}") == by_state[3:0:-1]
        assert await executions(api, f"until={until.replace('%2B00%3A00', 'Z')}&since={since[:26]}") == by_state[3:0:-1]
        assert await executions(api, f"cue_id={made['id']}&triggered_by=manual_fire&limit=2") == by_state[:2:-1]
        assert await executions(api, "cue_id=cue_nobodyhasit0") == []
        assert await executions(api, "status=&since=") == await executions(api)


async def test_filters_and_numbers_that_cannot_be_are_refused_by_name(api: Api) -> None:
    with trio.fail_after(20):
        refusals = {query: await api.refused("GET", f"/v1/executions?{query}") for query in WRONG_FILTERS}

    assert {query: code for query, (_, code, _) in refusals.items()} == WRONG_FILTERS
    assert {status for status, code, _ in refusals.values() if code == "invalid_filter"} == {400}
    assert {status for status, code, _ in refusals.values() if code == "validation_error"} == {422}
    assert [query for query, (*_, message) in refusals.items() if query.partition("=")[0] not in message] == []


async def test_a_list_of_executions_pages_newest_first_with_ties_by_id(api: Api, database: Database) -> None:
    made = await api.post("/v1/cues", cue())
    moment = ago(hours=1)
    tied = [str(await add_execution(database, made["id"], status="success", created_at=moment)) for _ in range(5)]
    newest = str(await add_execution(database, made["id"], status="success"))

    with trio.fail_after(20):
        first = await api.get("/v1/executions?limit=4")
        rest = await api.get("/v1/executions?limit=4&offset=4")
        beyond = await api.get("/v1/executions?offset=10000")
        of_cue = await api.get(f"/v1/cues/{made['id']}/executions?limit=4")

    assert [one["id"] for one in first["executions"]] == [newest, *sorted(tied, reverse=True)[:3]]
    assert [one["id"] for one in rest["executions"]] == sorted(tied, reverse=True)[3:]
    assert (first["total"], first["limit"], first["offset"], first["has_more"]) == (6, 4, 0, True)
    assert (rest["total"], rest["limit"], rest["offset"], rest["has_more"]) == (6, 4, 4, False)
    assert (beyond["executions"], beyond["total"], beyond["limit"], beyond["has_more"]) == ([], 6, 20, False)
    assert "total_capped" not in first
    assert rest["next_cursor"] is None
    assert of_cue["executions"] == first["executions"]
    assert isinstance(of_cue["next_cursor"], str)


async def test_a_cursor_goes_on_where_the_page_ended_whatever_was_fired_meanwhile(api: Api, database: Database) -> None:
    made = await api.post("/v1/cues", cue())
    moment = ago(hours=1)
    tied = [str(await add_execution(database, made["id"], status="success", created_at=moment)) for _ in range(5)]
    query = f"cue_id={made['id']}&status=success&since=2020-01-01&limit=2"

    with trio.fail_after(20):
        first = await api.get(f"/v1/executions?{query}")
        await add_execution(database, made["id"], status="success")
        second = await api.get(f"/v1/executions?{query}&cursor={first['next_cursor']}")
        last = await api.get(f"/v1/executions?{query}&cursor={second['next_cursor']}")

    pages = [*first["executions"], *second["executions"], *last["executions"]]
    assert [one["id"] for one in pages] == sorted(tied, reverse=True)
    assert (second["has_more"], last["has_more"], last["next_cursor"]) == (True, False, None)
    assert last["total"] == 6


async def test_a_cursor_that_is_damaged_or_of_other_filters_is_refused(api: Api, database: Database) -> None:
    made = await api.post("/v1/cues", cue())
    await backlog(database, made["id"], 3)
    with trio.fail_after(20):
        cursor = (await api.get("/v1/executions?status=success&limit=1"))["next_cursor"]
        cursors = {**DAMAGED, "cut": cursor[:-3], "longer": cursor + "AAAA", "with strange characters": cursor + "!!!"}
        for place in range(0, len(cursor), 5):
            cursors[f"another character at {place}"] = (
                f"{cursor[:place]}{'Aq'[cursor[place] == 'A']}{cursor[place + 1 :]}"
            )

        refusals = {
            why: (await api.refused("GET", f"/v1/executions?status=success&cursor={quote(text)}"))[:2]
            for why, text in cursors.items()
        }
        others = [
            (await api.refused("GET", f"/v1/executions?{query}&cursor={cursor}"))[:2]
            for query in ("status=failed", "", f"status=success&cue_id={made['id']}", "status=success&until=2100-01-01")
        ]
        of_alerts = await api.refused("GET", f"/v1/alerts?cursor={cursor}")

    assert refusals == dict.fromkeys(cursors, (400, "invalid_filter"))
    assert others == [(400, "invalid_filter")] * 4
    assert of_alerts[:2] == (400, "invalid_filter")


async def test_a_total_is_exact_to_ten_thousand_and_offsets_end_there(api: Api, database: Database) -> None:
    made = await api.post("/v1/cues", cue())
    await backlog(database, made["id"], 10_000)
    with trio.fail_after(30):
        exact = await api.get("/v1/executions?limit=1")
        await api.post(f"/v1/cues/{made['id']}/fire")
        capped = await api.get("/v1/executions?limit=1")
        farthest = await api.get("/v1/executions?limit=1&offset=10000")
        refusals = [
            await api.refused("GET", f"/v1/executions?offset={offset}") for offset in (10_001, 10**11, 10**30, 10**4000)
        ]

    assert (exact["total"], exact.get("total_capped")) == (10_000, None)
    assert (capped["total"], capped["total_capped"], capped["has_more"]) == (10_000, True, True)
    assert (len(farthest["executions"]), farthest["has_more"]) == (1, False)
    assert [(status, code) for status, code, _ in refusals] == [(422, "validation_error")] * 4
    assert all("cursor" in message for *_, message in refusals)


ON_ONE = [
    ("GET", "", None),
    ("POST", "/claim", None),
    ("POST", "/heartbeat", None),
    ("POST", "/outcome", {"success": True}),
    ("POST", "/verify", None),
    ("POST", "/verification-pending", None),
    ("PATCH", "/evidence", {"external_id": "x"}),
    ("POST", "/replay", None),
]


async def test_an_id_that_is_none_and_one_of_another_user_are_not_found_everywhere(api: Api) -> None:
    with trio.fail_after(30):
        theirs = await fired(await api.register("other@example.com"))
        refusals = {
            (method, one, below): (await api.refused(method, f"/v1/executions/{one}{below}", body))[:2]
            for one in [theirs, *NO_IDS]
            for method, below, body in ON_ONE
        }

    assert {key: found for key, found in refusals.items() if found != (404, "execution_not_found")} == {}


async def test_another_user_s_executions_are_in_no_list(api: Api) -> None:
    with trio.fail_after(20):
        other = await api.register("other@example.com")
        made = await other.post("/v1/cues", cue())
        await other.post(f"/v1/cues/{made['id']}/fire")

        assert await executions(api) == []
        assert await executions(api, f"cue_id={made['id']}") == []
        assert (await api.get("/v1/executions/claimable"))["executions"] == []
        assert (await api.refused("POST", "/v1/executions/claim", {"worker_id": "w"}))[:2] == (409, "claim_failed")


async def test_claimable_shows_what_a_worker_could_claim_the_oldest_first(api: Api, database: Database) -> None:
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue(name="printer", payload={"task": "print", "pages": 2}))
        plain = await api.post("/v1/cues", cue(payload={"task": 7}))
        late = str(await add_execution(database, made["id"], ready_at=ago(minutes=1)))
        oldest = str(await add_execution(database, plain["id"], ready_at=ago(minutes=2)))
        again = str(await add_execution(database, made["id"], status="retrying", attempts=2, ready_at=ago(seconds=30)))
        await add_execution(database, made["id"], status="retrying", attempts=2, ready_at=ago(minutes=-5))
        await api.post(f"/v1/cues/{made['id']}/fire", {"send_at": (ago(hours=-1)).isoformat()})
        webhook = await api.post("/v1/cues", cue("http://127.0.0.1:9/"))
        await api.post(f"/v1/cues/{webhook['id']}/fire")
        work = (await api.get("/v1/executions/claimable?wait_seconds=0"))["executions"]

    assert [one["execution_id"] for one in work] == [oldest, late, again]
    assert [wrong_fields(one, WORK) for one in work] == [{}, {}, {}]
    assert [one["task"] for one in work] == [None, "print", "print"]
    assert [one["attempt"] for one in work] == [0, 0, 2]
    assert (work[1]["cue_id"], work[1]["cue_name"]) == (made["id"], "printer")
    assert work[1]["payload"] == {"task": "print", "pages": 2}


async def test_claimable_takes_the_task_before_it_cuts_at_fifty(api: Api, database: Database) -> None:
    front = await api.post("/v1/cues", cue(payload={"task": "A"}))
    behind = await api.post("/v1/cues", cue(payload={"task": "B"}))
    await backlog(database, front["id"], 55, task="A")

    with trio.fail_after(20):
        one = (await api.post(f"/v1/cues/{behind['id']}/fire"))["id"]
        everything = (await api.get("/v1/executions/claimable"))["executions"]
        wanted = (await api.get("/v1/executions/claimable?task=B"))["executions"]
        nothing = (await api.get("/v1/executions/claimable?task=C"))["executions"]

    assert len(everything) == 50
    assert {each["task"] for each in everything} == {"A"}
    assert [each["execution_id"] for each in wanted] == [one]
    assert nothing == []


async def test_claimable_refuses_a_wait_that_cannot_be(api: Api) -> None:
    with trio.fail_after(20):
        refusals = [
            (await api.refused("GET", f"/v1/executions/claimable?wait_seconds={wait}"))[:2]
            for wait in ("-1", "31", "soon", "NaN")
        ]

    assert refusals == [(422, "validation_error")] * 4


async def test_what_has_ended_can_be_replayed_with_the_payload_that_it_had(api: Api, database: Database) -> None:
    with trio.fail_after(30):
        ended = {status: await in_status(api, database, status) for status in ENDED}
        replays = {status: await api.post(f"/v1/executions/{one}/replay") for status, one in ended.items()}
        work = (await api.get("/v1/executions/claimable?task=t"))["executions"]
        replay = await shown(api, replays["failed"]["id"])
        before = await shown(api, ended["failed"])

    assert [(one["status"], one["triggered_by"]) for one in replays.values()] == [("pending", "replay")] * 4
    assert [one["replayed_from"] for one in replays.values()] == list(ended.values())
    assert [one["execution_id"] for one in work] == [one["id"] for one in replays.values()]
    assert {one["payload"]["n"] for one in work} == {1}
    assert (replay["status"], replay["triggered_by"], replay["attempts"]) == ("pending", "replay", 0)
    assert replay["cue_id"] == before["cue_id"] == replays["failed"]["cue_id"]
    assert MOMENT.fullmatch(replays["failed"]["scheduled_for"])
    assert before["status"] == "failed"


async def test_a_replay_sends_the_overridden_payload_again_and_works_while_the_cue_rests(api: Api) -> None:
    with trio.fail_after(20):
        async with open_receiver([200]) as receiver:
            made = await api.post("/v1/cues", cue(receiver.url(), payload={"a": 1, "b": 2}))
            override: dict[str, Any] = {"payload_override": {"b": 3}}
            first = await api.post(f"/v1/cues/{made['id']}/fire", override)
            await api.execution(first["id"])
            await api.patch(f"/v1/cues/{made['id']}", {"payload": {"new": True}, "status": "paused"})
            replay = await api.post(f"/v1/executions/{first['id']}/replay")
            requests = await receiver.wait_for(2)
            await api.execution(replay["id"])
            again = await api.post(f"/v1/executions/{replay['id']}/replay")

    assert b'"payload": {"a": 1, "b": 3}' in requests[1].body
    assert again["replayed_from"] == replay["id"]


async def test_what_is_under_way_is_not_replayed(api: Api, database: Database) -> None:
    ones = [await in_status(api, database, status) for status in UNDER_WAY]

    with trio.fail_after(20):
        refusals = [(await api.refused("POST", f"/v1/executions/{one}/replay"))[:2] for one in ones]
        listed = await api.get("/v1/executions?triggered_by=replay")

    assert refusals == [(409, "execution_in_flight")] * 3
    assert listed["total"] == 0


async def test_the_executions_of_a_deleted_cue_are_gone_with_it(api: Api) -> None:
    with trio.fail_after(20):
        one = await claimed(api)
        cue_id = (await shown(api, one))["cue_id"]
        waiting = (await api.post(f"/v1/cues/{cue_id}/fire"))["id"]
        deleted = await api.ask("DELETE", f"/v1/cues/{cue_id}")

        assert deleted.status_code == 204
        assert await executions(api) == []
        assert (await api.refused("GET", f"/v1/executions/{one}"))[:2] == (404, "execution_not_found")
        assert (await api.refused("POST", f"/v1/executions/{one}/replay"))[:2] == (404, "execution_not_found")
        assert (await api.refused("POST", f"/v1/executions/{waiting}/claim"))[0] == 404
        assert (await api.get("/v1/executions/claimable"))["executions"] == []
        assert (await api.refused("GET", f"/v1/cues/{cue_id}/executions"))[:2] == (404, "cue_not_found")


async def test_an_execution_comes_due_at_its_hour_and_not_before(api: Api, database: Database) -> None:
    with trio.fail_after(HANG):
        made = await api.post("/v1/cues", cue())
        at = ago(hours=-1)
        later = await api.post(f"/v1/cues/{made['id']}/fire", {"send_at": at.isoformat()})
        early = await api.refused("POST", f"/v1/executions/{later['id']}/claim")
        await database.execute("update executions set ready_at = ready_at - interval '1 hour'")
        answered = await api.post(f"/v1/executions/{later['id']}/claim")

    assert early[:2] == (409, "claim_failed")
    assert f"it is pending, due at {iso(at)}" in early[2]
    assert answered["claimed"] is True
