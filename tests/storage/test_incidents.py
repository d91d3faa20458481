"""Incidents: opened and ended by the statements that decide, once, whatever races or crashes come between."""

import json
from typing import Any
from uuid import UUID

import pytest
import trio

from cueapi.domain.attempt import Answered, Unreachable, evaluate_attempt
from cueapi.domain.audit import SYSTEM
from cueapi.domain.outcome import Evidence, Report
from cueapi.domain.reporting import apply_report
from cueapi.storage import cue_deletion, workers
from cueapi.storage import incidents as stored
from cueapi.storage.database import Database
from cueapi.storage.session import prepare
from cueapi.storage.transitions import apply_transitions
from cueapi.trio_asyncpg.pool import open_pool
from tests.storage.rows import (
    add_cue,
    add_execution,
    add_user,
    ago,
    alert_types,
    claim,
    standing_of,
    wait_for_locks,
)

ONE_TRY = {"max_attempts": 1}
GOOD, BAD, TAKEN = Answered(200, b'{"success": true}'), Unreachable("refused"), Answered(202, b"ok")


async def settle(database: Database, cue_id: str, *results: Answered | Unreachable) -> list[UUID]:
    """Executions of a cue that come to these ends, in one batch; their ids in that order."""
    ids = [await add_execution(database, cue_id, ready_at=ago(seconds=60 - place)) for place, _ in enumerate(results)]
    deliveries = {one.execution_id: one for one in await claim(database)}
    pairs = zip(ids, results, strict=True)
    steps = [evaluate_attempt(deliveries[one], result, duration=0.1, now=ago()) for one, result in pairs]
    await apply_transitions(database, steps)
    return ids


async def incidents(database: Database) -> list[Any]:
    return await database.fetch("select * from incidents order by opened_at")


async def notices(database: Database) -> list[str]:
    """The mails that wait, by kind."""
    return [row["kind"] for row in await database.fetch("select kind from notifications order by id")]


async def test_fifty_failures_and_three_successes_open_one_incident_and_end_it(database: Database) -> None:
    thresholds = {"alert_failure_threshold": 3, "alert_recovery_threshold": 2}
    cue_id = await add_cue(database, await add_user(database), on_failure_email=False, **thresholds, **ONE_TRY)

    failed = [(await settle(database, cue_id, BAD))[0] for _ in range(2)]
    assert await incidents(database) == []
    for _ in range(48):
        failed += await settle(database, cue_id, BAD)
    (opened,) = await incidents(database)
    good = [(await settle(database, cue_id, GOOD))[0] for _ in range(3)]

    (ended,) = await incidents(database)
    assert (opened["events"], opened["resolved_at"]) == (48, None)
    assert (opened["first_execution_id"], opened["last_execution_id"]) == (failed[2], failed[-1])
    assert ended["id"] == opened["id"]
    assert ended["resolved_by_execution_id"] == good[1]
    assert ended["resolution"] is None


async def test_the_same_in_one_batch_is_followed_in_its_order(database: Database) -> None:
    thresholds = {"alert_failure_threshold": 3, "alert_recovery_threshold": 2}
    cue_id = await add_cue(database, await add_user(database), on_failure_email=False, **thresholds, **ONE_TRY)

    ids = await settle(database, cue_id, *[BAD] * 50, *[GOOD] * 3)

    (ended,) = await incidents(database)
    assert (ended["events"], ended["first_execution_id"]) == (48, ids[2])
    assert ended["resolved_by_execution_id"] == ids[51]


async def test_a_failure_in_between_begins_the_recovery_anew(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database), alert_recovery_threshold=2, **ONE_TRY)

    for result in (BAD, GOOD, BAD, GOOD):
        await settle(database, cue_id, result)
    (still,) = await incidents(database)
    await settle(database, cue_id, GOOD)

    (ended,) = await incidents(database)
    assert (still["resolved_at"], still["events"], still["recovered"]) == (None, 2, 1)
    assert ended["resolved_at"] is not None


async def test_what_a_handler_has_taken_and_owes_no_report_of_counts_as_good(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database), **ONE_TRY)
    owing = await add_cue(database, await add_user(database), outcome_deadline_seconds=60, **ONE_TRY)

    for one in (cue_id, owing):
        await settle(database, one, BAD)
        await settle(database, one, TAKEN)

    assert [row["resolved_at"] is None for row in await incidents(database)] == [False, True]


