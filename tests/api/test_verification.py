from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
import trio

from cueapi.settings import Settings
from cueapi.storage.database import Database
from tests.api.refusals import Refused, surprises
from tests.api.work import claimed, fired, report, shown
from tests.conftest import Api, cue, running
from tests.receiver import open_receiver

PROOF: dict[str, Any] = {"external_id": "x1", "result_url": "https://a.example/1", "artifacts": [{"name": "a.pdf"}]}
EMPTY: dict[str, Any] = {"external_id": "", "result_url": "", "artifacts": []}
MODES = {
    "none": ("reported_success", "reported_success", None),
    "require_external_id": ("verified_success", "verification_failed", "external_id"),
    "require_result_url": ("verified_success", "verification_failed", "result_url"),
    "require_artifacts": ("verified_success", "verification_failed", "artifacts"),
    "manual": ("verification_pending", "verification_pending", None),
}

VERDICTS = {
    "reported_success": ("verified_success", "verification_failed"),
    "verification_pending": ("verified_success", "verification_failed"),
    "verified_success": (None, "verification_failed"),
    "reported_failure": (None, "verification_failed"),
    "verification_failed": (None, None),
    "none at all": (None, None),
}

WRONG_VERDICTS = [
    Refused("valid is text", {"valid": "yes"}, 422, "validation_error", "body.valid"),
    Refused("valid is a number", {"valid": 0}, 422, "validation_error", "body.valid"),
    Refused("reason is a number", {"valid": False, "reason": 5}, 422, "validation_error", "body.reason"),
]

WRONG_EVIDENCE = [
    Refused("external_id", {"external_id": "x" * 501}, 422, "validation_error", "body.external_id"),
    Refused("result_url", {"result_url": "x" * 2_001}, 422, "validation_error", "body.result_url"),
    Refused("result_ref", {"result_ref": "x" * 501}, 422, "validation_error", "body.result_ref"),
    Refused("result_type", {"result_type": "x" * 101}, 422, "validation_error", "body.result_type"),
    Refused("summary", {"summary": "x" * 501}, 422, "validation_error", "body.summary"),
    Refused("summary is a number", {"summary": 1}, 422, "validation_error", "body.summary"),
    Refused("artifacts are text", {"artifacts": "a"}, 422, "validation_error", "body.artifacts"),
    Refused("artifacts", {"artifacts": ["x" * 65_600]}, 422, "validation_error", "body.artifacts"),
    Refused("metadata is a list", {"metadata": []}, 422, "validation_error", "body.metadata"),
    Refused("metadata", {"metadata": {"a": "x" * 10_240}}, 400, "metadata_too_large", "10 KiB"),
]


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    """A user at a daemon whose workers report evidence."""
    async with running(settings.model_copy(update={"worker_evidence": True})) as daemon:
        yield await daemon.api.register()


async def reported(api: Api, mode: str, *, success: bool = True, **fields: object) -> str:
    """An execution of a cue with that verification, with its report."""
    one = await claimed(api, verification={"mode": mode}, retry={"max_attempts": 1})
    await report(api, one, success=success, **fields)
    return one


async def in_state(api: Api, state: str) -> str:
    """An execution whose outcome is in *state*, as reports lead to it."""
    match state:
        case "reported_success":
            return await reported(api, "none")
        case "reported_failure":
            return await reported(api, "none", success=False)
        case "verified_success":
            return await reported(api, "require_external_id", external_id="x1")
        case "verification_failed":
            return await reported(api, "require_external_id")
        case "verification_pending":
            return await reported(api, "manual")
        case _:
            return await claimed(api)


async def verdict(api: Api, execution: str, **body: object) -> str | None:
    """The state that a person's word leads to; None where it is refused."""
    response = await api.ask("POST", f"/v1/executions/{execution}/verify", body)
    if response.status_code == 200:
        return str(response.json()["outcome_state"])
    assert (response.status_code, response.json()["error"]["code"]) == (409, "invalid_state")
    return None


