"""Assertions of a cue: a success that did nothing is no success."""

from typing import Any
from uuid import UUID

import pytest
import trio

from cueapi.storage.database import Database
from tests.api.refusals import Refused, surprises
from tests.api.test_outcomes import alert_types
from tests.api.test_reports import code, report_path, told
from tests.api.work import claimed, report, shown
from tests.conftest import Api, RunningDaemon, cue
from tests.receiver import open_receiver

ITEMS = {"field": "metadata.items", "op": ">=", "value": 1}
ASSERTS: dict[str, Any] = {"mode": "none", "assert": [ITEMS]}
FAILS: dict[str, Any] = {**ASSERTS, "on_failed": "fail"}
URL = "https://handler.example/run"


def wrong(name: str, *assertions: object, at: str) -> list[Refused]:
    """Creating with such assertions is refused at that field."""
    body = cue(URL, verification={"assert": list(assertions)})
    return [Refused(name, body, 422, "validation_error", f"body.verification.assert{at}")]


WRONG = [
    *wrong("an unknown field", {"field": "status", "op": "exists"}, at=".0.field"),
    *wrong("an unknown operator", ITEMS, {"field": "metadata.a", "op": "~", "value": 1}, at=".1.op"),
    *wrong("a value of no use", {"field": "summary", "op": ">", "value": 1}, at=".0.value"),
    *wrong("no field", {"op": "exists"}, at=".0.field: is required"),
    *wrong("no operator", {"field": "metadata.a"}, at=".0.op: is required"),
    *wrong("another field of an assertion", {**ITEMS, "valeu": 1}, at=".0.valeu"),
    *wrong("a text", "metadata.items > 1", at=".0"),
    *wrong("eleven", *[ITEMS] * 11, at=": may have 10 assertions"),
    Refused("an object", cue(URL, verification={"assert": ITEMS}), 422, "validation_error", "body.verification.assert"),
    Refused("another word", cue(URL, verification={"on_failed": "retry"}), 422, "validation_error", "on_failed"),
]


async def test_assertions_are_made_changed_and_cleared_and_the_mode_stays_as_it_was(api: Api) -> None:
    with trio.fail_after(30):
        plain = await api.post("/v1/cues", cue(URL))
        made = await api.post("/v1/cues", cue(URL, verification=FAILS))
        path = f"/v1/cues/{made['id']}"
        mode = await api.patch(path, {"verification": {"mode": "require_artifacts"}})
        other = {"field": "result.length", "op": "exists"}
        replaced = await api.patch(path, {"verification": {"assert": [other], "on_failed": "keep"}})
        listed = next(one for one in (await api.get("/v1/cues"))["cues"] if one["id"] == made["id"])
        cleared = await api.patch(path, {"verification": {"assert": []}})
        null = await api.refused("PATCH", path, {"verification": {"assert": None}})

    assert plain["verification"] == {"mode": "none"}
    assert made["verification"] == FAILS
    assert mode["verification"] == FAILS | {"mode": "require_artifacts"}
    assert replaced["verification"] == listed["verification"] == {"mode": "require_artifacts", "assert": [other]}
    assert cleared["verification"] == {"mode": "require_artifacts"}
    assert null[:2] == (422, "validation_error")


async def test_a_wrong_assertion_is_refused_at_its_place_by_create_and_by_patch(api: Api) -> None:
    with trio.fail_after(30):
        path = f"/v1/cues/{(await api.post('/v1/cues', cue(URL)))['id']}"
        changes = [
            Refused(one.why, {"verification": one.body["verification"]}, one.status, one.code, one.telling)
            for one in WRONG
        ]
        found = await surprises(api, "POST", "/v1/cues", WRONG), await surprises(api, "PATCH", path, changes)

    assert found == ({}, {})


async def test_a_success_that_meets_no_assertion_says_which_and_evidence_may_complete_it(api: Api) -> None:
    with trio.fail_after(30):
        one, other = await claimed(api, verification=ASSERTS), await claimed(api, verification=ASSERTS)
        empty = await report(api, one, success=True, metadata={"items": 0})
        silent = await report(api, other, success=True)
        kept, alerts = await shown(api, one), (await api.get("/v1/alerts"))["alerts"]
        useless = await api.ask("PATCH", f"/v1/executions/{one}/evidence", {"metadata": {"items": True}})
        useful = await api.ask("PATCH", f"/v1/executions/{one}/evidence", {"metadata": {"items": 2}})
        after = (await api.get("/v1/alerts?acknowledged=true"))["alerts"]

    assert (empty["outcome_state"], empty["reason"]) == ("verification_failed", "metadata.items is 0, wanted >= 1")
    assert silent["reason"] == "metadata.items is missing, wanted >= 1"
    assert (kept["status"], kept["outcome_success"]) == ("success", True)
    assert {each["alert_type"] for each in alerts} == {"verification_failed"}
    assert "metadata.items is 0, wanted >= 1" in "".join(each["message"] for each in alerts)
    assert [each.json()["outcome_state"] for each in (useless, useful)] == ["verification_failed", "verified_success"]
    assert [each["execution_id"] for each in after] == [one]


