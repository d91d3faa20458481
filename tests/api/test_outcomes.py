import re
from typing import Any

import trio

from cueapi.storage.database import Database
from tests.api.refusals import Refused, surprises
from tests.api.work import MOMENT, TEXT_OR_NULL, claimed, fired, report, shown, wrong_fields
from tests.conftest import Api, cue
from tests.moments import BEYOND, make_due
from tests.process import HANG
from tests.receiver import open_receiver
from tests.storage.rows import add_execution, ago

REPORTED = {
    "execution_id": str, "outcome_recorded": bool, "outcome_state": str, "will_retry": bool, "reason": TEXT_OR_NULL,
}  # fmt: skip
FOLLOWS = re.compile(r"attempt (\d+) of (\d+) follows at (\S+)")

WRONG_REPORTS = [
    Refused("no success", {}, 422, "validation_error", "body.success: is required"),
    Refused("success is null", {"success": None}, 422, "validation_error", "body.success"),
    Refused("success is text", {"success": "true"}, 422, "validation_error", "body.success"),
    Refused("success is a number", {"success": 1}, 422, "validation_error", "body.success"),
    Refused("result is a number", {"success": True, "result": 5}, 422, "validation_error", "body.result"),
    Refused("result is an object", {"success": True, "result": {}}, 422, "validation_error", "body.result"),
    Refused("error is a list", {"success": False, "error": []}, 422, "validation_error", "body.error"),
    Refused("metadata is a list", {"success": True, "metadata": []}, 422, "validation_error", "body.metadata"),
    Refused("metadata is text", {"success": True, "metadata": "{}"}, 422, "validation_error", "body.metadata"),
    Refused("retry is text", {"success": False, "retry": "no"}, 422, "validation_error", "body.retry"),
    Refused("external_id is a number", {"success": True, "external_id": 1}, 422, "validation_error", "external_id"),
    Refused("external_id", {"success": True, "external_id": "x" * 501}, 422, "validation_error", "body.external_id"),
    Refused("result_url", {"success": True, "result_url": "x" * 2_001}, 422, "validation_error", "body.result_url"),
    Refused("result_ref", {"success": True, "result_ref": "x" * 501}, 422, "validation_error", "body.result_ref"),
    Refused("result_type", {"success": True, "result_type": "x" * 101}, 422, "validation_error", "body.result_type"),
    Refused("summary", {"success": True, "summary": "x" * 501}, 422, "validation_error", "body.summary"),
    Refused("artifacts are an object", {"success": True, "artifacts": {}}, 422, "validation_error", "body.artifacts"),
    Refused("artifacts", {"success": True, "artifacts": ["x" * 65_600]}, 422, "validation_error", "body.artifacts"),
    Refused("metadata", {"success": True, "metadata": {"a": "x" * 10_240}}, 400, "metadata_too_large", "10 KiB"),
    Refused("metadata in bytes", {"success": True, "metadata": {"a": "é" * 5_130}}, 400, "metadata_too_large"),
    Refused("U+0000", {"success": True, "result": "a\x00b"}, 400, "invalid_payload"),
    Refused("a list", [True], 422, "validation_error", "body: must be a JSON object"),
]

LONGEST: dict[str, Any] = {
    "result": "ü" * 2_000,
    "error": "e" * 2_000,
    "external_id": "é" * 500,
    "result_url": "u" * 2_000,
    "result_ref": "r" * 500,
    "result_type": "t" * 100,
    "summary": "😀" * 500,
    "artifacts": ["x" * 65_500],
    "metadata": {"a": "x" * 10_200},
}

NOTHING = dict.fromkeys(LONGEST) | {"retry": None}


async def attempt(api: Api, execution: str, *, success: bool, worker: str = "w1", **fields: object) -> dict[str, Any]:
    """Claim the execution as *worker*, and what the report on it is answered."""
    await api.post(f"/v1/executions/{execution}/claim", {"worker_id": worker})
    return await report(api, execution, success=success, **fields)


async def delivered(api: Api, url: str, **fields: object) -> str:
    """An execution that a webhook handler has taken without a word of what came of it."""
    made = await api.post("/v1/cues", cue(url, **fields))
    one = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]
    assert (await api.execution(one))["outcome"] is None
    return str(one)