async def alerts(api: Api) -> list[tuple[str, bool]]:
    """Type and acknowledgement of each alert."""
    return [(one["alert_type"], one["acknowledged"]) for one in (await api.get("/v1/alerts"))["alerts"]]


@pytest.mark.parametrize("mode", MODES)
async def test_a_success_is_believed_as_far_as_its_mode_asks_for_evidence(api: Api, mode: str) -> None:
    with_evidence, without, missing = MODES[mode]
    with trio.fail_after(20):
        one, other, third = [await claimed(api, verification={"mode": mode}) for _ in range(3)]
        proved = await report(api, one, success=True, **PROOF)
        bare = await report(api, other, success=True)
        empty = await report(api, third, success=True, **EMPTY)
        kept, lacking = await shown(api, one), await shown(api, third)

    assert (proved["outcome_state"], proved["reason"]) == (with_evidence, None)
    assert (bare["outcome_state"], empty["outcome_state"]) == (without, without)
    assert all((missing or "None") in str(answered["reason"]) for answered in (bare, empty))
    assert {name: kept["evidence"][name] for name in PROOF} == PROOF
    assert kept["evidence"]["validation_state"] == ("valid" if missing else None)
    assert lacking["evidence"] == (
        None if missing is None else dict.fromkeys(kept["evidence"]) | {"validation_state": "missing"}
    )
    assert [(each["status"], each["outcome_success"]) for each in (kept, lacking)] == [("success", True)] * 2
    assert await alerts(api) == [("verification_failed", False)] * (2 if missing else 0)


@pytest.mark.parametrize("transport", ["worker", "webhook"])
async def test_the_alert_of_missing_evidence_tells_the_state_and_the_transport(api: Api, transport: str) -> None:
    mode = {"mode": "require_external_id"}
    with trio.fail_after(20):
        async with open_receiver([(200, b'{"success": true}')]) as receiver:
            if transport == "worker":
                await report(api, await claimed(api, verification=mode), success=True)
            else:
                made = await api.post("/v1/cues", cue(receiver.url(), verification=mode))
                await api.execution((await api.post(f"/v1/cues/{made['id']}/fire"))["id"])
            (alert,) = (await api.get("/v1/alerts?alert_type=verification_failed"))["alerts"]

    assert alert["metadata"] == {
        "missing": "external_id",
        "outcome_state": "verification_failed",
        "transport": transport,
    }


async def test_a_failure_is_a_failure_in_every_mode_whatever_is_proved(api: Api) -> None:
    with trio.fail_after(20):
        ones = [await claimed(api, verification={"mode": mode}) for mode in MODES]
        states = [(await report(api, one, success=False, **PROOF))["outcome_state"] for one in ones]
        evidence = [(await shown(api, one))["evidence"] for one in ones]

    assert states == ["reported_failure"] * 5
    assert [(each["external_id"], each["validation_state"]) for each in evidence] == [("x1", None)] * 5
    assert ("verification_failed", False) not in await alerts(api)


async def test_evidence_in_the_handler_s_answer_counts_like_reported_evidence(api: Api) -> None:
    script = {"/proved": [(200, b'{"success": true, "external_id": "x1"}')], "/bare": [(200, b'{"success": true}')]}
    with trio.fail_after(20):
        async with open_receiver(script) as receiver:
            ended = []
            for path in script:
                made = await api.post("/v1/cues", cue(receiver.url(path), verification={"mode": "require_external_id"}))
                ended.append(await api.execution((await api.post(f"/v1/cues/{made['id']}/fire"))["id"]))

    assert [one["outcome_state"] for one in ended] == ["verified_success", "verification_failed"]
    assert [one["evidence"]["validation_state"] for one in ended] == ["valid", "missing"]
    assert await alerts(api) == [("verification_failed", False)]


