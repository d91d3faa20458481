"""A quarantine ends the one, whatever its row holds, and tells its user."""

import json

from cueapi.storage.database import Database
from cueapi.storage.quarantine import quarantine_cue, quarantine_execution
from tests.storage.rows import add_cue, add_execution, add_user, ago, look_up, look_up_cue, queued, told

HOOK = "http://127.0.0.1:9/"
LAST = 9_223_372_036_854_775_807


async def test_a_quarantined_cue_is_failed_with_the_reason_unless_it_was_changed_since(database: Database) -> None:
    user, due = await add_user(database), ago(seconds=70)
    broken, mended = [await add_cue(database, user, next_run=due, name=name) for name in ("broken", "mended")]
    await database.execute("update cues set cron = '1 * * * *', revision = 1 where id = $1", mended)

    results = [
        await quarantine_cue(database, cue_id=cue_id, revision=0, reason="no such minute")
        for cue_id in (broken, mended)
    ]

    cue, other = await look_up_cue(database, broken), await look_up_cue(database, mended)
    assert (cue["status"], cue["next_run"], cue["warning"]) == ("failed", None, "no such minute")
    assert (other["status"], other["next_run"], other["warning"]) == ("active", due, None)
    assert (await database.fetch_one("select live_cues from users"))["live_cues"] == 1
    assert [(result.alerts, result.notices) for result in results] == [(1, 1), (0, 0)]
    assert await told(database, broken) == [("execution_failed", "broken: no such minute")]


async def test_the_webhook_of_a_quarantined_cue_says_that_no_execution_failed(database: Database) -> None:
    cue_id = await add_cue(
        database, await add_user(database), name="broken", on_failure_webhook=HOOK, on_failure_email=False
    )

    await quarantine_cue(database, cue_id=cue_id, revision=0, reason="no such minute")

    (row,) = await database.fetch("select kind, url, content from notifications")
    content = json.loads(row["content"])
    assert (row["kind"], row["url"]) == ("failure_webhook", HOOK)
    assert content.pop("failed_at")
    assert content == {
        "event": "cue.failed",
        "cue_id": cue_id,
        "cue_name": "broken",
        "execution_id": None,
        "attempts": 0,
        "last_http_status": None,
        "last_error": "no such minute",
    }


async def test_a_cue_whose_numbers_are_all_at_their_end_is_quarantined(database: Database) -> None:
    counters = {"fired_count": LAST, "run_count": LAST, "consecutive_failures": LAST, "revision": LAST}
    cue_id = await add_cue(database, await add_user(database), next_run=ago(seconds=1), **counters)
    execution = await add_execution(database, cue_id)

    await quarantine_execution(database, execution, reason="too many")
    await quarantine_cue(database, cue_id=cue_id, revision=LAST, reason="too many")

    assert (await look_up_cue(database, cue_id))["status"] == "failed"
    assert (await look_up(database, execution))["status"] == "failed"
    assert await queued(database) == []


async def test_one_that_was_delivered_stays_so_and_awaits_no_outcome_any_more(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database), name="delivered")
    execution = await add_execution(
        database, cue_id, status="success", attempts=1, finished_at=ago(), outcome_deadline_at=ago(seconds=1)
    )

    for _ in range(2):
        await quarantine_execution(database, execution, reason="cannot be read")

    row = await look_up(database, execution)
    assert (row["status"], row["error_message"], row["outcome_deadline_at"]) == ("success", None, None)
    assert await told(database, execution) == [("execution_failed", "delivered: cannot be read")]


async def test_the_execution_of_a_deleted_cue_is_ended_without_an_alert(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database), deleted_at=ago())
    execution = await add_execution(database, cue_id)

    result = await quarantine_execution(database, execution, reason="cannot be read")

    assert (result.alerts, result.notices) == (0, 0)
    assert (await look_up(database, execution))["status"] == "failed"
    assert await queued(database) == []


async def test_of_the_execution_of_a_backfill_no_one_is_told(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database), name="past", on_failure_webhook=HOOK)
    execution = await add_execution(database, cue_id, triggered_by="backfill")

    result = await quarantine_execution(database, execution, reason="cannot be read")

    assert (result.alerts, result.notices, result.cue_name) == (0, 0, "past")
    assert (await look_up(database, execution))["dead_at"] is not None
    assert await database.fetch("select from alerts union all select from incidents") == []
    assert await database.fetch("select from notifications") == []