async def test_assertions_stand_beside_the_mode(api: Api) -> None:
    with trio.fail_after(30):
        one, other = [await claimed(api, verification=ASSERTS | {"mode": "manual"}) for _ in range(2)]
        met = await report(api, one, success=True, metadata={"items": 1})
        unmet = await report(api, other, success=True, metadata={"items": 0})

    assert (met["outcome_state"], unmet["outcome_state"]) == ("verification_pending", "verification_failed")


async def test_a_failed_verification_may_be_a_failed_attempt_with_retries(
    api: Api, daemon: RunningDaemon, database: Database
) -> None:
    with trio.fail_after(30):
        one = await claimed(api, verification=FAILS, retry={"max_attempts": 2, "backoff_minutes": [5]})
        first = await told(daemon, report_path(one), b'{"success": true, "metadata": {"items": 0}}')
        waiting, none_yet = await shown(api, one), await alert_types(api)
        await database.execute("update executions set ready_at = now() where id = $1", UUID(one))
        await api.post(f"/v1/executions/{one}/claim")
        early = await told(daemon, report_path(one, 1), b'{"success": true}')
        last = await report(api, one, success=True)
        ended, alerts = await shown(api, one), await alert_types(api)

    assert first.json()["will_retry"] is True
    assert first.json()["reason"].startswith("metadata.items is 0, wanted >= 1; attempt 2 of 2 follows at ")
    assert (waiting["status"], waiting["outcome_state"], none_yet) == ("retrying", "verification_failed", [])
    assert waiting["error_message"] == "metadata.items is 0, wanted >= 1."
    assert code(early) == (409, "attempt_is_over")
    assert (last["will_retry"], last["reason"]) == (False, "metadata.items is missing, wanted >= 1")
    assert (ended["status"], ended["outcome_state"], ended["outcome_success"]) == (
        "failed",
        "verification_failed",
        True,
    )
    assert alerts == ["execution_failed"]


async def test_a_handler_s_own_answer_is_held_to_the_assertions(api: Api) -> None:
    answers = [
        (200, b'{"success": true, "metadata": {"items": 0}}'),
        (200, b'{"success": true, "metadata": {"items": 3}}'),
    ]
    with trio.fail_after(30):
        async with open_receiver(answers) as receiver:
            retry = {"backoff_minutes": [0], "max_attempts": 2}
            made = await api.post("/v1/cues", cue(receiver.url(), verification=FAILS, retry=retry))
            ended = await api.execution((await api.post(f"/v1/cues/{made['id']}/fire"))["id"])

    assert (ended["status"], ended["outcome_state"], ended["attempts"]) == ("success", "reported_success", 2)
    assert [one["outcome"] for one in ended["attempt_log"]] == ["verification_failed", "success"]
    assert ended["attempt_log"][0]["error"] == "metadata.items is 0, wanted >= 1."


async def test_missing_evidence_of_the_mode_is_a_failed_attempt_too_where_it_is_asked_for(api: Api) -> None:
    verification = {"mode": "require_external_id", "on_failed": "fail"}
    with trio.fail_after(30):
        async with open_receiver([(200, b'{"success": true}')]) as receiver:
            made = await api.post("/v1/cues", cue(receiver.url(), verification=verification, retry={"max_attempts": 1}))
            ended = await api.execution((await api.post(f"/v1/cues/{made['id']}/fire"))["id"])

    assert (ended["status"], ended["outcome_state"]) == ("failed", "verification_failed")
    assert ended["error_message"] == "external_id is required and was not given."


async def test_how_long_an_attempt_took_counts_from_its_own_start(
    api: Api, daemon: RunningDaemon, database: Database
) -> None:
    slow = {"assert": [{"field": "duration_ms", "op": ">=", "value": 60_000}]}
    with trio.fail_after(30):
        one, other = [await claimed(api, verification=slow) for _ in range(2)]
        quick = await report(api, one, success=True)
        await told(daemon, f"{report_path(other)}/fail")
        await database.execute("update executions set ready_at = now() where id = $1", UUID(other))
        await database.execute(
            "update attempts set started_at = started_at - interval '2 minutes' where execution_id = $1", UUID(other)
        )
        await api.post(f"/v1/executions/{other}/claim")
        earlier = await told(daemon, f"{report_path(other, 1)}/success")

    assert quick["outcome_state"] == "verification_failed"
    assert earlier.json()["outcome_state"] == "reported_success"


@pytest.mark.parametrize(("limit", "state"), [(60_000, "verification_failed"), (500_000, "verified_success")])
async def test_evidence_is_held_to_what_the_reported_attempt_took_whatever_has_begun_since(
    api: Api, database: Database, limit: int, state: str
) -> None:
    told, quick = {"field": "summary", "op": "exists"}, {"field": "duration_ms", "op": "<", "value": limit}
    with trio.fail_after(30):
        one = await claimed(api, verification={"assert": [told, quick], "on_failed": "fail"}, retry={"max_attempts": 3})
        await database.execute(
            "update executions set last_attempt_at = now() - interval '2 minutes', ready_at = now() where id = $1",
            UUID(one),
        )
        reported = await report(api, one, success=True)
        await database.execute("update executions set ready_at = now() where id = $1", UUID(one))
        await api.post(f"/v1/executions/{one}/claim")
        added = await api.patch(f"/v1/executions/{one}/evidence", {"summary": "done"})

    assert reported["outcome_state"] == "verification_failed"
    assert added["outcome_state"] == state