async def test_a_person_accepts_and_rejects_only_what_can_still_be_judged(api: Api) -> None:
    with trio.fail_after(30):
        found = {
            state: (
                await verdict(api, await in_state(api, state), valid=True),
                await verdict(api, await in_state(api, state), valid=False),
            )
            for state in VERDICTS
        }

    assert found == VERDICTS


async def test_no_body_accepts_and_the_answer_repeats_the_verdict(api: Api) -> None:
    with trio.fail_after(20):
        one, other, third = [await reported(api, "manual") for _ in range(3)]
        accepted = await api.post(f"/v1/executions/{one}/verify")
        rejected = await api.post(f"/v1/executions/{other}/verify", {"valid": False, "reason": "blurred"})
        reasoned = await api.post(f"/v1/executions/{third}/verify", {"reason": "looks fine"})

    assert accepted == {"execution_id": one, "outcome_state": "verified_success", "valid": True, "reason": None}
    assert rejected == {
        "execution_id": other,
        "outcome_state": "verification_failed",
        "valid": False,
        "reason": "blurred",
    }
    assert (reasoned["valid"], reasoned["reason"]) == (True, "looks fine")
    assert (await shown(api, one))["evidence"]["validation_state"] == "valid"
    assert await alerts(api) == []


async def test_a_rejection_keeps_its_reason_behind_the_summary_and_changes_nothing_else(api: Api) -> None:
    with trio.fail_after(20):
        one = await reported(api, "manual", summary="three pages")
        bare = await reported(api, "none", success=False)
        await api.post(f"/v1/executions/{one}/verify", {"valid": False, "reason": "blurred"})
        await api.post(f"/v1/executions/{bare}/verify", {"valid": False, "reason": "r" * 501})
        rejected, cut = await shown(api, one), await shown(api, bare)

    summary = rejected["evidence"]["summary"]
    assert summary.startswith("three pages")
    assert summary.endswith("blurred")
    assert rejected["evidence"]["validation_state"] == "rejected"
    assert (rejected["status"], rejected["outcome_success"]) == ("success", True)
    assert cut["evidence"]["summary"] == "r" * 500
    assert (cut["status"], cut["outcome_success"], cut["outcome_state"]) == ("failed", False, "verification_failed")


async def test_a_verdict_of_the_wrong_type_is_refused(api: Api) -> None:
    with trio.fail_after(20):
        one = await reported(api, "manual")

        assert await surprises(api, "POST", f"/v1/executions/{one}/verify", WRONG_VERDICTS) == {}
        assert (await shown(api, one))["outcome_state"] == "verification_pending"


async def test_any_outcome_can_be_set_aside_for_a_person(api: Api) -> None:
    with trio.fail_after(20):
        ones = [await in_state(api, state) for state in VERDICTS if state != "none at all"]
        before = [await shown(api, one) for one in ones]
        answered = [await api.post(f"/v1/executions/{one}/verification-pending") for one in ones]
        after = [await shown(api, one) for one in ones]
        verdicts = [await verdict(api, one, valid=True) for one in ones]

    assert answered == [{"execution_id": one, "outcome_state": "verification_pending"} for one in ones]
    assert [(one["status"], one["outcome"]) for one in after] == [(one["status"], one["outcome"]) for one in before]
    assert [one["outcome_state"] for one in after] == ["verification_pending"] * 5
    assert {(one["evidence"] or {}).get("validation_state") for one in after} <= {None, "valid"}
    assert verdicts == ["verified_success"] * 5


async def test_without_an_outcome_there_is_nothing_to_set_aside_or_to_prove(api: Api) -> None:
    with trio.fail_after(20):
        one = await claimed(api)
        pending = await api.refused("POST", f"/v1/executions/{one}/verification-pending")
        evidence = await api.refused("PATCH", f"/v1/executions/{one}/evidence", {"external_id": "x"})

    assert pending[:2] == evidence[:2] == (409, "no_outcome")
    assert (await shown(api, one))["evidence"] is None