@pytest.mark.parametrize("behind", [False, True], ids=["alone", "behind a failure"])
async def test_one_that_owed_no_report_counts_once_when_it_reports_all_the_same(
    database: Database, *, behind: bool
) -> None:
    cue_id = await add_cue(database, await add_user(database), alert_recovery_threshold=2, **ONE_TRY)
    await settle(database, cue_id, BAD)
    (taken,) = await settle(database, cue_id, TAKEN)
    late = apply_report(await standing_of(database, taken), Report(success=True), worker_id=None)
    if behind:
        await add_execution(database, cue_id)
    failures = [evaluate_attempt(one, BAD, duration=0.1, now=ago()) for one in await claim(database)]

    await apply_transitions(database, [*failures, late])

    (incident,) = await incidents(database)
    assert (incident["recovered"], incident["resolved_at"]) == (0 if behind else 1, None)


async def test_its_report_with_evidence_ends_what_lacked_evidence(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database), verification="require_external_id")
    await settle(database, cue_id, GOOD)
    (taken,) = await settle(database, cue_id, TAKEN)
    report = Report(success=True, evidence=Evidence(external_id="m1"))

    await apply_transitions(database, [apply_report(await standing_of(database, taken), report, worker_id=None)])

    (ended,) = await incidents(database)
    assert (ended["kind"], ended["resolved_by_execution_id"]) == ("unverified", taken)


async def test_an_alert_names_its_incident(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database), alert_consecutive_failures=1, **ONE_TRY)

    await settle(database, cue_id, BAD)

    (incident,) = await incidents(database)
    alerts = await database.fetch("select alert_type, incident_id from alerts")
    assert {row["alert_type"] for row in alerts} == {"execution_failed", "consecutive_failures"}
    assert {row["incident_id"] for row in alerts} == {incident["id"]}


async def test_missing_evidence_is_an_incident_that_evidence_ends(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database), verification="require_external_id")

    await settle(database, cue_id, GOOD)
    (opened,) = await incidents(database)
    await settle(database, cue_id, TAKEN)
    (still,) = await incidents(database)
    await settle(database, cue_id, Answered(200, b'{"success": true, "external_id": "m1"}'))

    (ended,) = await incidents(database)
    assert (opened["kind"], opened["severity"]) == ("unverified", "warning")
    assert still["resolved_at"] is None
    assert ended["resolved_at"] is not None
    assert await alert_types(database) == ["verification_failed"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("update cues set status = 'paused', next_run = null", "the cue was paused"),
        ("update cues set deleted_at = now(), next_run = null", "the cue was deleted"),
    ],
    ids=["paused", "deleted"],
)
async def test_a_cue_that_is_paused_or_deleted_has_no_incident_any_more(
    database: Database, change: str, why: str
) -> None:
    cue_id = await add_cue(database, await add_user(database), name="brief", **ONE_TRY)
    await settle(database, cue_id, BAD)

    await database.execute(change)

    (ended,) = await incidents(database)
    assert ended["resolution"] == why
    assert ended["title"] == f"brief is failing: refused ({why})"


async def test_deleting_by_the_product_ends_it_and_a_pause_by_on_failure_does_not(database: Database) -> None:
    user = await add_user(database)
    paused = await add_cue(database, user, on_failure_pause=True, **ONE_TRY)
    deleted = await add_cue(database, user, **ONE_TRY)

    for cue_id in (paused, deleted):
        await settle(database, cue_id, BAD)
    await cue_deletion.delete(database, cue_ids=[deleted], user=user, act=SYSTEM)

    assert [row["resolved_at"] is None for row in await incidents(database)] == [True, False]


async def test_sixty_four_deciders_at_once_open_one_incident(database: Database, database_url: str) -> None:
    user = await add_user(database)
    opened: set[UUID] = set()

    async def decide(racer: Database) -> None:
        row = await racer.fetch_one(
            "select open_incident($1, 'target_down', 'agent.example.com:443', 'agent.example.com', 'It is down', "
            "'critical') as id",
            user,
        )
        opened.add(row["id"])

    with trio.fail_after(60):
        async with open_pool(database_url, size=64, init=prepare) as pool, trio.open_nursery() as nursery:
            async with database.transaction() as tx:
                await tx.fetch("lock table incidents in share mode")
                for _ in range(64):
                    nursery.start_soon(decide, Database(pool))
                await wait_for_locks(database, 64)

    (incident,) = await incidents(database)
    assert opened == {incident["id"]}
    assert incident["events"] == 64
    assert await notices(database) == ["incident_mail"]


async def test_the_begin_and_the_end_of_a_failing_cue_are_told_by_one_mail_each(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database), **ONE_TRY)

    await settle(database, cue_id, BAD)
    await settle(database, cue_id, GOOD, GOOD)

    (failure, recovery) = await database.fetch("select kind, content from notifications order by id")
    (incident,) = await incidents(database)
    assert (failure["kind"], recovery["kind"]) == ("failure_mail", "recovery_mail")
    assert json.loads(failure["content"])["incident_id"] == str(incident["id"])
    assert json.loads(recovery["content"])["incident"]["status"] == "resolved"


