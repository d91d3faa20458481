"""Heartbeats of handlers: they move the deadline of their attempt, tell how far it is, and hear when to stop."""

from datetime import datetime
from typing import Any
from uuid import UUID

import trio

from cueapi.domain.execution import deadline_passed
from cueapi.storage.daemons import overdue
from cueapi.storage.database import Database, Executor
from cueapi.storage.transitions import apply_transitions
from tests.api.refusals import Refused, surprises
from tests.api.test_reports import code, report_path, told
from tests.api.work import claimed, shown
from tests.conftest import Api, RunningDaemon, cue
from tests.receiver import open_receiver

PASSES = """
update executions
   set last_attempt_at = last_attempt_at - $2 * interval '1 second',
       lease_until = lease_until - $2 * interval '1 second',
       outcome_deadline_at = outcome_deadline_at - $2 * interval '1 second'
 where id = $1
"""

WRONG = [
    Refused("progress of more than all", {"progress": 1.01}, 422, "validation_error", "body.progress"),
    Refused("progress below nothing", {"progress": -0.1}, 422, "validation_error", "body.progress"),
    Refused("progress is true", {"progress": True}, 422, "validation_error", "body.progress"),
    Refused("progress is text", {"progress": "half"}, 422, "validation_error", "body.progress"),
    Refused("a long message", {"message": "x" * 201}, 422, "validation_error", "body.message"),
    Refused("message is a number", {"message": 5}, 422, "validation_error", "body.message"),
    Refused("a misspelt field", {"progres": 0.5}, 422, "validation_error", "progress"),
    Refused("a list", [], 422, "validation_error", "body: must be a JSON object"),
]


async def beat(api: Api, execution: str, attempt: int = 1, **body: object) -> dict[str, Any]:
    """What a heartbeat is answered."""
    return await api.post(f"{report_path(execution, attempt)}/heartbeat", body)


async def passed(database: Executor, execution: str, seconds: float) -> None:
    """As if so many seconds had passed since the attempt began."""
    await database.execute(PASSES, UUID(execution), seconds)


async def delivered(api: Api, **delivery: int) -> str:
    """An execution that a webhook handler has taken, and is to report on."""
    async with open_receiver([202]) as receiver:
        made = await api.post("/v1/cues", cue(receiver.url(), delivery=delivery, retry={"max_attempts": 1}))
        one = str((await api.post(f"/v1/cues/{made['id']}/fire"))["id"])
        await api.execution(one)
    return one


async def left(database: Database, moment: str | None) -> float:
    """Seconds until a moment, by PostgreSQL's clock."""
    assert moment is not None
    row = await database.fetch_one("select now() as now")
    assert row is not None
    return (datetime.fromisoformat(moment) - row["now"]).total_seconds()


async def test_a_deadline_moves_with_each_of_twenty_heartbeats_and_the_outcome_after_them_is_taken(
    api: Api, daemon: RunningDaemon, database: Database
) -> None:
    moved = []
    with trio.fail_after(60):
        one = await delivered(api, outcome_deadline_seconds=3_600)
        for _ in range(20):
            await passed(database, one, 3_000)
            moved.append(await left(database, (await beat(api, one))["outcome_deadline_at"]))
        answered = await told(daemon, f"{report_path(one)}/success", b"after sixteen hours")
        ended = await shown(api, one)

    assert [round(seconds / 100) for seconds in moved] == [36] * 20
    assert answered.status_code == 200
    assert (ended["status"], ended["outcome"]["result"]) == ("success", "after sixteen hours")


async def test_a_worker_s_lease_and_deadline_move_with_its_handler_s_heartbeat(api: Api, database: Database) -> None:
    with trio.fail_after(30):
        one = await claimed(api)
        await passed(database, one, 800)
        answered = await beat(api, one)
        lease, deadline = [await left(database, answered[name]) for name in ("lease_until", "outcome_deadline_at")]

    assert (answered["execution_id"], answered["attempt"], answered["cancel"]) == (one, 1, False)
    assert 890 < lease <= 900
    assert 14_390 < deadline <= 14_400


async def test_no_heartbeat_moves_a_deadline_beyond_the_longest_that_an_attempt_may_run_or_back(
    api: Api, database: Database
) -> None:
    with trio.fail_after(60):
        one = await delivered(api, outcome_deadline_seconds=3_600, max_runtime_seconds=5_000)
        await passed(database, one, 3_000)
        clamped = await left(database, (await beat(api, one))["outcome_deadline_at"])
        again = await left(database, (await beat(api, one))["outcome_deadline_at"])
        short = await delivered(api, outcome_deadline_seconds=3_600, max_runtime_seconds=60)
        kept = await left(database, (await beat(api, short))["outcome_deadline_at"])
        usual = await delivered(api, outcome_deadline_seconds=604_800)
        await passed(database, usual, 300_000)
        week = await left(database, (await beat(api, usual))["outcome_deadline_at"])

    assert 1_980 < clamped <= 2_000
    assert 1_970 < again <= clamped
    assert 3_580 < kept <= 3_600
    assert 604_800 - 300_030 < week <= 604_800 - 300_000


async def test_a_heartbeat_that_moves_little_writes_nothing(api: Api, database: Database) -> None:
    with trio.fail_after(30):
        long, short = [await delivered(api, outcome_deadline_seconds=seconds) for seconds in (3_600, 600)]
        before = await shown(api, long)
        await beat(api, long)
        unmoved = await shown(api, long)
        await passed(database, short, 12)
        await beat(api, short)
        moved = await shown(api, short)

    assert unmoved == before
    assert await left(database, moved["outcome_deadline_at"]) > 590