@pytest.mark.parametrize("name", ["external_id", "result_url", "artifacts"])
async def test_evidence_that_was_missing_completes_the_outcome_and_acknowledges_its_alert(api: Api, name: str) -> None:
    others = {other: PROOF[other] for other in PROOF if other != name}
    with trio.fail_after(20):
        one = await reported(api, f"require_{name}", **others)
        unrelated = await api.patch(f"/v1/executions/{one}/evidence", others | {"summary": "s", name: EMPTY[name]})
        before = await alerts(api)
        completed = await api.patch(f"/v1/executions/{one}/evidence", {name: PROOF[name]})
        after = await shown(api, one)

    assert unrelated == {"execution_id": one, "outcome_state": "verification_failed", "evidence_updated": True}
    assert completed == {"execution_id": one, "outcome_state": "verified_success", "evidence_updated": True}
    assert before == [("verification_failed", False)]
    assert await alerts(api) == [("verification_failed", True)]
    assert {each: after["evidence"][each] for each in PROOF} == PROOF
    assert (after["evidence"]["summary"], after["evidence"]["validation_state"]) == ("s", "valid")
    assert (after["outcome_state"], after["status"]) == ("verified_success", "success")


UNPROVED: dict[str, Any] = {
    "verification": {"mode": "require_external_id", "on_failed": "fail"},
    "retry": {"max_attempts": 3, "backoff_minutes": [60]},
}


@pytest.mark.parametrize("by", ["evidence", "a person"])
@pytest.mark.parametrize("transport", ["webhook", "worker"])
async def test_what_is_found_to_be_done_after_all_is_not_attempted_again(
    api: Api, database: Database, transport: str, by: str
) -> None:
    with trio.fail_after(20):
        if transport == "worker":
            one = await claimed(api, **UNPROVED)
            await report(api, one, success=True, result="sent")
        else:
            async with open_receiver([(200, b'{"success": true, "result": "sent"}')]) as receiver:
                made = await api.post("/v1/cues", cue(receiver.url(), **UNPROVED))
                one = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]
                await api.execution(one, "retrying")
        if by == "evidence":
            await api.patch(f"/v1/executions/{one}/evidence", {"summary": "nearly"})
            waiting = await shown(api, one)
            await api.patch(f"/v1/executions/{one}/evidence", {"external_id": "x1"})
        else:
            await api.post(f"/v1/executions/{one}/verification-pending")
            waiting = await shown(api, one)
            await verdict(api, one, valid=True)
        ended = await shown(api, one)

    assert (waiting["status"], waiting["next_retry"] is None) == ("retrying", False)
    assert (ended["status"], ended["next_retry"], ended["error_message"]) == ("success", None, None)
    assert (ended["outcome_state"], ended["outcome"]["result"]) == ("verified_success", "sent")
    row = await database.fetch_one(
        "select (select count(*) from outbox) as waiting, c.run_count, c.consecutive_failures, u.reported,"
        " (select array_agg(a.outcome) from attempts a) as attempts from cues c join usage u using (user_id)"
    )
    assert tuple(row.values()) == (0, 1, 0, 1, ["success"])


async def test_what_evidence_leaves_to_a_person_is_not_attempted_again_either(api: Api) -> None:
    asserted = {"mode": "manual", "assert": [{"field": "external_id", "op": "exists"}], "on_failed": "fail"}
    with trio.fail_after(20):
        one = await claimed(api, **(UNPROVED | {"verification": asserted}))
        await report(api, one, success=True)
        await api.post(f"/v1/executions/{one}/verification-pending")
        waiting = await shown(api, one)
        other = await claimed(api, **(UNPROVED | {"verification": asserted}))
        await report(api, other, success=True)
        await api.patch(f"/v1/executions/{other}/evidence", {"external_id": "x1"})
        ended = await shown(api, other)

    assert (waiting["status"], waiting["outcome_state"]) == ("retrying", "verification_pending")
    assert (ended["status"], ended["outcome_state"]) == ("success", "verification_pending")