async def alert_types(api: Api) -> list[str]:
    """The types of the user's alerts, sorted."""
    return sorted(alert["alert_type"] for alert in (await api.get("/v1/alerts"))["alerts"])


async def test_a_success_report_ends_the_execution_for_good(api: Api) -> None:
    with trio.fail_after(20):
        one = await claimed(api)
        answered = await report(api, one, success=True, result="done", metadata={"pages": 3})
        ended = await shown(api, one)
        again = await api.refused("POST", f"/v1/executions/{one}/claim")

    assert wrong_fields(answered, REPORTED) == {}
    assert answered == {
        "execution_id": one,
        "outcome_recorded": True,
        "outcome_state": "reported_success",
        "will_retry": False,
        "reason": None,
    }
    assert (ended["status"], ended["outcome_success"], ended["outcome_state"]) == ("success", True, "reported_success")
    assert (ended["outcome"]["result"], ended["outcome"]["metadata"]) == ("done", {"pages": 3})
    assert MOMENT.fullmatch(ended["outcome"]["recorded_at"])
    assert again[:2] == (409, "claim_failed")


async def test_a_failure_with_attempts_left_shows_at_once_and_the_next_attempt_reports_anew(api: Api) -> None:
    with trio.fail_after(20):
        one = await claimed(api, retry={"backoff_minutes": [5]})
        answered = await report(api, one, success=False, error="no paper")
        waiting = await shown(api, one)
        second = await api.refused("POST", f"/v1/executions/{one}/outcome", {"success": True})

    assert (answered["outcome_state"], answered["will_retry"]) == ("reported_failure", True)
    number, of, at = FOLLOWS.fullmatch(answered["reason"]).groups()
    assert (number, of, at) == ("2", "2", waiting["next_retry"])
    assert 290 < (ago().fromisoformat(at) - ago()).total_seconds() <= 300
    assert (waiting["status"], waiting["attempts"]) == ("retrying", 1)
    assert (waiting["outcome_success"], waiting["outcome"]["error"]) == (False, "no paper")
    assert waiting["outcome_state"] == "reported_failure"
    assert second[:2] == (409, "outcome_already_recorded")


async def test_each_attempt_has_its_report_and_a_success_clears_what_failed_before(api: Api) -> None:
    with trio.fail_after(20):
        one = await fired(api, retry={"backoff_minutes": [0, 0]})
        first = await attempt(api, one, success=False, error="no paper", external_id="x", metadata={"a": 1})
        second = await attempt(api, one, success=False, error="no ink")
        ready = (await shown(api, one))["status"]
        third = await attempt(api, one, success=True, result="printed")
        ended = await shown(api, one)

    assert [FOLLOWS.fullmatch(each["reason"]).group(1, 2) for each in (first, second)] == [("2", "3"), ("3", "3")]
    assert ready == "retry_ready"
    assert (third["outcome_state"], third["will_retry"], third["reason"]) == ("reported_success", False, None)
    assert (ended["status"], ended["attempts"], ended["error_message"]) == ("success", 3, None)
    assert (ended["outcome"]["error"], ended["outcome"]["metadata"], ended["evidence"]) == (None, None, None)
    assert [one["error"] for one in ended["attempt_log"]] == ["no paper", "no ink", None]
    assert await alert_types(api) == []


async def test_the_last_failure_is_final_and_told(api: Api) -> None:
    with trio.fail_after(20):
        one = await claimed(api, retry={"max_attempts": 1})
        answered = await report(api, one, success=False, error="no paper")
        ended = await shown(api, one)

    assert (answered["outcome_state"], answered["will_retry"], answered["reason"]) == ("reported_failure", False, None)
    assert (ended["status"], ended["outcome_success"], ended["next_retry"]) == ("failed", False, None)
    assert ended["error_message"] == "no paper"
    assert await alert_types(api) == ["execution_failed"]


async def test_a_failure_that_says_no_retry_ends_the_attempts_that_are_left(api: Api) -> None:
    with trio.fail_after(20):
        one = await claimed(api)
        answered = await report(api, one, success=False, error="wrong address", retry=False)
        ended = await shown(api, one)

    assert (answered["outcome_state"], answered["will_retry"], answered["reason"]) == ("reported_failure", False, None)
    assert (ended["status"], ended["attempts"]) == ("failed", 1)
    assert await alert_types(api) == ["execution_failed"]