async def test_a_short_deadline_moves_by_a_third_of_it(api: Api, database: Database) -> None:
    with trio.fail_after(30):
        one = await claimed(api, delivery={"outcome_deadline_seconds": 20})
        await passed(database, one, 7)
        answered = await beat(api, one)

    assert await left(database, answered["outcome_deadline_at"]) > 14


async def test_progress_and_message_show_in_the_execution_until_the_next_attempt(
    api: Api, daemon: RunningDaemon, database: Database
) -> None:
    with trio.fail_after(30):
        one = await claimed(api)
        nothing = await shown(api, one)
        await beat(api, one, progress=0.25, message="Page 3 of 12.")
        both = await shown(api, one)
        await beat(api, one, progress=1)
        one_of_them = await shown(api, one)
        listed = (await api.get("/v1/executions"))["executions"][0]
        await told(daemon, f"{report_path(one)}/fail")
        await database.execute("update executions set ready_at = now() where id = $1", UUID(one))
        await api.post(f"/v1/executions/{one}/claim")
        next_attempt = await shown(api, one)
        early = await beat(api, one, 1, progress=0.9)
        unmoved = await shown(api, one)

    assert [(each["progress"], each["message"]) for each in (nothing, both, one_of_them, listed, next_attempt)] == [
        (None, None),
        (0.25, "Page 3 of 12."),
        (1.0, "Page 3 of 12."),
        (1.0, "Page 3 of 12."),
        (None, None),
    ]
    assert (early["outcome_deadline_at"], early["lease_until"], early["cancel"]) == (None, None, False)
    assert unmoved == next_attempt


async def test_a_heartbeat_says_to_stop_once_the_cue_is_deleted_and_when_nothing_of_it_is_left(
    api: Api, daemon: RunningDaemon, database: Database
) -> None:
    with trio.fail_after(30):
        one = await claimed(api)
        cue_id = (await shown(api, one))["cue_id"]
        before = await beat(api, one)
        await api.ask("DELETE", f"/v1/cues/{cue_id}")
        marked = await beat(api, one, progress=0.5)
        report = await told(daemon, f"{report_path(one)}/success")
        asked = await daemon.client.get(report_path(one))
        await database.execute("delete from executions where id = $1", UUID(one))
        removed = await beat(api, one)
        ancient = UUID(int=UUID(one).int - ((38 * 86_400_000) << 80))
        long_gone = await told(daemon, f"{report_path(str(ancient))}/heartbeat")

    assert [each["cancel"] for each in (before, marked, removed)] == [False, True, True]
    assert {code(each) for each in (report, asked, long_gone)} == {(410, "report_expired")}


async def test_a_heartbeat_says_to_stop_while_the_account_is_held_with_everything(api: Api) -> None:
    with trio.fail_after(30):
        one, found = await claimed(api), []
        for mode in ("fires", "everything"):
            held = await api.ask("PUT", "/v1/hold", {"reason": "The agents loop.", "mode": mode})
            assert held.status_code == 200, held.text
            found.append(await beat(api, one))
        await api.ask("DELETE", "/v1/hold")
        found.append(await beat(api, one))

    assert [each["cancel"] for each in found] == [False, True, False]


async def test_what_was_forced_under_a_hold_is_not_told_to_stop(api: Api) -> None:
    with trio.fail_after(30):
        await api.ask("PUT", "/v1/hold", {"reason": "The agents loop.", "mode": "everything"})
        async with open_receiver([202]) as receiver:
            made = await api.post("/v1/cues", cue(receiver.url()))
            forced = str((await api.post(f"/v1/cues/{made['id']}/fire?force=true"))["id"])
            await api.execution(forced)
        answered = await beat(api, forced)

    assert answered["cancel"] is False


async def test_a_wrong_heartbeat_is_refused_by_name(api: Api) -> None:
    with trio.fail_after(30):
        one = await claimed(api)
        found = await surprises(api, "POST", f"{report_path(one)}/heartbeat", WRONG)
        empty = await api.ask("POST", f"{report_path(one)}/heartbeat")

    assert found == {}
    assert empty.status_code == 200


async def test_a_deadline_that_a_heartbeat_moves_while_the_rescue_looks_does_not_end_the_attempt(
    api: Api, database: Database
) -> None:
    with trio.fail_after(30):
        one = await claimed(api)
        # Seen as passed, here and not by the daemon, and moved before it is written that it has.
        async with database.transaction() as tx:
            await passed(tx, one, 14_401)
            [lost] = await overdue(tx)
            await passed(tx, one, -14_401)
        await beat(api, one)
        written = await apply_transitions(database, [deadline_passed(lost.state.fence, lost.state.retry)])
        after = await shown(api, one)

    assert written == {}
    assert after["status"] == "delivering"


async def test_max_runtime_seconds_is_made_changed_cleared_and_bounded(api: Api) -> None:
    with trio.fail_after(30):
        made = await api.post("/v1/cues", cue(delivery={"max_runtime_seconds": 2_592_000}))
        path = f"/v1/cues/{made['id']}"
        changed = await api.patch(path, {"delivery": {"max_runtime_seconds": 1, "timeout_seconds": 5}})
        cleared = await api.patch(path, {"delivery": None})
        wrong = [
            await api.refused(method, where, body | {"delivery": {"max_runtime_seconds": seconds}})
            for seconds in (0, 2_592_001, "60", 1.5)
            for method, where, body in (("POST", "/v1/cues", cue()), ("PATCH", path, {}))
        ]

    assert [one["delivery"] for one in (made, changed, cleared)] == [
        {"max_runtime_seconds": 2_592_000},
        {"timeout_seconds": 5, "max_runtime_seconds": 1},
        None,
    ]
    assert {each[:2] for each in wrong} == {(422, "validation_error")}
    assert all("max_runtime_seconds" in each[2] for each in wrong)