async def test_an_attempt_under_way_is_called_off_and_fenced_out_by_the_evidence_of_the_one_before_it(
    api: Api, database: Database
) -> None:
    with trio.fail_after(20):
        one = await claimed(api, **(UNPROVED | {"retry": {"max_attempts": 3, "backoff_minutes": [0]}}))
        await report(api, one, success=True)
        await api.post(f"/v1/executions/{one}/claim", {"worker_id": "w1"})
        await api.patch(f"/v1/executions/{one}/evidence", {"external_id": "x1"})
        refused = [
            await api.refused("POST", f"/v1/executions/{one}/outcome", {"success": success})
            for success in (False, True)
        ]
        ended = await shown(api, one)
        claims = await api.get("/v1/executions/claimable")
        log = await database.fetch("select outcome from attempts order by attempt")

    assert [each[:2] for each in refused] == [(409, "outcome_already_recorded")] * 2
    assert (ended["status"], ended["outcome_state"], ended["attempts"]) == ("success", "verified_success", 2)
    assert ended["evidence"]["external_id"] == "x1"
    assert claims["executions"] == []
    assert [row["outcome"] for row in log] == ["success", "called_off"]


async def test_what_a_handler_answers_to_an_attempt_that_was_called_off_is_dropped(api: Api) -> None:
    with trio.fail_after(20):
        answered = trio.Event()
        async with open_receiver([(200, b'{"success": true}'), answered]) as receiver:
            retry = {"max_attempts": 3, "backoff_minutes": [0]}
            made = await api.post("/v1/cues", cue(receiver.url(), **(UNPROVED | {"retry": retry})))
            one = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]
            await receiver.wait_for(2)
            await api.patch(f"/v1/executions/{one}/evidence", {"external_id": "x1"})
            before = await shown(api, one)
            answered.set()
            await trio.sleep(0.5)
            after = await shown(api, one)

    assert (before["status"], after) == ("success", before)
    assert len(receiver.requests) == 2


async def test_evidence_before_the_first_attempt_calls_that_off(api: Api) -> None:
    with trio.fail_after(20):
        one = await fired(api, **UNPROVED)
        await report(api, one, success=True)
        await api.patch(f"/v1/executions/{one}/evidence", {"external_id": "x1"})
        refused = await api.refused("POST", f"/v1/executions/{one}/claim", {"worker_id": "w1"})
        ended = await shown(api, one)

    assert refused[0] == 409
    assert (ended["status"], ended["attempts"]) == ("success", 0)


@pytest.mark.parametrize("by", ["evidence", "a person"])
async def test_what_has_failed_for_lack_of_evidence_is_made_good_and_keeps_its_status(
    api: Api, database: Database, by: str
) -> None:
    with trio.fail_after(20):
        one = await claimed(api, **(UNPROVED | {"retry": {"max_attempts": 1}}))
        await report(api, one, success=True)
        dead = len((await api.get("/v1/dead"))["dead"])
        opened = [each["kind"] for each in (await api.get("/v1/incidents?status=open"))["incidents"]]
        if by == "evidence":
            await api.patch(f"/v1/executions/{one}/evidence", {"external_id": "x1"})
        else:
            await api.post(f"/v1/executions/{one}/verification-pending")
            await verdict(api, one, valid=True)
        ended = await shown(api, one)
        (cue_now,) = await database.fetch("select consecutive_failures, run_count from cues")

    assert (dead, opened) == (1, ["failing"])
    assert (ended["status"], ended["outcome_state"]) == ("failed", "verified_success")
    assert (await api.get("/v1/dead"))["dead"] == []
    assert (await api.get("/v1/incidents?status=open"))["incidents"] == []
    assert tuple(cue_now.values()) == (0, 1)