async def test_what_is_muted_is_kept_and_told_to_no_mail_box(database: Database) -> None:
    user = await add_user(database)
    cue_ids = [await add_cue(database, user, group_name="night", **ONE_TRY), await add_cue(database, user, **ONE_TRY)]
    await database.execute("insert into mutes values ($1, 'group', 'night'), ($1, 'cue', $2)", user, cue_ids[1])

    for cue_id in cue_ids:
        await settle(database, cue_id, BAD)

    assert len(await incidents(database)) == 2
    assert await notices(database) == []


async def test_a_mute_that_is_over_mutes_nothing(database: Database) -> None:
    user = await add_user(database)
    await database.execute("insert into mutes values ($1, 'account', '', now() - interval '1 second')", user)

    await settle(database, await add_cue(database, user, **ONE_TRY), BAD)

    assert await notices(database) == ["failure_mail"]


async def test_a_late_firing_is_an_incident_that_a_later_good_execution_ends(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user)
    late = await add_execution(database, cue_id)
    await database.execute(
        "select open_incident($1, 'late', $2, 'c', 'c fired late', 'critical', $2, $3)", user, cue_id, late
    )
    (delivery,) = await claim(database)

    await apply_transitions(database, [evaluate_attempt(delivery, GOOD, duration=0.1, now=ago())])
    (still,) = await incidents(database)
    await settle(database, cue_id, GOOD)

    (ended,) = await incidents(database)
    assert still["resolved_at"] is None
    assert ended["resolved_at"] is not None


async def test_ended_by_another_part_it_says_why_and_opens_anew(database: Database) -> None:
    user = await add_user(database)
    opening = "select open_incident($1, 'budget', 'account', 'the account', 'The budget is reached', 'warning')"

    await database.execute(opening, user)
    await database.execute("select resolve_incident($1, 'budget', 'account', 'the budget was deleted')", user)
    await database.execute(opening, user)

    first, second = await incidents(database)
    assert first["title"] == "The budget is reached (the budget was deleted)"
    assert second["resolved_at"] is None


@pytest.mark.parametrize("seen", ["acknowledged", "snoozed", "over"])
async def test_what_stays_open_is_told_of_again_until_it_is_seen(database: Database, seen: str) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, alert_renotify_minutes=5, **ONE_TRY)
    await settle(database, cue_id, BAD)
    (incident,) = await incidents(database)
    later = "update incidents set remind_at = remind_at - interval '6 minutes'"
    early = await stored.tend(database)
    await database.execute(later)
    due = [await stored.tend(database) for _ in range(2)]

    looked_after = {"incident": incident["id"], "user": user, "act": SYSTEM.text()}
    if seen == "acknowledged":
        await stored.acknowledge(database, **looked_after, note=None)
    elif seen == "snoozed":
        await stored.snooze(database, **looked_after, until=ago(hours=-1))
    else:
        await stored.resolve(database, **looked_after, why="mended")
    await database.execute(later)

    assert (early, due, await stored.tend(database)) == ([], [[user], []], [])
    (row,) = await incidents(database)
    assert row["reminders"] == 1


WORK = {
    "back": ["a"], "replaced": ["b"], "shared": ["d", "e"], "silent": ["b", "c"], "other": ["b", "d"], "another": ["e"],
}  # fmt: skip


async def test_a_worker_that_is_back_or_gone_or_replaced_has_no_incident_any_more(database: Database) -> None:
    user = await add_user(database)
    for worker, handlers in WORK.items():
        await workers.heartbeat(database, user=user, worker=worker, handlers=handlers)
    await database.execute(
        "update workers set last_heartbeat = now() - interval '1 hour' where worker_id = any ($1::text[])",
        ["replaced", "shared", "silent"],
    )
    for worker in ("back", "gone", "replaced", "shared", "silent"):
        await database.execute(
            "select open_incident($1, 'worker_offline', $2, $2, 'It is silent', 'critical')", user, worker
        )

    tended = [await stored.tend(database) for _ in range(2)]

    assert tended == [[user], []]
    assert {row["subject"]: (row["resolved_at"] is None, row["resolution"]) for row in await incidents(database)} == {
        "back": (False, None),
        "gone": (False, "the worker was removed"),
        "replaced": (False, "another worker does its work"),
        "shared": (False, "another worker does its work"),
        "silent": (True, None),
    }
