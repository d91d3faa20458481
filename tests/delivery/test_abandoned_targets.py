"""Targets that nothing is sent to any more: they close without a probe, and until then cost no transaction."""

from typing import Any

import pytest

from cueapi.delivery.breaker import Breaker
from cueapi.delivery.held_targets import HeldTargets
from cueapi.delivery.target_watch import TargetWatch
from cueapi.metrics import Metrics
from cueapi.storage import targets
from cueapi.storage.database import Database
from cueapi.storage.targets import TargetKey, Trip
from tests.delivery.siblings import Counting, one_turn, quiet_hub
from tests.delivery.target_scene import PER_HOST
from tests.delivery.test_dispatcher import dispatcher_on, taken
from tests.storage.rows import ONCE, add_cue, add_execution, add_user, claim

TRIP = Trip("it answered 503", 12, 11)
HOST = "gone.example:443"


async def opened(database: Database, *cues: dict[str, Any]) -> tuple[TargetKey, list[str]]:
    """A target that is down, and cues of its account that call it."""
    user = await add_user(database)
    made = [await add_cue(database, user, **({"callback_host": HOST} | columns)) for columns in cues]
    target = TargetKey(user, HOST)
    await targets.open_target(database, target, TRIP, pause=0.0)
    return target, made


async def look(database: Database, held: HeldTargets | None = None) -> None:
    """One look after the targets."""
    hub = quiet_hub()
    await one_turn(TargetWatch(database, hub, Breaker(database, hub, held or HeldTargets(PER_HOST)), Metrics()).run)


async def state(database: Database) -> str:
    (row,) = await database.fetch("select state from targets")
    return str(row["state"])


CALLED_NO_MORE: dict[str, dict[str, Any]] = {
    "none": {"callback_host": "other.example:443"},
    "paused": {"status": "paused"},
    "completed": ONCE | {"status": "completed"},
    "a worker's": {"transport": "worker"},
}


@pytest.mark.parametrize("cue", CALLED_NO_MORE.values(), ids=CALLED_NO_MORE.keys())
async def test_a_target_that_no_active_cue_calls_closes_and_its_incident_ends_and_the_audit_says_why(
    database: Database, cue: dict[str, Any]
) -> None:
    target, _ = await opened(database, cue)

    await look(database)

    (row,) = await database.fetch("select state, held_until <= now() as is_free from targets")
    (incident,) = await database.fetch("select title, resolution, resolved_at from incidents")
    audited = await database.fetch("select action, actor_kind, subject_id, changes, reason from audit order by id")
    assert tuple(row) == ("closed", True)
    assert incident["resolved_at"] is not None
    assert incident["title"] == f"{HOST} is down: it answered 503 (no active cue calls it any more)"
    assert [tuple(each) for each in audited][1:] == [
        (
            "target.closed", "system", target.host, '[{"path" : "state", "from" : "open", "to" : "closed"}]',
            "no active cue calls it any more",
        )
    ]  # fmt: skip


async def test_a_target_stays_open_while_another_cue_calls_it(database: Database) -> None:
    await opened(database, {"status": "paused"}, {"status": "active"})

    await look(database)

    assert await state(database) == "open"


async def test_a_target_of_a_paused_cue_stays_open_while_a_retry_is_to_come(database: Database) -> None:
    _, (cue_id,) = await opened(database, {})
    execution = await add_execution(database, cue_id)
    await database.execute("update outbox set ready_at = now() + interval '5 minutes'")
    await database.execute("update cues set status = 'paused', pause_reason = 'later'")

    await look(database)
    assert await state(database) == "open"

    await database.execute("delete from outbox where execution_id = $1", execution)
    await look(database)
    assert await state(database) == "closed"


async def test_a_target_of_a_paused_cue_is_probed_while_something_waits_for_it(database: Database) -> None:
    _, (cue_id,) = await opened(database, {})
    await add_execution(database, cue_id)
    assert await claim(database) == []
    await database.execute("update cues set status = 'paused', pause_reason = 'later'")
    dispatcher = dispatcher_on(database)

    await look(database, dispatcher.held)
    await one_turn(dispatcher.run)

    assert await state(database) == "half_open"
    (probe,) = taken(dispatcher)
    # Under way, it is what moves the target; its execution gone, as with a deleted cue, nothing else would.
    await look(database)
    assert await state(database) == "half_open"
    await database.execute("delete from outbox where execution_id = $1", probe.execution_id)
    await database.execute("update executions set claim = null, status = 'pending' where id = $1", probe.execution_id)
    await look(database)
    assert await state(database) == "closed"


async def test_another_account_s_target_of_the_same_host_is_its_own(database: Database) -> None:
    await opened(database, {"status": "paused"})
    called, _ = await opened(database, {})

    await look(database)

    rows = await database.fetch("select user_id from targets where state = 'open'")
    assert [row["user_id"] for row in rows] == [called.user]


async def test_more_targets_than_one_statement_closes_are_closed_by_one_look(database: Database) -> None:
    await opened(database)
    await database.execute(
        "insert into targets (user_id, host, state, reason, attempts, failures, next_probe_at)"
        " select user_id, 'h' || n || ':1', 'open', '', 10, 10, now() from targets, generate_series(1, 230) n"
    )

    await look(database)

    (row,) = await database.fetch("select count(*) filter (where state = 'open') as n from targets")
    (audited,) = await database.fetch("select count(*) as n from audit where action = 'target.closed'")
    assert (row["n"], audited["n"]) == (0, 231)


async def test_what_another_daemon_moves_at_that_moment_is_left_to_it(database: Database) -> None:
    target, _ = await opened(database)

    async with database.transaction() as tx:
        assert await targets.lock_for_probe(tx, target, longest_pause=900.0) == 1
        assert await targets.close_abandoned(database, 10) == []

    assert await targets.close_abandoned(database, 10) == [target]
    assert await targets.close_abandoned(database, 10) == []


async def test_what_is_fired_after_it_closed_goes_out_at_once(database: Database) -> None:
    _, (cue_id,) = await opened(database, {"status": "paused"})
    await look(database)
    await database.execute("update cues set status = 'active'")
    await add_execution(database, cue_id)

    assert len(await claim(database)) == 1


async def test_targets_that_nothing_waits_for_cost_no_transaction_though_their_probes_are_due(
    database: Database,
) -> None:
    target, _ = await opened(database)
    await database.execute("delete from targets")
    for number in range(40):
        await add_cue(database, target.user, callback_host=f"h{number}:1")
    await database.execute(
        "insert into targets (user_id, host, state, reason, attempts, failures, next_probe_at)"
        " select $1, 'h' || n || ':1', 'open', '', 10, 10, now() from generate_series(0, 39) n",
        target.user,
    )
    counting = Counting(database.pool)
    dispatcher = dispatcher_on(counting)

    for _ in range(2):
        await look(counting, dispatcher.held)
        await one_turn(dispatcher.run)

    assert counting.said.count("begin") == 0
    assert len(counting.said) < 40