async def prove(api: Api, execution: str, by: str) -> None:
    """Have evidence, or a person, complete the outcome of an execution."""
    if by == "evidence":
        await api.patch(f"/v1/executions/{execution}/evidence", {"external_id": "x1"})
    else:
        await api.post(f"/v1/executions/{execution}/verification-pending")
        await verdict(api, execution, valid=True)


PROOFS = pytest.mark.parametrize("by", ["evidence", "a person"])


@PROOFS
async def test_what_is_proved_while_an_attempt_is_under_way_that_began_after_the_report_counts(
    api: Api, database: Database, by: str
) -> None:
    with trio.fail_after(20):
        one = await fired(api, **UNPROVED)
        await report(api, one, success=True)
        await api.post(f"/v1/executions/{one}/claim", {"worker_id": "w1"})
        await prove(api, one, by)
        ended = await shown(api, one)
        log = await database.fetch("select attempt, outcome from attempts order by attempt")

    assert (ended["status"], ended["outcome_state"]) == ("success", "verified_success")
    assert [tuple(row.values()) for row in log] == [(1, "called_off")]


async def test_a_verdict_on_what_was_made_good_already_counts_no_second_time(api: Api) -> None:
    with trio.fail_after(20):
        async with open_receiver([500]) as receiver:
            rules = {"alerts": {"recovery_threshold": 2}, "retry": {"max_attempts": 1}}
            made = (await api.post("/v1/cues", cue(receiver.url(), **rules)))["id"]
            one = (await api.post(f"/v1/cues/{made}/fire"))["id"]
            await api.execution(one, "failed")
        await report(api, one, success=True)
        await verdict(api, one, valid=True)
        await prove(api, one, "a person")
        (incident,) = (await api.get("/v1/incidents"))["incidents"]

    assert (incident["kind"], incident["status"]) == ("failing", "open")


@PROOFS
async def test_what_was_delivered_and_reported_without_its_evidence_is_made_good(api: Api, by: str) -> None:
    with trio.fail_after(20):
        async with open_receiver([202]) as receiver:
            made = (await api.post("/v1/cues", cue(receiver.url(), **UNPROVED)))["id"]
            one = (await api.post(f"/v1/cues/{made}/fire"))["id"]
            await api.execution(one)
            await report(api, one, success=True)
            opened = [each["kind"] for each in (await api.get("/v1/incidents?status=open"))["incidents"]]
            # What counts is what the report came to, whatever the rules are when it is proved.
            await api.patch(f"/v1/cues/{made}", {"verification": {"on_failed": "keep"}})
            await prove(api, one, by)

    assert opened == ["failing"]
    assert (await api.get("/v1/incidents?status=open"))["incidents"] == []


async def test_evidence_counts_once_where_the_rules_have_changed_since(api: Api) -> None:
    kept = {"verification": {"mode": "require_external_id"}, "alerts": {"recovery_threshold": 2}}
    with trio.fail_after(20):
        one = await claimed(api, **kept)
        await report(api, one, success=True)
        made = (await shown(api, one))["cue_id"]
        await api.patch(f"/v1/cues/{made}", {"verification": {"on_failed": "fail"}})
        await api.patch(f"/v1/executions/{one}/evidence", {"external_id": "x1"})
        (incident,) = (await api.get("/v1/incidents"))["incidents"]

    assert (incident["kind"], incident["status"]) == ("unverified", "open")


async def test_evidence_that_comes_in_two_halves_at_once_completes_the_outcome(api: Api) -> None:
    both = [{"field": "external_id", "op": "exists"}, {"field": "summary", "op": "exists"}]
    with trio.fail_after(60):
        for _ in range(8):
            one = await claimed(api, verification={"assert": both})
            await report(api, one, success=True)
            async with trio.open_nursery() as nursery:
                for half in ({"external_id": "x1"}, {"summary": "done"}):
                    nursery.start_soon(api.patch, f"/v1/executions/{one}/evidence", half)
            assert (await shown(api, one))["outcome_state"] == "verified_success"


