"""A report is decided by what its claim has shown, unless execution or cue have changed since."""

from cueapi.api.claimed_states import ClaimedStates
from cueapi.storage.database import Database
from cueapi.storage.worker_claims import ClaimRequest, claim_work
from tests.api.work import claimed, fired, report, shown
from tests.conftest import Api
from tests.storage.rows import TERMS, add_cue, add_execution, add_user


async def beaten(api: Api, **fields: object) -> str:
    """An execution that worker `w1` has claimed with its heartbeat."""
    execution = await fired(api, payload={"task": "print"}, **fields)
    taken = await api.post("/v1/worker/heartbeat", {"worker_id": "w1", "handlers": ["print"], "claim": 1})
    assert [one["execution_id"] for one in taken["executions"]] == [execution]
    return execution


async def cue_of(api: Api, execution: str) -> str:
    return str((await shown(api, execution))["cue_id"])


async def test_a_verdict_that_is_asked_for_after_the_claim_is_awaited_by_the_report(api: Api) -> None:
    execution = await beaten(api)
    await api.patch(f"/v1/cues/{await cue_of(api, execution)}", {"verification": {"mode": "manual"}})

    assert (await report(api, execution, success=True))["outcome_state"] == "verification_pending"


async def test_retries_that_are_allowed_after_the_claim_follow_a_reported_failure(api: Api) -> None:
    execution = await beaten(api, retry={"max_attempts": 1, "backoff_minutes": [1]})
    patch = {"retry": {"max_attempts": 3, "backoff_minutes": [1]}}
    await api.patch(f"/v1/cues/{await cue_of(api, execution)}", patch)

    assert (await report(api, execution, success=False))["will_retry"] is True


async def test_a_cue_that_is_deleted_after_the_claim_has_no_execution_to_report_on(api: Api) -> None:
    execution = await beaten(api)
    await api.ask("DELETE", f"/v1/cues/{await cue_of(api, execution)}")

    answered = await api.ask("POST", f"/v1/executions/{execution}/outcome", {"success": True})
    assert (answered.status_code, answered.json()["error"]["code"]) == (404, "execution_not_found")


async def test_a_second_report_and_another_worker_s_are_refused_as_ever(api: Api) -> None:
    first, second = await beaten(api), await beaten(api)
    await report(api, first, success=True)
    again = await api.ask("POST", f"/v1/executions/{first}/outcome", {"success": True})
    foreign = await api.ask("POST", f"/v1/executions/{second}/outcome", {"success": True}, X_Worker_Id="w2")

    assert again.json()["error"]["code"] == "outcome_already_recorded"
    assert foreign.json()["error"]["code"] == "not_execution_owner"
    assert (await report(api, second, success=True))["outcome_recorded"] is True


async def test_a_claim_that_passed_to_another_worker_is_not_reported_on_by_what_it_was(
    api: Api, database: Database
) -> None:
    execution = await beaten(api)
    await database.execute("update executions set claim = gen_random_uuid(), attempts = 2, claimed_by_worker = 'w2'")
    answered = await api.ask("POST", f"/v1/executions/{execution}/outcome", {"success": True}, X_Worker_Id="w1")

    assert answered.json()["error"]["code"] == "not_execution_owner"
    assert (await report(api, execution, success=True))["outcome_recorded"] is True
    assert (await shown(api, execution))["attempts"] == 2


async def test_what_a_claim_has_shown_is_not_read_again_for_its_report(api: Api, database: Database) -> None:
    seen, by_id = await beaten(api), await claimed(api)
    # What reports read an execution from is away for a moment.
    await database.execute("alter view execution_states rename to away")
    try:
        told = await report(api, seen, success=True)
        unread = await api.ask("POST", f"/v1/executions/{by_id}/outcome", {"success": True})
    finally:
        await database.execute("alter view away rename to execution_states")

    assert told["outcome_recorded"] is True
    # A claim by its id shows nothing of the execution.
    assert unread.status_code >= 500


async def test_the_oldest_states_are_forgotten_where_workers_never_report(database: Database) -> None:
    user = await add_user(database)
    cue = await add_cue(database, user, transport="worker", callback_url=None, callback_host=None)
    for _ in range(3):
        await add_execution(database, cue)
    rows = await claim_work(database, ClaimRequest(user, "w1", 3), TERMS)
    states = ClaimedStates(most=2)
    states.keep(user, "w1", rows)

    assert states.take(rows[0].id, user) is None
    assert states.take(rows[1].id, user + 1) is None
    assert states.take(rows[2].id, user) is not None
    assert states.take(rows[2].id, user) is None
