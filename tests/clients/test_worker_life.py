"""The pull worker from its first heartbeat to its end: many of them, one that is stopped, killed, or loses its key."""

import signal
from collections import Counter
from pathlib import Path

import trio

from cueapi.storage.database import Database
from tests.api.work import fired
from tests.clients.client import run_client
from tests.clients.worker import appears, worker_process, write_config
from tests.conftest import Api, cue
from tests.process import HANG

APPENDS = 'echo "$CUEAPI_EXECUTION_ID $CUEAPI_WORKER_ID" >> done.txt'
HEARTBEAT = '/v1/worker/heartbeat "HTTP/1.1 200'
"""What a worker logs of its first heartbeat."""


async def test_a_worker_shows_its_handlers_and_that_it_lives(worker_programs: Path, tmp_path: Path, api: Api) -> None:
    with trio.fail_after(HANG):
        async with worker_process(worker_programs, tmp_path, api, {"a": "true", "b": "true"}) as worker:
            await worker.says(HEARTBEAT)
            (shown,) = (await api.get("/v1/workers"))["workers"]
            waiting = await api.post("/v1/cues", cue(payload={"task": "a"}))
            code = await worker.stop()

    assert (shown["worker_id"], shown["handlers"], shown["heartbeat_status"]) == ("w1", ["a", "b"], "active")
    assert waiting["warning"] is None
    assert code == 0


async def test_what_no_handler_knows_is_left_to_others(worker_programs: Path, tmp_path: Path, api: Api) -> None:
    with trio.fail_after(HANG):
        foreign, own = await fired(api, payload={"task": "foreign"}), await fired(api, payload={"task": "own"})
        async with worker_process(worker_programs, tmp_path, api, {"own": "echo own"}):
            done = await api.execution(own)
            left = await api.get(f"/v1/executions/{foreign}")

    assert done["outcome"]["result"] == "own\n"
    assert (left["status"], left["claimed_by_worker"]) == ("pending", None)


async def test_two_workers_share_24_executions_and_each_runs_once(
    worker_programs: Path, tmp_path: Path, api: Api
) -> None:
    with trio.fail_after(HANG):
        made = await api.post("/v1/cues", cue(payload={"task": "append"}))
        async with (
            worker_process(worker_programs, tmp_path, api, {"append": APPENDS}, "w1") as one,
            worker_process(worker_programs, tmp_path, api, {"append": APPENDS}, "w2") as other,
        ):
            for worker in (one, other):
                await worker.says(HEARTBEAT)
            executions = [(await api.post(f"/v1/cues/{made['id']}/fire"))["id"] for _ in range(24)]
            shown = [await api.execution(execution) for execution in executions]

    ran = [line.split() for line in (tmp_path / "done.txt").read_text().splitlines()]
    assert Counter(execution for execution, _ in ran) == dict.fromkeys(executions, 1)
    assert {worker for _, worker in ran} == {"w1", "w2"}
    assert dict(ran) == {one["id"]: one["claimed_by_worker"] for one in shown}
    assert {(one["status"], one["attempts"]) for one in shown} == {("success", 1)}


async def test_a_worker_that_is_stopped_waits_for_its_handler_and_reports(
    worker_programs: Path, tmp_path: Path, api: Api
) -> None:
    handler = "touch begun; while ! test -e go; do sleep 0.05; done; echo finished"
    with trio.fail_after(HANG):
        execution = await fired(api, payload={"task": "slow"})
        late = await api.post("/v1/cues", cue(payload={"task": "slow"}))
        async with worker_process(worker_programs, tmp_path, api, {"slow": handler}) as worker:
            await appears(tmp_path / "begun")
            worker.send(signal.SIGTERM)
            await worker.says("Waiting for 1 active tasks")
            unclaimed = (await api.post(f"/v1/cues/{late['id']}/fire"))["id"]
            (tmp_path / "go").touch()
            code = await worker.ended()
        shown = await api.execution(execution)
        left = await api.get(f"/v1/executions/{unclaimed}")

    assert code == 0
    assert (shown["status"], shown["attempts"], shown["outcome"]["result"]) == ("success", 1, "finished\n")
    assert (left["status"], left["claimed_by_worker"]) == ("pending", None)


async def test_what_a_killed_worker_held_is_tried_again_when_it_is_back_under_its_name(
    worker_programs: Path, tmp_path: Path, api: Api, database: Database
) -> None:
    handler = {"job": "test -e begun && echo again && exit; touch begun; exec sleep 8"}
    retry, delivery = {"max_attempts": 2, "backoff_minutes": [0]}, {"outcome_deadline_seconds": 600}
    with trio.fail_after(HANG):
        execution = await fired(api, payload={"task": "job"}, retry=retry, delivery=delivery)
        async with worker_process(worker_programs, tmp_path, api, handler) as worker:
            await appears(tmp_path / "begun")
            worker.send(signal.SIGKILL)
            await worker.ended()
        await database.execute("update executions set outcome_deadline_at = now()")
        async with worker_process(worker_programs, tmp_path, api, handler):
            shown = await api.execution(execution)

    assert (shown["status"], shown["attempts"], shown["outcome"]["result"]) == ("success", 2, "again\n")


async def test_a_worker_whose_key_was_rotated_stops_by_itself(worker_programs: Path, tmp_path: Path, api: Api) -> None:
    with trio.fail_after(HANG):
        async with worker_process(worker_programs, tmp_path, api, {"job": "true"}) as worker:
            await worker.says(HEARTBEAT)
            await api.post("/v1/auth/key/regenerate", X_Confirm_Destructive="true")
            code = await worker.ended()
        refused = await api.refused("POST", "/v1/worker/heartbeat", {"worker_id": "w1"})

    assert code == 1
    assert "API key invalid and no email configured for auto-recovery" in worker.said.read_text()
    assert refused[:2] == (401, "key_rotated")


async def test_the_worker_s_own_command_rotates_the_key_in_its_file(
    worker_programs: Path, tmp_path: Path, api: Api
) -> None:
    program = worker_programs / "cueapi-worker"
    config = write_config(tmp_path / "w1.yaml", api, {"job": "true"}, worker_id="w1")
    with trio.fail_after(HANG):
        before = await run_client([program, "status", "-c", config], tmp_path)
        rotated = await run_client([program, "regenerate-key", "-c", config], tmp_path)
        after = await run_client([program, "status", "-c", config], tmp_path)
        old = await api.refused("GET", "/v1/auth/me")

    assert (before.code, rotated.code, after.code) == (0, 0, 0), rotated
    assert "Worker 'w1' is connected and authenticated." in after.said
    assert api.key not in config.read_text()
    assert old[:2] == (401, "key_rotated")
