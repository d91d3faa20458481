"""The SDK's executions: listed, read, kept alive, reported on by hand and by its block, verified."""

from typing import Any

import trio

from tests.api.work import claimed, fired
from tests.clients.sdk import Sdk
from tests.conftest import Api, cue
from tests.process import HANG
from tests.receiver import open_receiver

EVERYTHING = {
    "result": "42 rows",
    "metadata": {"took": 1.5, "host": "größer"},
    "external_id": "stripe_ch_abc123",
    "result_url": "https://dashboard.example.com/ch_abc123",
    "result_type": "charge",
    "summary": "Charged customer 42",
    "artifacts": [{"name": "receipt.pdf", "size": 2**40}],
}


def ids(found: dict[str, Any]) -> list[str]:
    """The ids of a list of executions."""
    return [one["id"] for one in found["executions"]]


async def test_executions_are_listed_by_each_filter(sdk: Sdk, api: Api) -> None:
    with trio.fail_after(HANG):
        async with open_receiver({"/good": [202], "/bad": [410]}) as receiver:
            good, bad = [await api.post("/v1/cues", cue(receiver.url(path))) for path in ("/good", "/bad")]
            one, two = [(await api.post(f"/v1/cues/{good['id']}/fire"))["id"] for _ in range(2)]
            three = (await api.post(f"/v1/cues/{bad['id']}/fire"))["id"]
            for execution in (one, two, three):
                await api.execution(execution)
            await api.post(f"/v1/executions/{two}/outcome", {"success": True})
            four = (await api.post(f"/v1/executions/{one}/replay"))["id"]
            await api.execution(four)
            filters: list[dict[str, Any]] = [
                {},
                {"cue_id": bad["id"]},
                {"status": "success"},
                {"status": "failed"},
                {"outcome_state": "reported_success"},
                {"triggered_by": "replay"},
                {"cue_id": good["id"], "triggered_by": "manual_fire"},
                {"limit": 1, "offset": 2},
            ]
            found = await sdk.call(api, *[("executions.list", each) for each in filters])
            (got,) = await sdk.call(api, ("executions.get", {"execution_id": three}))

    assert [ids(each) for each in found] == [
        [four, three, two, one],
        [three],
        [four, two, one],
        [three],
        [two],
        [four],
        [two, one],
        [two],
    ]
    assert [found[0]["total"], found[-1]["total"], found[-1]["limit"], found[-1]["offset"]] == [4, 4, 1, 2]
    assert (got["id"], got["cue_id"], got["status"], got["http_status"]) == (three, bad["id"], "failed", 410)


async def test_a_report_brings_everything_that_it_can_carry(sdk: Sdk, api: Api) -> None:
    with trio.fail_after(HANG):
        execution = await claimed(api)
        (answer,) = await sdk.call(
            api, ("executions.report_outcome", {"execution_id": execution, "success": True, **EVERYTHING})
        )
        shown = await api.execution(execution)

    outcome, evidence = shown["outcome"], shown["evidence"]
    assert (answer["outcome_recorded"], answer["outcome_state"]) == (True, "reported_success")
    assert shown["status"] == "success"
    assert (outcome["success"], outcome["error"]) == (True, None)
    assert {name: (outcome | evidence)[name] for name in EVERYTHING} == EVERYTHING


async def test_a_failure_that_is_reported_names_its_error_and_is_tried_again(sdk: Sdk, api: Api) -> None:
    with trio.fail_after(HANG):
        execution = await claimed(api)
        (answer,) = await sdk.call(
            api,
            (
                "executions.report_outcome",
                {"execution_id": execution, "success": False, "error": "no such table", "metadata": {"code": 7}},
            ),
        )
        shown = await api.get(f"/v1/executions/{execution}")

    assert (answer["outcome_state"], answer["will_retry"]) == ("reported_failure", True)
    assert shown["status"] == "retrying"
    assert (shown["outcome"]["error"], shown["outcome"]["metadata"]) == ("no such table", {"code": 7})


async def test_the_block_that_reports_by_itself_reports_success_and_failure(sdk: Sdk, api: Api) -> None:
    with trio.fail_after(HANG):
        works, raises = await claimed(api), await claimed(api, retry={"max_attempts": 1})
        told = await sdk.run("handle", api, works=works, raises=raises)
        worked, raised = await api.execution(works), await api.execution(raises)

    assert (worked["status"], worked["outcome"]["result"]) == ("success", "Processed 3 records")
    assert (worked["evidence"]["external_id"], worked["evidence"]["summary"]) == ("batch-3", "All of them")
    assert (raised["status"], raised["outcome_state"]) == ("failed", "reported_failure")
    assert raised["outcome"]["error"] == told["escaped"] == "No space left on device"


async def test_a_heartbeat_extends_the_lease_of_what_is_claimed_and_of_nothing_else(sdk: Sdk, api: Api) -> None:
    with trio.fail_after(HANG):
        held, free = await claimed(api), await fired(api)
        (answer,) = await sdk.call(api, ("executions.heartbeat", {"execution_id": held}))
        (refusal,) = await sdk.refusals(api, ("executions.heartbeat", {"execution_id": free}))

    assert (answer["execution_id"], answer["acknowledged"]) == (held, True)
    assert answer["lease_extended_until"].endswith("Z")
    assert (refusal["status_code"], refusal["code"]) == (409, "execution_not_claiming")


async def test_an_outcome_waits_for_a_person_and_is_verified_by_one(sdk: Sdk, api: Api) -> None:
    with trio.fail_after(HANG):
        execution = {"execution_id": await claimed(api)}
        answers = await sdk.call(
            api,
            ("executions.report_outcome", {**execution, "success": True}),
            ("executions.mark_verification_pending", execution),
            ("executions.mark_verified", execution),
        )
        shown = await api.get(f"/v1/executions/{execution['execution_id']}")

    assert [answer["outcome_state"] for answer in answers] == [
        "reported_success",
        "verification_pending",
        "verified_success",
    ]
    assert shown["outcome_state"] == "verified_success"