async def test_success_is_success_whatever_it_says_of_retries(api: Api) -> None:
    with trio.fail_after(20):
        one = await claimed(api)
        answered = await report(api, one, success=True, retry=False)

    assert (answered["outcome_state"], answered["will_retry"]) == ("reported_success", False)
    assert (await shown(api, one))["status"] == "success"


async def test_a_success_reported_before_the_next_attempt_calls_it_off(owner: Api) -> None:
    with trio.fail_after(20):
        async with open_receiver([500]) as receiver:
            made = await owner.post("/v1/cues", cue(receiver.url(), retry={"backoff_minutes": [60]}))
            one = (await owner.post(f"/v1/cues/{made['id']}/fire"))["id"]
            await owner.execution(one, "retrying")
            answered = await report(owner, one, success=True, result="it had worked")
            ended = await shown(owner, one)
            health = await owner.get("/health")

    assert (answered["outcome_state"], answered["will_retry"]) == ("reported_success", False)
    assert (ended["status"], ended["next_retry"], ended["error_message"]) == ("success", None, None)
    assert ended["outcome"]["result"] == "it had worked"
    assert health["queue"]["pending_retries"] == 0


async def test_a_failure_reported_for_an_attempt_that_had_failed_on_the_wire_leaves_the_next_one_as_it_stands(
    api: Api,
) -> None:
    with trio.fail_after(20):
        async with open_receiver([500]) as receiver:
            made = await api.post("/v1/cues", cue(receiver.url(), retry={"backoff_minutes": [60]}))
            one = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]
            before = await api.execution(one, "retrying")
            answered = await report(api, one, success=False, error="no paper")
            after = await shown(api, one)

    assert answered["will_retry"] is True
    assert answered["reason"] == f"attempt 2 of 2 follows at {before['next_retry']}"
    assert (after["status"], after["next_retry"], after["attempts"]) == ("retrying", before["next_retry"], 1)
    assert after["outcome"]["error"] == "no paper"


async def test_a_report_during_the_delivery_counts_and_the_handler_s_answer_comes_too_late(api: Api) -> None:
    with trio.fail_after(20):
        async with open_receiver([0.5]) as slow:
            made = await api.post("/v1/cues", cue(slow.url()))
            one = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]
            await slow.wait_for(1)
            answered = await report(api, one, success=True, result="done")
            await trio.sleep(0.7)
            ended = await shown(api, one)

    assert answered["outcome_state"] == "reported_success"
    assert (ended["status"], ended["attempts"], ended["outcome"]["result"]) == ("success", 1, "done")
    assert ended["http_status"] is None
    assert [(one["outcome"], one["http_status"]) for one in ended["attempt_log"]] == [("success", None)]


async def test_a_failure_posted_for_a_delivered_webhook_leaves_it_success_with_a_failed_outcome(api: Api) -> None:
    with trio.fail_after(20):
        async with open_receiver([200]) as receiver:
            one = await delivered(api, receiver.url(), retry={"max_attempts": 1})
            answered = await report(api, one, success=False, error="no paper")
            ended = await shown(api, one)
            cue_after = await api.get(f"/v1/cues/{ended['cue_id']}")
            second = await api.refused("POST", f"/v1/executions/{one}/outcome", {"success": True})

    assert (answered["outcome_state"], answered["will_retry"]) == ("reported_failure", False)
    assert (ended["status"], ended["outcome_success"], ended["outcome_state"]) == ("success", False, "reported_failure")
    assert ended["outcome"]["error"] == "no paper"
    assert cue_after["run_count"] == 1
    assert await alert_types(api) == ["execution_failed"]
    assert second[:2] == (409, "outcome_already_recorded")


async def test_a_success_posted_for_a_delivered_webhook_is_its_outcome(api: Api) -> None:
    with trio.fail_after(20):
        async with open_receiver([202]) as receiver:
            one = await delivered(api, receiver.url())
            answered = await report(api, one, success=True, result="done")
            ended = await shown(api, one)
            cue_after = await api.get(f"/v1/cues/{ended['cue_id']}")

    assert (answered["outcome_state"], answered["will_retry"]) == ("reported_success", False)
    assert (ended["status"], ended["outcome"]["result"], ended["http_status"]) == ("success", "done", 202)
    assert cue_after["run_count"] == 1


