"""The command line as a worker: executions are listed, shown, claimed, kept alive and reported on."""

import trio

from tests.api.work import UNKNOWN, claimed, fired
from tests.clients.command_line import CommandLine, told
from tests.conftest import Api
from tests.process import HANG


async def test_executions_are_listed_by_cue_and_by_status_and_shown(command_line: CommandLine, api: Api) -> None:
    with trio.fail_after(HANG):
        none = await command_line.says("executions", "list")
        waiting, held = await fired(api), await claimed(api, "w1")
        shown = await api.get(f"/v1/executions/{held}")
        every = await command_line.says("executions", "list")
        of_status = await command_line.says("executions", "list", "--status", "pending")
        of_cue = await command_line.says("executions", "list", "--cue-id", shown["cue_id"])
        page = await command_line.says("executions", "list", "--limit", "1", "--offset", "1")
        one = await command_line.says("executions", "get", held)
        unknown = await command_line.fails("executions", "get", UNKNOWN)

    assert "No executions found." in none
    assert [waiting in said for said in (every, of_status, of_cue, page)] == [True, True, False, True]
    assert [held in said for said in (every, of_status, of_cue, page)] == [True, False, True, False]
    assert told(one, "ID") == held
    assert told(one, "Cue") == shown["cue_id"]
    assert told(one, "Status") == "delivering"
    assert told(one, "Scheduled") == shown["scheduled_for"]
    assert (told(one, "Claimed by"), told(one, "Attempts")) == ("w1", "1")
    assert unknown == f"Error: Execution not found: {UNKNOWN}"


async def test_what_may_be_claimed_is_listed_by_task(command_line: CommandLine, api: Api) -> None:
    with trio.fail_after(HANG):
        none = await command_line.says("executions", "list-claimable")
        await fired(api, name="cue of a", payload={"task": "a"})
        await fired(api, name="cue of b", payload={"task": "b"})
        every = await command_line.says("executions", "list-claimable")
        of_task = await command_line.says("executions", "list-claimable", "--task", "b")
        of_nobody = await command_line.says("executions", "list-claimable", "--task", "c")

    assert "No claimable executions." in none
    assert [("cue of a" in said, "cue of b" in said) for said in (every, of_task)] == [(True, True), (False, True)]
    assert "No claimable executions (task=c)." in of_nobody


async def test_an_execution_is_claimed_kept_alive_and_reported_on_once(command_line: CommandLine, api: Api) -> None:
    evidence = ["--external-id", "ch_1", "--result-url", "https://example.com/ch_1", "--summary", "Größe 42"]
    with trio.fail_after(HANG):
        execution = await fired(api)
        taken = await command_line.says("executions", "claim", execution, "--worker-id", "w1")
        late = await command_line.fails("executions", "claim", execution, "--worker-id", "w2")
        beat = await command_line.says("executions", "heartbeat", execution, "--worker-id", "w1")
        foreign = await command_line.fails("executions", "heartbeat", execution, "--worker-id", "w2")
        reported = await command_line.says("executions", "report-outcome", execution, "--success", *evidence)
        again = await command_line.fails("executions", "report-outcome", execution, "--failure")
        stopped = await command_line.fails("executions", "heartbeat", execution, "--worker-id", "w1")
        shown = await api.get(f"/v1/executions/{execution}")

    assert (told(taken, "Claimed"), told(taken, "Lease")) == (execution, "900s")
    assert late == "Error: Not claimable (already claimed, wrong status, or wrong owner)"
    assert told(beat, "Heartbeat acknowledged") == execution
    assert foreign == "Error: Worker-id does not match the worker that claimed this execution"
    assert told(reported, "Outcome recorded") == execution
    assert again == "Error: Outcome already recorded (write-once)"
    assert stopped == "Error: Execution is no longer in 'delivering' state"
    assert (shown["status"], shown["claimed_by_worker"]) == ("success", "w1")
    assert [shown["evidence"][name] for name in ("external_id", "result_url", "summary")] == evidence[1::2]


async def test_the_oldest_execution_is_claimed_next_of_all_or_of_a_task(command_line: CommandLine, api: Api) -> None:
    with trio.fail_after(HANG):
        first, second, third = [await fired(api, payload={"task": task}) for task in ("a", "b", "c")]
        of_task = await command_line.says("executions", "claim-next", "--worker-id", "w1", "--task", "b")
        oldest = await command_line.says("executions", "claim-next", "--worker-id", "w1")
        next_oldest = await command_line.says("executions", "claim-next", "--worker-id", "w1")
        nothing = await command_line.says("executions", "claim-next", "--worker-id", "w1")
        no_task = await command_line.says("executions", "claim-next", "--worker-id", "w1", "--task", "a")
        failure = await command_line.says("executions", "report-outcome", first, "--failure")
        shown = await api.get(f"/v1/executions/{first}")

    assert [told(said, "Claimed") for said in (of_task, oldest, next_oldest)] == [second, first, third]
    assert "No executions available for claiming." in nothing
    assert "No claimable executions for task=a." in no_task
    assert told(failure, "Marked") == "failure"
    assert (shown["status"], shown["outcome_state"]) == ("retrying", "reported_failure")
