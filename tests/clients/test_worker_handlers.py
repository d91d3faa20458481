"""What the pull worker's handlers do, and what the server shows of it."""

import json
from pathlib import Path
from typing import Any

import trio

from cueapi.settings import Settings
from tests.api.work import fired
from tests.clients.client import address_of
from tests.clients.worker import worker_process
from tests.conftest import Api, running
from tests.process import HANG

EVIDENCE = {
    "external_id": "stripe_ch_abc123",
    "result_url": "https://dashboard.example.com/ch_abc123",
    "result_ref": "batch-7",
    "result_type": "charge",
    "summary": "Größe 42",
    "artifacts": [{"name": "receipt.pdf", "pages": 2}],
}
ONE_TRY = {"max_attempts": 1}
TWO_TRIES = {"max_attempts": 2, "backoff_minutes": [0]}


async def handled(programs: Path, home: Path, api: Api, handler: Any, **fields: Any) -> dict[str, Any]:
    """How an execution ends that *handler* worked on, of a cue with *fields*."""
    payload = fields.pop("payload", {}) | {"task": "job"}
    execution = await fired(api, payload=payload, **fields)
    async with worker_process(programs, home, api, {"job": handler}):
        return await api.execution(execution)


def writes(outcome: dict[str, Any], then: str = "exit 0") -> str:
    """A handler that writes *outcome* where the worker looks for it."""
    return f"cat > \"$CUEAPI_OUTCOME_FILE\" <<'EOF'\n{json.dumps(outcome)}\nEOF\n{then}"


async def test_a_handler_that_exits_with_0_is_a_success_with_what_it_printed(
    worker_programs: Path, tmp_path: Path, api: Api
) -> None:
    with trio.fail_after(HANG):
        shown = await handled(worker_programs, tmp_path, api, "echo 'größe 42'")

    assert (shown["status"], shown["attempts"], shown["claimed_by_worker"]) == ("success", 1, "w1")
    assert (shown["outcome_state"], shown["outcome_success"]) == ("reported_success", True)
    assert (shown["outcome"]["result"], shown["outcome"]["error"]) == ("größe 42\n", None)
    assert shown["evidence"] is None


async def test_a_handler_knows_what_it_works_on(worker_programs: Path, tmp_path: Path, api: Api) -> None:
    names = ["EXECUTION_ID", "CUE_ID", "CUE_NAME", "WORKER_ID", "API_KEY", "BASE_URL", "PAYLOAD"]
    lines = "\\n".join(["%s"] * (len(names) + 2))
    handler = {
        "cmd": f"printf '{lines}' " + " ".join(f'"$CUEAPI_{name}"' for name in names) + ' "$WHO" {{ payload.deep.n }}',
        "env": {"WHO": "{{ payload.who }}"},
    }
    payload = {"who": "größe", "deep": {"n": 7}}
    with trio.fail_after(HANG):
        shown = await handled(worker_programs, tmp_path, api, handler, name="nightly", payload=payload)

    *known, as_json, who, deep = shown["outcome"]["result"].split("\n")
    assert known == [shown["id"], shown["cue_id"], "nightly", "w1", api.key, address_of(api)]
    assert json.loads(as_json) == payload | {"task": "job"}
    assert (who, deep) == ("größe", "7")


async def test_a_handler_that_fails_is_tried_again_until_no_attempt_is_left(
    worker_programs: Path, tmp_path: Path, api: Api
) -> None:
    with trio.fail_after(HANG):
        shown = await handled(
            worker_programs, tmp_path, api, "echo working; echo 'disk full' >&2; exit 1", retry=TWO_TRIES
        )
        alerts = await api.get("/v1/alerts?alert_type=execution_failed")

    assert (shown["status"], shown["attempts"], shown["outcome_state"]) == ("failed", 2, "reported_failure")
    assert shown["outcome"]["error"] == "working\n\n--- stderr ---\ndisk full\n"
    assert [one["attempt"] for one in shown["attempt_log"]] == [1, 2]
    assert [one["execution_id"] for one in alerts["alerts"]] == [shown["id"]]


async def test_a_second_attempt_that_succeeds_ends_a_failed_execution_well(
    worker_programs: Path, tmp_path: Path, api: Api
) -> None:
    with trio.fail_after(HANG):
        shown = await handled(
            worker_programs, tmp_path, api, "test -e tried && echo fine && exit; touch tried; exit 1", retry=TWO_TRIES
        )

    assert (shown["status"], shown["attempts"]) == ("success", 2)
    assert (shown["outcome_state"], shown["outcome"]["result"]) == ("reported_success", "fine\n")


async def test_evidence_that_a_handler_writes_verifies_its_success(
    worker_programs: Path, tmp_path: Path, settings: Settings
) -> None:
    outcome = {"success": True, "result": "charged", "metadata": {"took": 1.5}, **EVIDENCE}
    with trio.fail_after(HANG):
        async with running(settings.model_copy(update={"worker_evidence": True})) as daemon:
            api = await daemon.api.register()
            mode = {"mode": "require_external_id"}
            shown = await handled(worker_programs, tmp_path, api, writes(outcome), verification=mode)

    assert (shown["status"], shown["outcome_state"]) == ("success", "verified_success")
    assert shown["evidence"] == EVIDENCE | {"validation_state": "valid"}
    assert (shown["outcome"]["result"], shown["outcome"]["metadata"]) == ("charged", {"took": 1.5})


async def test_a_handler_that_knows_better_than_its_exit_code_is_believed(
    worker_programs: Path, tmp_path: Path, api: Api
) -> None:
    outcome = {"success": False, "error": "downstream answered 503", "summary": "Nothing charged"}
    with trio.fail_after(HANG):
        shown = await handled(worker_programs, tmp_path, api, writes(outcome), retry=ONE_TRY)

    assert (shown["status"], shown["outcome_state"]) == ("failed", "reported_failure")
    assert shown["outcome"]["error"] == "downstream answered 503"
    assert shown["evidence"]["summary"] == "Nothing charged"


async def test_a_handler_that_crashes_after_its_report_has_failed_but_its_evidence_is_kept(
    worker_programs: Path, tmp_path: Path, api: Api
) -> None:
    handler = writes({"success": True, "unknown": 1, **EVIDENCE}, then="exit 3")
    with trio.fail_after(HANG):
        shown = await handled(worker_programs, tmp_path, api, handler, retry=ONE_TRY)

    assert (shown["status"], shown["outcome"]["error"]) == ("failed", "handler failed")
    assert {name: shown["evidence"][name] for name in EVIDENCE} == EVIDENCE
    assert shown["outcome"]["metadata"] == {"_cueapi_worker": {"outcome_file_dropped_fields": ["unknown"]}}


async def test_a_report_that_is_too_long_is_cut_and_not_lost(worker_programs: Path, tmp_path: Path, api: Api) -> None:
    with trio.fail_after(HANG):
        shown = await handled(worker_programs, tmp_path, api, "printf 'first %03494d' 7")

    assert (shown["status"], shown["outcome_state"]) == ("success", "reported_success")
    assert shown["outcome"]["result"] == "first " + "0" * 1994


async def test_a_handler_that_runs_over_its_time_has_failed(worker_programs: Path, tmp_path: Path, api: Api) -> None:
    with trio.fail_after(HANG):
        shown = await handled(worker_programs, tmp_path, api, {"cmd": "exec sleep 30", "timeout": 1}, retry=ONE_TRY)

    assert (shown["status"], shown["outcome_state"]) == ("failed", "reported_failure")
    assert shown["outcome"]["error"] == "Handler timeout exceeded (1s)"