async def test_what_the_handler_said_inline_is_the_report_of_that_attempt(api: Api) -> None:
    inline = b'{"success": true, "result": "done", "external_id": "x1", "metadata": {"a": 1}, "result_type": 5}'
    with trio.fail_after(20):
        async with open_receiver([(200, inline)]) as receiver:
            made = await api.post("/v1/cues", cue(receiver.url()))
            one = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]
            ended = await api.execution(one)
            second = await api.refused("POST", f"/v1/executions/{one}/outcome", {"success": False})

    assert (ended["outcome"]["result"], ended["outcome"]["metadata"]) == ("done", {"a": 1})
    assert (ended["evidence"]["external_id"], ended["evidence"]["result_type"]) == ("x1", None)
    assert second[:2] == (409, "outcome_already_recorded")


async def test_a_late_report_is_stored_and_the_status_stays(api: Api, database: Database) -> None:
    made = await api.post("/v1/cues", cue())
    ended = {
        (status, success): str(await add_execution(database, made["id"], status=status, attempts=1, finished_at=ago()))
        for status in ("failed", "missed", "outcome_timeout")
        for success in (True, False)
    }
    with trio.fail_after(20):
        answered = [await report(api, one, success=success, result="late") for (_, success), one in ended.items()]
        after = [await shown(api, one) for one in ended.values()]
        second = [
            await api.refused("POST", f"/v1/executions/{one}/outcome", {"success": True}) for one in ended.values()
        ]

    states = ["reported_success", "reported_failure"] * 3
    assert [(one["outcome_state"], one["will_retry"]) for one in answered] == [(state, False) for state in states]
    assert [(one["status"], one["outcome_success"]) for one in after] == list(ended)
    assert [(one["outcome_state"], one["outcome"]["result"]) for one in after] == [(state, "late") for state in states]
    assert [refusal[:2] for refusal in second] == [(409, "outcome_already_recorded")] * 6
    assert await alert_types(api) == []


async def test_a_report_needs_no_claim_and_no_attempt(api: Api) -> None:
    with trio.fail_after(20):
        waiting = await fired(api)
        failure = await report(api, waiting, success=False, error="cannot")
        after_failure = await shown(api, waiting)
        second = await api.refused("POST", f"/v1/executions/{waiting}/outcome", {"success": False})
        other = await fired(api)
        success = await report(api, other, success=True)

    assert failure["will_retry"] is True
    assert FOLLOWS.fullmatch(failure["reason"]).group(1, 2) == ("1", "4")
    assert (after_failure["status"], after_failure["outcome_state"]) == ("pending", "reported_failure")
    assert second[:2] == (409, "outcome_already_recorded")
    assert success["outcome_state"] == "reported_success"
    assert (await shown(api, other))["status"] == "success"


async def test_a_worker_that_names_itself_must_hold_the_claim(api: Api) -> None:
    path = "/v1/executions/{}/outcome"
    with trio.fail_after(20):
        one, other = await claimed(api, "w1"), await claimed(api, "w1")
        stranger = await api.refused("POST", path.format(one), {"success": True}, X_Worker_Id="w2")
        untouched = await shown(api, one)
        holder = await api.post(path.format(one), {"success": True}, X_Worker_Id="w1")
        nameless = await report(api, other, success=True)
        webhook = await api.post("/v1/cues", cue("http://127.0.0.1:9/", retry={"backoff_minutes": [60]}))
        sent = (await api.post(f"/v1/cues/{webhook['id']}/fire"))["id"]
        await api.execution(sent, "retrying")
        unheld = await api.post(path.format(sent), {"success": True}, X_Worker_Id="w9")

    assert stranger[:2] == (403, "not_execution_owner")
    assert "w1" in stranger[2]
    assert (untouched["status"], untouched["outcome"]) == ("delivering", None)
    assert [each["outcome_state"] for each in (holder, nameless, unheld)] == ["reported_success"] * 3


async def test_a_report_is_never_lost_for_its_length_and_says_what_was_cut(api: Api) -> None:
    with trio.fail_after(20):
        one, other = await claimed(api), await claimed(api)
        both = await report(api, one, success=True, result="😀" * 2_000 + "x", error="e" * 100_000)
        cut = await shown(api, one)
        single = await report(api, other, success=False, result="fits", error="e" * 2_001)

    assert sorted(both["truncated"]) == ["error", "result"]
    assert (cut["outcome"]["result"], cut["outcome"]["error"]) == ("😀" * 2_000, "e" * 2_000)
    assert single["truncated"] == ["error"]
    assert (await shown(api, other))["outcome"] | {"recorded_at": None} == {
        "success": False,
        "result": "fits",
        "error": "e" * 2_000,
        "metadata": None,
        "recorded_at": None,
    }


