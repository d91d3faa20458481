"""A daemon with another tzdata: what other rules have planned is planned anew, once for all daemons."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from cueapi.delivery.zone_changes import ZoneWatch, follow_zones
from cueapi.settings import Settings
from cueapi.storage import daemons
from cueapi.storage.database import Database
from tests.conftest import cue, running
from tests.delivery.siblings import one_turn
from tests.delivery.test_poller import poller_on, statuses
from tests.storage.rows import ONCE, add_cue, add_execution, add_user, ago, look_up_cue
from tests.zones import AN_HOUR_AHEAD, AT_UTC, CASABLANCA, tzdata

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def minute(**duration: float) -> datetime:
    """The full minute so long from now."""
    return (datetime.now(UTC) + timedelta(**duration)).replace(second=0, microsecond=0)


def daily(reading: datetime) -> str:
    """The cron for that time of day."""
    return f"{reading.minute} {reading.hour} * * *"


def naive(moment: datetime) -> datetime:
    """What a clock at UTC shows."""
    return moment.replace(tzinfo=None)


async def changed(database: Database, folder: Path, *, old: str, new: str) -> None:
    """The database was used with the one tzdata, and now a daemon starts with another."""
    with tzdata(folder, "2026a", {CASABLANCA: old}):
        await database.execute("delete from meta where key = 'tzdata'")
        await database.execute("insert into meta (key, value) values ('tzdata', '2026a')")
    with tzdata(folder, "2026f", {CASABLANCA: new}):
        await follow_zones(database)


async def test_a_cue_that_was_fired_today_is_not_fired_again_an_hour_later(database: Database, tmp_path: Path) -> None:
    # By the old rules it was fired half an hour ago; by the new ones that time of day comes in half an hour.
    fired = minute(minutes=-30)
    cue_id = await add_cue(
        database, await add_user(database), cron=daily(fired + HOUR), timezone=CASABLANCA, next_run=fired + DAY,
        next_local=naive(fired + HOUR + DAY),
    )  # fmt: skip

    await changed(database, tmp_path, old=AN_HOUR_AHEAD, new=AT_UTC)

    row = await look_up_cue(database, cue_id)
    assert row["next_run"] == fired + HOUR + DAY
    assert row["next_local"] == naive(row["next_run"])


POLICIES = {"latest": ["pending"], "all": ["pending"], "none": ["missed"]}


@pytest.mark.parametrize(("catchup", "expected"), POLICIES.items(), ids=POLICIES.keys())
async def test_a_right_time_that_has_passed_meanwhile_follows_the_catch_up_policy(
    database: Database, tmp_path: Path, catchup: str, expected: list[str]
) -> None:
    stored = minute(minutes=30)
    cue_id = await add_cue(
        database, await add_user(database), cron=daily(stored), timezone=CASABLANCA, catchup=catchup,
        next_run=stored, next_local=naive(stored),
    )  # fmt: skip

    await changed(database, tmp_path, old=AT_UTC, new=AN_HOUR_AHEAD)
    with tzdata(tmp_path, "2026f", {CASABLANCA: AN_HOUR_AHEAD}):
        await one_turn(poller_on(database).run)

    row = await look_up_cue(database, cue_id)
    assert await statuses(database) == expected
    assert row["next_run"] == stored - HOUR + DAY
    assert row["next_local"] == naive(stored + DAY)


async def test_a_one_time_cue_keeps_the_local_time_that_was_asked_for(database: Database, tmp_path: Path) -> None:
    user, at = await add_user(database), minute(minutes=90)
    local = naive(at + HOUR)
    common = {**ONCE, "timezone": CASABLANCA, "schedule_at": at}
    kept = await add_cue(database, user, next_run=at, schedule_local=local, **common)
    paused = await add_cue(database, user, status="paused", schedule_local=local, **common)
    absolute = await add_cue(database, user, next_run=at, **common)
    fired = await add_cue(database, user, schedule_local=local, **common)
    stopped = await add_cue(database, user, status="paused", schedule_local=local, **common)
    await add_execution(database, stopped, triggered_by="scheduled", scheduled_for=at, status="success")

    await changed(database, tmp_path, old=AN_HOUR_AHEAD, new=AT_UTC)

    rows = [await look_up_cue(database, cue_id) for cue_id in (kept, paused, absolute, fired, stopped)]
    assert [(row["schedule_at"], row["next_run"]) for row in rows] == [
        (at + HOUR, at + HOUR),
        (at + HOUR, None),
        (at, at),
        (at, None),
        (at, None),
    ]


async def test_paused_deleted_and_damaged_cues_are_left_alone(database: Database, tmp_path: Path) -> None:
    user, stored = await add_user(database), minute(minutes=90)
    columns = {"cron": daily(stored + HOUR), "timezone": CASABLANCA}
    whole = await add_cue(database, user, next_run=stored, **columns)
    for fields in (
        {"status": "paused"},
        {"next_run": stored, "deleted_at": ago()},
        {"next_run": stored, "cron": "every day"},
        {"next_run": stored, "timezone": "Mars/Olympus"},
    ):
        await add_cue(database, user, **columns | fields)

    with capture_logs() as lines:
        await changed(database, tmp_path, old=AN_HOUR_AHEAD, new=AT_UTC)

    moved = await database.fetch(
        "select id from cues where next_run is distinct from $1 and next_run is not null", stored
    )
    assert [row["id"] for row in moved] == [whole]
    assert [(line["event"], line["cues"], line["tzdata"]) for line in lines] == [("zones_changed", 1, "2026f")]


async def test_of_many_daemons_that_start_at_once_one_plans_anew(database: Database, tmp_path: Path) -> None:
    stored = minute(minutes=90)
    cue_id = await add_cue(
        database, await add_user(database), cron=daily(stored + HOUR), timezone=CASABLANCA, next_run=stored,
        next_local=naive(stored + HOUR),
    )  # fmt: skip
    # More than a batch.
    await database.execute(
        "insert into cues select (jsonb_populate_record(c, jsonb_build_object('id', 'cue_x' || n, 'name', n))).*"
        "  from cues c, generate_series(1, 1500) n where c.id = $1",
        cue_id,
    )
    await database.execute("insert into meta (key, value) values ('tzdata', '2026a')")

    with trio.fail_after(60), capture_logs() as lines, tzdata(tmp_path, "2026f", {CASABLANCA: AT_UTC}):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(follow_zones, database)

    rows = await database.fetch("select distinct next_run, next_local from cues")
    assert [(row["next_run"], row["next_local"]) for row in rows] == [(stored + HOUR, naive(stored + HOUR))]
    assert [line["cues"] for line in lines] == [1501]


async def test_what_an_older_daemon_plans_beside_is_planned_anew_by_the_newest(
    database: Database, tmp_path: Path
) -> None:
    fired = minute(minutes=-30)
    cue_id = await add_cue(
        database, await add_user(database), cron=daily(fired + HOUR), timezone=CASABLANCA, next_run=fired + DAY,
        next_local=naive(fired + HOUR + DAY),
    )  # fmt: skip
    watch, patient = ZoneWatch(interval=0.0), ZoneWatch()
    seen = []
    for version in ("2026a", "2026f", "2026g"):
        with tzdata(tmp_path, version, {CASABLANCA: AT_UTC}):
            seen.append(await watch.look(database, "2026f 2026a"))
    with tzdata(tmp_path, "2026f", {CASABLANCA: AT_UTC}):
        seen += [await watch.look(database, "2026f"), await patient.look(database, "2026f 2026a")]

    assert seen == [0, 1, 0, 0, 0]
    assert (await look_up_cue(database, cue_id))["next_run"] == fired + HOUR + DAY


async def test_a_daemon_says_with_which_tzdata_it_plans_and_the_next_start_looks_at_all_cues(
    database: Database, tmp_path: Path
) -> None:
    seen = []
    with tzdata(tmp_path, "2026f", {CASABLANCA: AT_UTC}):
        for version in ("2026f", "2026a", "2026f", "2026a"):
            await follow_zones(database)
            await daemons.beat(database, None, tzdata=version)
            (row,) = await database.fetch("select value from meta where key = 'tzdata'")
            seen.append(row["value"])

    assert seen == ["2026f", "2026f 2026a", "2026f", "2026f 2026a"]


async def test_next_run_and_upcoming_agree_after_a_start_with_another_tzdata(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    fired = minute(minutes=-30)
    local = naive(minute(minutes=90) + HOUR)
    with trio.fail_after(60):
        with tzdata(tmp_path, "2026a", {CASABLANCA: AN_HOUR_AHEAD}):
            async with running(settings) as daemon:
                api = await daemon.api.register()
                schedule = {"cron": daily(fired + HOUR), "timezone": CASABLANCA}
                made = await api.post("/v1/cues", cue(schedule={"type": "recurring", **schedule}))
                once = await api.post(
                    "/v1/cues", cue(schedule={"type": "once", "at": local.isoformat(), "timezone": CASABLANCA})
                )
                before = await api.get(f"/v1/cues/{made['id']}/upcoming?count=2")
        with tzdata(tmp_path, "2026f", {CASABLANCA: AT_UTC}):
            async with running(settings) as daemon:
                again = type(api)(daemon.client, api.key)
                shown = await again.get(f"/v1/cues/{made['id']}")
                after = await again.get(f"/v1/cues/{made['id']}/upcoming?count=2")
                moved = await again.get(f"/v1/cues/{once['id']}")
                renamed = await again.patch(f"/v1/cues/{once['id']}", {"name": "renamed"})

    def moments(answer: dict[str, list[str]]) -> list[datetime]:
        return [datetime.fromisoformat(text) for text in answer["upcoming"]]

    assert moments(before) == [fired + DAY, fired + 2 * DAY]
    assert moments(after) == [fired + HOUR + DAY, fired + HOUR + 2 * DAY]
    assert shown["next_run"] == after["upcoming"][0]
    assert datetime.fromisoformat(moved["next_run"]) == local.replace(tzinfo=UTC)
    assert moved["schedule"]["at"] == moved["next_run"] == renamed["next_run"]


async def test_a_one_time_cue_whose_right_time_has_passed_meanwhile_fires(database: Database, tmp_path: Path) -> None:
    at = minute(minutes=30)
    cue_id = await add_cue(
        database, await add_user(database), timezone=CASABLANCA, next_run=at, schedule_local=naive(at), **ONCE
    )

    await changed(database, tmp_path, old=AT_UTC, new=AN_HOUR_AHEAD)
    with tzdata(tmp_path, "2026f", {CASABLANCA: AN_HOUR_AHEAD}):
        await one_turn(poller_on(database).run)

    (execution,) = await database.fetch("select status, scheduled_for from executions")
    assert (execution["status"], execution["scheduled_for"]) == ("pending", at - HOUR)
    assert (await look_up_cue(database, cue_id))["schedule_at"] == at - HOUR