@pytest.mark.parametrize("on_failed", ["keep", "fail"])
async def test_evidence_and_reports_of_one_cue_at_once_never_wait_for_each_other(
    api: Api, database: Database, on_failed: str
) -> None:
    many, rules = 12, {"verification": {"mode": "require_external_id", "on_failed": on_failed}}
    deadlocks = "select deadlocks from pg_stat_database where datname = current_database()"
    with trio.fail_after(60):
        async with open_receiver([202] * 2 * many) as receiver:
            made = (await api.post("/v1/cues", cue(receiver.url(), **rules)))["id"]
            ids = [(await api.post(f"/v1/cues/{made}/fire"))["id"] for _ in range(2 * many)]
            for one in ids:
                await api.execution(one)
        for one in ids[:many]:
            await report(api, one, success=True)
        async with trio.open_nursery() as nursery:
            for lacking, awaited in zip(ids[:many], ids[many:], strict=True):
                nursery.start_soon(api.patch, f"/v1/executions/{lacking}/evidence", {"external_id": "x1"})
                nursery.start_soon(partial(report, api, awaited, success=True))
        await trio.sleep(1.2)  # As long as PostgreSQL may keep its figures to itself.
        (row,) = await database.fetch(deadlocks)
        states = [(await shown(api, one))["outcome_state"] for one in ids]

    assert row["deadlocks"] == 0
    assert states == ["verified_success"] * many + ["verification_failed"] * many


async def test_a_report_that_fails_its_verification_makes_good_nothing_that_has_failed(api: Api) -> None:
    with trio.fail_after(20):
        async with open_receiver([500]) as receiver:
            failing = UNPROVED | {"retry": {"max_attempts": 1}}
            made = await api.post("/v1/cues", cue(receiver.url(), **failing))
            one = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]
            await api.execution(one, "failed")
            await report(api, one, success=True)
            lacking = len((await api.get("/v1/dead"))["dead"])
            await api.patch(f"/v1/executions/{one}/evidence", {"external_id": "x1"})

    assert lacking == 1
    assert (await api.get("/v1/dead"))["dead"] == []


async def test_evidence_sets_what_is_given_and_leaves_the_rest(api: Api) -> None:
    with trio.fail_after(20):
        one = await reported(api, "none", external_id="x1", summary="first", metadata={"a": 1}, result="done")
        await api.patch(f"/v1/executions/{one}/evidence", {"summary": "second", "result_ref": "r", "external_id": None})
        changed = await shown(api, one)
        await api.patch(f"/v1/executions/{one}/evidence", {"metadata": {"b": 2}})
        nothing = await api.patch(f"/v1/executions/{one}/evidence", {})
        after = await shown(api, one)

    assert [changed["evidence"][name] for name in ("external_id", "summary", "result_ref")] == ["x1", "second", "r"]
    assert (changed["outcome"]["metadata"], changed["outcome_state"]) == ({"a": 1}, "reported_success")
    assert (after["outcome"]["metadata"], after["outcome"]["result"]) == ({"b": 2}, "done")
    assert after["evidence"] == changed["evidence"]
    assert nothing["evidence_updated"] is True