async def test_the_longest_report_is_kept_whole(api: Api) -> None:
    with trio.fail_after(20):
        one = await claimed(api)
        answered = await report(api, one, success=True, **LONGEST)
        ended = await shown(api, one)

    kept = {**ended["outcome"], **ended["evidence"]}
    assert "truncated" not in answered
    assert {name: kept[name] for name in LONGEST} == LONGEST


async def test_what_is_null_in_a_report_was_not_given(api: Api) -> None:
    with trio.fail_after(20):
        one = await claimed(api)
        await report(api, one, success=False, **NOTHING)
        ended = await shown(api, one)

    assert (ended["status"], ended["evidence"], ended["outcome"]["error"]) == ("retrying", None, None)


async def test_a_report_with_a_wrong_field_is_refused_by_name_and_records_nothing(api: Api) -> None:
    with trio.fail_after(20):
        one = await claimed(api)
        path = f"/v1/executions/{one}/outcome"
        found = await surprises(api, "POST", path, WRONG_REPORTS)
        many = await api.ask("POST", path, {"success": "yes", "result": 1, "summary": "x" * 501})
        after = await shown(api, one)

    assert found == {}
    details = many.json()["error"]["details"]
    assert sorted(detail["field"] for detail in details) == ["body.result", "body.success", "body.summary"]
    assert [wrong_fields(detail, {"field": str, "message": str}) for detail in details] == [{}, {}, {}]
    assert (after["status"], after["outcome"]) == ("delivering", None)


async def test_of_reports_that_race_for_one_attempt_exactly_one_counts(api: Api) -> None:
    statuses: list[list[int]] = []
    with trio.fail_after(60):
        for _ in range(10):
            one = await claimed(api)
            answered: list[int] = []

            async def race(one: str = one, answered: list[int] = answered) -> None:
                response = await api.ask("POST", f"/v1/executions/{one}/outcome", {"success": True})
                answered.append(response.status_code)

            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(race)
            statuses.append(sorted(answered))
        usage = await api.get("/v1/usage")

    assert statuses == [[200] + [409] * 7] * 10
    assert usage["outcomes"] == {"reported": 10, "succeeded": 10, "failed": 0}


async def test_the_end_of_a_one_time_cue_is_what_its_report_says_and_a_fire_by_hand_does_not_move_it(
    api: Api, database: Database
) -> None:
    with trio.fail_after(HANG):
        made = await api.post("/v1/cues", cue(schedule=BEYOND, retry={"max_attempts": 1}))
        manual_fire = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]
        await attempt(api, manual_fire, success=False)
        after_hand = await api.get(f"/v1/cues/{made['id']}")
        await make_due(database, made["id"])
        (scheduled,) = await due(api, made["id"])
        fired_once = await api.get(f"/v1/cues/{made['id']}")
        await attempt(api, scheduled, success=False)
        ended = await api.get(f"/v1/cues/{made['id']}")
        await api.post(f"/v1/executions/{scheduled}/replay")

    assert (after_hand["status"], after_hand["run_count"]) == ("active", 1)
    assert (fired_once["status"], fired_once["next_run"]) == ("active", None)
    assert (ended["status"], ended["run_count"]) == ("failed", 2)
    assert (await api.get(f"/v1/cues/{made['id']}"))["status"] == "failed"


async def due(api: Api, cue_id: str) -> list[str]:
    """The scheduled executions of a cue, as soon as there is one."""
    path = f"/v1/executions?cue_id={cue_id}&triggered_by=scheduled"
    while not (listed := (await api.get(path))["executions"]):
        await trio.sleep(0.05)
    return [one["id"] for one in listed]


async def test_a_report_that_comes_after_weeks_is_taken(api: Api, database: Database) -> None:
    with trio.fail_after(20):
        execution = await claimed(api)
        await database.execute("update executions set last_attempt_at = now() - interval '26 days'")
        answer = await report(api, execution, success=True)

    assert answer["outcome_state"] == "reported_success"
