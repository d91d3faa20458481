"""Backfills: which times they make, what they leave untouched, and what becomes of those that fail."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio

from cueapi.domain.clock import iso
from cueapi.storage.database import Database
from tests.api.test_dead_letters import listed
from tests.api.test_operations import begun, done, dry, ended
from tests.api.work import report
from tests.conftest import Api, cue
from tests.receiver import open_receiver
from tests.storage.rows import add_execution, ago

START = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=36)
FOUR = {"from": iso(START), "to": iso(START + timedelta(hours=3))}
"""Both ends are times of the cue."""
HOURS = ",".join(str((START + timedelta(hours=hours)).hour) for hours in range(4))
HOURLY = {"schedule": {"type": "recurring", "cron": f"0 {HOURS} * * *", "timezone": "UTC"}}
"""In these hours, which are half a day away: it does not come due while a test runs."""


def at(hours: int) -> datetime:
    return START + timedelta(hours=hours)


async def made_by(api: Api, cue_id: str) -> list[dict[str, Any]]:
    """What backfills have made of a cue, the earliest time first."""
    rows = (await api.get(f"/v1/executions?cue_id={cue_id}&triggered_by=backfill&limit=100"))["executions"]
    return sorted(rows, key=lambda one: str(one["scheduled_for"]))


async def test_times_without_an_execution_are_made_and_the_schedule_stays_as_it_is(
    api: Api, database: Database
) -> None:
    with trio.fail_after(60):
        async with open_receiver([(200, b'{"success": true}')]) as receiver:
            made = await api.post("/v1/cues", cue(receiver.url("/run"), payload={"n": 1}) | HOURLY)
            for hours, status in ((0, "success"), (1, "missed"), (2, "failed")):
                await add_execution(
                    database, made["id"], triggered_by="scheduled", scheduled_for=at(hours), status=status,
                    finished_at=ago(),
                )  # fmt: skip
            seen = await dry(api, "backfill", cue_id=made["id"], **FOUR)
            result = await done(api, "backfill", cue_id=made["id"], **FOUR)
            rows = [await api.execution(one["id"]) for one in await made_by(api, made["id"])]
            again = await done(api, "backfill", cue_id=made["id"], **FOUR)
            after = await api.get(f"/v1/cues/{made['id']}")
            lags = await database.fetch("select coalesce(sum(lag_sum), 0)::bigint as lag from tallies")

    assert (seen["matched"], [one["at"] for one in seen["sample"]]) == (2, [iso(at(1)), iso(at(3))])
    assert result == (2, 2, {})
    assert [(one["scheduled_for"], one["status"], one["triggered_by"]) for one in rows] == [
        (iso(at(1)), "success", "backfill"), (iso(at(3)), "success", "backfill"),
    ]  # fmt: skip
    assert sorted(one.header("X-CueAPI-Scheduled-For") or "" for one in receiver.requests) == [iso(at(1)), iso(at(3))]
    assert again == (0, 0, {})
    assert (after["next_run"], after["last_run"]) == (made["next_run"], None)
    assert lags[0]["lag"] == 0


async def test_without_only_missing_one_is_made_beside_a_scheduled_one_and_once(api: Api, database: Database) -> None:
    with trio.fail_after(60):
        made = await api.post("/v1/cues", cue() | HOURLY)
        await add_execution(
            database, made["id"], triggered_by="scheduled", scheduled_for=at(0), status="success", finished_at=ago()
        )
        asked = {"cue_id": made["id"], "only_missing": False} | FOUR
        results = [await done(api, "backfill", **asked) for _ in range(2)]
        rows = await made_by(api, made["id"])

    assert results == [(4, 4, {}), (0, 0, {})]
    assert [one["scheduled_for"] for one in rows] == [iso(at(hours)) for hours in range(4)]


async def test_what_fails_is_counted_by_the_operation_and_raises_no_alert(api: Api, database: Database) -> None:
    with trio.fail_after(60):
        async with open_receiver([500]) as receiver:
            body = cue(receiver.url("/run"), retry={"max_attempts": 1}, on_failure={"pause": True}) | HOURLY
            made = await api.post("/v1/cues", body)
            operation = await ended(api, await begun(api, "backfill", cue_id=made["id"], **FOUR))
            rows = [await api.execution(one["id"]) for one in await made_by(api, made["id"])]
            shown = await api.get(f"/v1/operations/{operation['id']}")
            dead = await listed(api)
            alerts = (await api.get("/v1/alerts"))["alerts"]
            after = await api.get(f"/v1/cues/{made['id']}")
            failures = await database.fetch("select consecutive_failures, run_count from cues")
            told = await database.fetch("select kind from notifications where kind <> 'account_mail'")

    assert [one["status"] for one in rows] == ["failed"] * 4
    assert (shown["status"], shown["matched"], shown["done"], shown["failed"]) == ("done", 4, 0, 4)
    assert set(dead) == {one["id"] for one in rows}
    assert (alerts, told, after["status"]) == ([], [], "active")
    assert (failures[0]["consecutive_failures"], failures[0]["run_count"]) == (0, 4)


async def test_a_failure_that_is_reported_of_what_was_delivered_counts_as_failed_once(api: Api) -> None:
    with trio.fail_after(60):
        async with open_receiver([202]) as receiver:
            made = await api.post("/v1/cues", cue(receiver.url("/run")) | HOURLY)
            operation = await ended(api, await begun(api, "backfill", cue_id=made["id"], **FOUR))
            rows = [await api.execution(one["id"], "success") for one in await made_by(api, made["id"])]
            before = await api.get(f"/v1/operations/{operation['id']}")
            await report(api, rows[0]["id"], success=False, error="no paper")
            await report(api, rows[1]["id"], success=True)
            refused = await api.refused("POST", f"/v1/executions/{rows[0]['id']}/outcome", {"success": False})
            shown = await api.get(f"/v1/operations/{operation['id']}")
            alerts, dead = (await api.get("/v1/alerts"))["alerts"], await listed(api)

    assert (before["done"], before["failed"]) == (4, 0)
    assert (shown["done"], shown["failed"]) == (3, 1)
    assert refused[:2] == (409, "outcome_already_recorded")
    assert (alerts, dead) == ([], [])


async def test_a_success_ends_no_row_of_failures(api: Api, database: Database) -> None:
    with trio.fail_after(60):
        async with open_receiver([(200, b'{"success": true}')]) as receiver:
            made = await api.post("/v1/cues", cue(receiver.url("/run")) | HOURLY)
            await database.execute("update cues set consecutive_failures = 2")
            await done(api, "backfill", cue_id=made["id"], **FOUR)
            for one in await made_by(api, made["id"]):
                await api.execution(one["id"])
            failures = await database.fetch("select consecutive_failures from cues")

    assert failures[0]["consecutive_failures"] == 2


async def test_a_worker_claims_what_a_backfill_makes_of_a_long_past_time(api: Api) -> None:
    with trio.fail_after(60):
        made = await api.post("/v1/cues", cue() | HOURLY)
        await done(api, "backfill", cue_id=made["id"], **FOUR)
        work = (await api.get("/v1/executions/claimable"))["executions"]

    assert [one["scheduled_for"] for one in work] == [iso(at(hours)) for hours in range(4)]


async def test_a_one_time_cue_has_its_one_time_and_a_deleted_one_none(api: Api, database: Database) -> None:
    with trio.fail_after(60):
        body = cue() | {"schedule": {"type": "once", "at": "2099-01-01T00:00:00Z"}}
        made = await api.post("/v1/cues", body)
        await database.execute("update cues set schedule_at = $1, next_run = null, status = 'failed'", at(1))
        seen = await dry(api, "backfill", cue_id=made["id"], **FOUR)
        operation = await begun(api, "backfill", cue_id=made["id"], **FOUR)
        shown = await ended(api, operation)
        outside = await dry(api, "backfill", cue_id=made["id"], **{"from": iso(at(2)), "to": iso(at(3))})

    assert (seen["matched"], seen["warnings"]) == (1, ["The cue is failed; a backfill fires it all the same."])
    assert (shown["done"], shown["backfill"]) == (1, {"cue_id": made["id"], "only_missing": True} | FOUR)
    assert outside["matched"] == 0


async def test_what_is_left_when_the_cue_is_deleted_is_skipped(api: Api) -> None:
    with trio.fail_after(60):
        made = await api.post("/v1/cues", cue() | HOURLY)
        # Forty times, which take twenty seconds.
        span = {"from": iso(START - timedelta(days=9)), "to": FOUR["to"]}
        operation = await begun(api, "backfill", cue_id=made["id"], rate_per_second=2, **span)
        await api.ask("DELETE", f"/v1/cues/{made['id']}")
        shown = await ended(api, operation)

    assert shown["skipped"]["cue_deleted"] > 0
    assert shown["done"] + shown["skipped"]["cue_deleted"] == 40


MINUTELY = {"schedule": {"type": "recurring", "cron": "* * * * *", "timezone": "UTC"}}
REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "a time to come": ({"from": iso(ago(days=1)), "to": iso(ago(days=-1))}, 422, "validation_error"),
    "ends in the wrong order": ({"from": iso(ago(days=1)), "to": iso(ago(days=2))}, 422, "validation_error"),
    "more than 366 days": ({"from": iso(ago(days=370)), "to": iso(ago(days=1))}, 422, "too_many_times"),
    "more than 10,000 times": ({"from": iso(ago(days=8)), "to": iso(ago(hours=1))}, 422, "too_many_times"),
    "no beginning": ({"to": iso(ago(hours=1))}, 422, "validation_error"),
    "no end": ({"from": iso(ago(days=1))}, 422, "validation_error"),
    "what is no moment": ({"from": "yesterday", "to": iso(ago(hours=1))}, 422, "validation_error"),
    "before the calendar": ({"from": "0001-01-01T00:00:00Z", "to": "0001-02-01T00:00:00Z"}, 422, "validation_error"),
    "another cue": ({"cue_id": "cue_000000000000"} | FOUR, 404, "cue_not_found"),
    "what is no cue": ({"cue_id": "odd"} | FOUR, 404, "cue_not_found"),
}


@pytest.mark.parametrize(("fields", "status", "code"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_cannot_be_backfilled_is_refused(api: Api, fields: dict[str, Any], status: int, code: str) -> None:
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue() | MINUTELY)
        body = {"kind": "backfill", "cue_id": made["id"], "dry_run": True} | fields
        refused = await api.refused("POST", "/v1/operations", body)

    assert refused[:2] == (status, code), refused