@pytest.mark.parametrize("state", ["rejected", "rejected after it was missing", "reported_failure", "manual"])
async def test_evidence_completes_nothing_that_a_person_rejected_or_that_lacked_none(api: Api, state: str) -> None:
    with trio.fail_after(20):
        match state:
            case "rejected":
                one = await reported(api, "require_external_id", external_id="x1")
                await verdict(api, one, valid=False, reason="forged")
            case "rejected after it was missing":
                one = await reported(api, "require_external_id")
                await api.post(f"/v1/executions/{one}/verification-pending")
                await verdict(api, one, valid=False)
            case "manual":
                one = await reported(api, "manual")
            case _:
                one = await reported(api, "require_external_id", success=False)
        before = await shown(api, one)
        answered = await api.patch(f"/v1/executions/{one}/evidence", PROOF)
        after = await shown(api, one)

    assert answered["outcome_state"] == before["outcome_state"] == after["outcome_state"]
    assert after["outcome_state"] != "verified_success"
    assert after["evidence"]["validation_state"] == (before["evidence"] or {}).get("validation_state")
    assert after["evidence"]["external_id"] == "x1"


async def test_evidence_with_a_wrong_field_is_refused_by_name_and_changes_nothing(api: Api) -> None:
    with trio.fail_after(20):
        one = await reported(api, "require_external_id")
        before = await shown(api, one)

        assert await surprises(api, "PATCH", f"/v1/executions/{one}/evidence", WRONG_EVIDENCE) == {}
        assert await shown(api, one) == before


@pytest.mark.parametrize("answer", [200, 202], ids=["owes no report", "owes a report"])
async def test_evidence_makes_good_what_its_handler_took_and_then_reported_without_it(
    api: Api, database: Database, answer: int
) -> None:
    counters = "select consecutive_failures, run_count from cues"
    with trio.fail_after(20):
        async with open_receiver([answer]) as receiver:
            one = (await api.post("/v1/cues", cue(receiver.url(), **UNPROVED)))["id"]
            fired = (await api.post(f"/v1/cues/{one}/fire"))["id"]
            await api.execution(fired)
            told = await report(api, fired, success=True)
            failing = [row["kind"] for row in (await api.get("/v1/incidents?status=open"))["incidents"]]
            before = await database.fetch(counters)
            await api.patch(f"/v1/executions/{fired}/evidence", {"external_id": "x1"})
            after = await database.fetch(counters)
            shown = await api.get(f"/v1/executions/{fired}")

    assert told["will_retry"] is False
    assert "failing" in failing
    assert (await api.get("/v1/incidents?status=open"))["incidents"] == []
    assert [dict(row.items()) for row in (*before, *after)] == [
        {"consecutive_failures": 1, "run_count": 1}, {"consecutive_failures": 0, "run_count": 1},
    ]  # fmt: skip
    assert (shown["status"], shown["outcome_state"]) == ("success", "verified_success")


async def test_what_was_missing_and_what_follows_are_one_sentence(api: Api) -> None:
    with trio.fail_after(20):
        said = await report(api, await claimed(api, **UNPROVED), success=True)

    assert said["reason"].startswith("external_id is required and was not given; attempt 2 of 3 follows at ")


async def test_white_space_is_no_evidence(api: Api) -> None:
    with trio.fail_after(20):
        one = await reported(api, "require_external_id", external_id=" \n")
        state = (await api.get(f"/v1/executions/{one}"))["outcome_state"]

    assert state == "verification_failed"


async def test_a_person_s_acceptance_acknowledges_the_alert_of_what_was_missing(api: Api) -> None:
    with trio.fail_after(20):
        one = await reported(api, "require_external_id")
        raised = await alerts(api)
        await api.post(f"/v1/executions/{one}/verification-pending")
        await verdict(api, one, valid=True)

    assert raised == [("verification_failed", False)]
    assert await alerts(api) == [("verification_failed", True)]


async def test_a_failed_verification_leaves_the_row_of_failures_alone(api: Api, database: Database) -> None:
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue(verification={"mode": "require_external_id"}, retry={"max_attempts": 1}))
        await database.execute("update cues set consecutive_failures = 2")
        one = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]
        await api.post(f"/v1/executions/{one}/claim")
        await report(api, one, success=True)
        row = await database.fetch_one("select consecutive_failures from cues")

    assert row["consecutive_failures"] == 2
    assert await alerts(api) == [("verification_failed", False)]
