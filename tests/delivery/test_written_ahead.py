"""PostgreSQL's clock was two hours ahead for a while: what was written then does not wait for it."""

from datetime import UTC, datetime, timedelta

import pytest
import trio

from cueapi.delivery.written_ahead import put_right
from cueapi.domain.attempt import Unreachable, evaluate_attempt
from cueapi.storage import channels, daemons, notifications, workers
from cueapi.storage.database import Database
from cueapi.storage.notifications import NotificationHeadroom
from cueapi.storage.transitions import apply_transitions
from tests.conftest import RunningDaemon, cue
from tests.delivery.siblings import until
from tests.delivery.test_channels import add_channel
from tests.receiver import open_receiver
from tests.storage.rows import (
    ONCE,
    add_cue,
    add_execution,
    add_user,
    ago,
    claim,
    claim_as_worker,
    look_up,
    look_up_cue,
    queued,
)

AHEAD = timedelta(hours=2)

WRITTEN = {
    "cues": ("next_run", "planned_at", "last_run", "created_at", "updated_at"),
    "executions": (
        "scheduled_for", "ready_at", "claimed_at", "lease_until", "started_at", "last_attempt_at", "delivered_at",
        "finished_at", "outcome_deadline_at", "created_at", "updated_at",
    ),
    "outbox": ("ready_at", "lease_until"),
    "workers": ("last_heartbeat", "offline_alerted_at"),
    "alert_gates": ("raised_at",),
    "notifications": ("ready_at", "timed_at", "lease_until"),
    "channels": ("digest_at",),
    "daemons": ("free_since",),
}  # fmt: skip


async def write_ahead(database: Database, *tables: str) -> None:
    """As if everything in *tables* had been written while the clock was ahead."""
    for table in tables:
        moved = ", ".join(f"{column} = {column} + interval '2 hours'" for column in WRITTEN[table])
        await database.execute(f"update {table} set {moved}")


def about(moment: datetime) -> object:
    """That moment, give or take what a loaded machine needs for a test."""
    return pytest.approx(moment.timestamp(), abs=20)


def next_minute() -> list[datetime]:
    """The next full minutes: the one that a moment ago was next, and the one after it."""
    minute = datetime.now(UTC).replace(second=0, microsecond=0)
    return [minute, minute + timedelta(minutes=1)]


async def test_a_cue_does_not_wait_beyond_its_first_time_after_now(database: Database) -> None:
    user = await add_user(database)
    minutely, yearly, broken = [
        await add_cue(database, user, cron=cron, next_run=ago(hours=-1), last_run=ago())
        for cron in ("* * * * *", "0 0 1 1 *", "every day")
    ]
    at = ago(minutes=-3)
    once = await add_cue(database, user, next_run=at, **ONCE)
    paused = await add_cue(database, user, cron="* * * * *", status="paused", last_run=ago())
    await write_ahead(database, "cues")
    found = {cue_id: (await look_up_cue(database, cue_id))["next_run"] for cue_id in (yearly, broken, once, paused)}

    moved = await put_right(database)

    assert moved == 5
    assert (await look_up_cue(database, minutely))["next_run"] in next_minute()
    assert {cue_id: (await look_up_cue(database, cue_id))["next_run"] for cue_id in found} == found
    rows = await database.fetch("select last_run, planned_at from cues where last_run > now() or planned_at > now()")
    assert rows == []
    assert await put_right(database) == 0


async def test_a_cue_that_is_written_now_is_left_alone(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database), cron="* * * * *", next_run=ago(hours=-1), last_run=ago())

    moved = await put_right(database)

    assert moved == 0
    assert (await look_up_cue(database, cue_id))["next_run"] > ago(minutes=-50)


async def test_more_cues_than_a_batch_are_put_right_in_one_round(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database), cron="* * * * *", next_run=ago(hours=-1))
    await database.execute(
        "insert into cues select (jsonb_populate_record(c, jsonb_build_object('id', 'cue_x' || n, 'name', n))).*"
        "  from cues c, generate_series(1, 1200) n where c.id = $1",
        cue_id,
    )
    await write_ahead(database, "cues")

    with trio.fail_after(20):
        assert await put_right(database) == 1201

    assert await database.fetch("select id from cues where next_run > now() + interval '61 seconds'") == []


async def test_a_retry_comes_after_its_pause_and_not_after_that_and_two_hours(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database), backoff_minutes=[5])
    execution = await add_execution(database, cue_id)
    (delivery,) = await claim(database)
    failed = evaluate_attempt(delivery, Unreachable("no answer"), duration=0.1, now=ago())
    await apply_transitions(database, [failed])
    await write_ahead(database, "executions", "outbox")

    await put_right(database)

    row = await look_up(database, execution)
    (waiting,) = await database.fetch("select ready_at from outbox")
    assert row["status"] == "retrying"
    assert row["ready_at"].timestamp() == waiting["ready_at"].timestamp() == about(ago(minutes=-5))
    assert max(row["last_attempt_at"], row["updated_at"], row["started_at"]) <= ago(seconds=-1)


async def test_what_was_fired_by_hand_is_due_now_and_what_was_put_off_comes_at_its_time(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database))
    fired, later = [
        await add_execution(database, cue_id, ready_at=ready, scheduled_for=ready) for ready in (ago(), ago(hours=-3))
    ]
    scheduled = await add_execution(
        database, cue_id, triggered_by="scheduled", scheduled_for=ago(minutes=1), ready_at=ago(minutes=1)
    )
    await write_ahead(database, "executions", "outbox")

    await put_right(database)

    rows = {execution: (await look_up(database, execution))["ready_at"] for execution in (fired, later, scheduled)}
    assert rows[fired] <= ago()
    assert rows[later].timestamp() == about(ago(hours=-5))
    # Its time is its own, although it was fired before it.
    assert rows[scheduled].timestamp() == about(ago(hours=-2, minutes=1))
    assert await queued(database) == [fired, scheduled, later]


async def test_a_worker_s_lease_and_deadline_keep_their_lengths(database: Database) -> None:
    user = await add_user(database)
    execution = await add_execution(database, await add_cue(database, user, transport="worker"))
    await claim_as_worker(database, user)
    await write_ahead(database, "executions")

    await put_right(database)

    row = await look_up(database, execution)
    assert row["lease_until"].timestamp() == about(ago(seconds=-900))
    assert row["outcome_deadline_at"].timestamp() == about(ago(seconds=-14_400))
    assert row["claimed_at"] <= ago(seconds=-1)


async def test_a_deadline_that_was_set_in_time_stands_where_the_lease_was_extended_ahead(database: Database) -> None:
    user = await add_user(database)
    execution = await add_execution(database, await add_cue(database, user, transport="worker"))
    await claim_as_worker(database, user)
    await database.execute("update executions set updated_at = updated_at + $1, lease_until = lease_until + $1", AHEAD)

    await put_right(database)

    row = await look_up(database, execution)
    assert row["lease_until"].timestamp() == about(ago(seconds=-900))
    assert row["outcome_deadline_at"].timestamp() == about(ago(seconds=-14_400))


async def test_the_deadline_of_a_delivered_execution_is_put_right(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database))
    execution = await add_execution(
        database, cue_id, status="success", attempts=1, finished_at=ago(), delivered_at=ago(), last_attempt_at=ago(),
        outcome_deadline_at=ago(minutes=-10),
    )  # fmt: skip
    await write_ahead(database, "executions")

    await put_right(database)

    assert (await look_up(database, execution))["outcome_deadline_at"].timestamp() == about(ago(minutes=-10))


async def test_a_silent_worker_does_not_look_alive_for_two_hours(database: Database) -> None:
    user = await add_user(database)
    await workers.heartbeat(database, user=user, worker="w", handlers=None)
    await workers.heartbeat(database, user=user, worker="told", handlers=None)
    await database.execute("update workers set offline_alerted_at = now() where worker_id = 'told'")
    await write_ahead(database, "workers")

    await put_right(database)

    rows = await database.fetch("select last_heartbeat, offline_alerted_at from workers order by worker_id")
    assert [row["last_heartbeat"].timestamp() for row in rows] == [about(ago())] * 2
    assert rows[0]["offline_alerted_at"].timestamp() == about(ago())
    assert (rows[1]["offline_alerted_at"], rows[1]["last_heartbeat"] <= ago()) == (None, True)


async def test_a_worker_that_was_told_of_ahead_is_told_of_again_after_an_hour(database: Database) -> None:
    user = await add_user(database)
    await workers.heartbeat(database, user=user, worker="w", handlers=None)
    await database.execute("update workers set offline_alerted_at = now() + interval '2 hours'")

    await put_right(database)

    (row,) = await database.fetch("select offline_alerted_at from workers")
    assert row["offline_alerted_at"] <= ago()


async def test_alerts_and_mails_are_not_held_back_by_gates_that_were_set_ahead(database: Database) -> None:
    user = await add_user(database)
    await database.execute(
        "insert into alert_gates values ($1, 'missed_run', 'cue_1', now() + interval '2 hours')", user
    )
    await database.execute(
        "insert into mail_gates select $1, 'failure_mail',"
        " array_agg(now() + interval '2 hours' + n * interval '1 minute')"
        "  from generate_series(1, 10) n",
        user,
    )

    await put_right(database)

    (gate,) = await database.fetch("select raised_at from alert_gates")
    (mails,) = await database.fetch("select moments from mail_gates")
    assert gate["raised_at"].timestamp() == about(ago())
    assert [moment.timestamp() for moment in mails["moments"]] == [about(ago())] * 10


async def put_off(database: Database, pause: float) -> None:
    """A notification that waits for so long after its first attempt."""
    number = await daemons.register(database, "here")
    await notifications.add_mail(database, "sign_in_mail", user=None, content={"to": "a@example.com"})
    (claimed,) = await notifications.claim(
        database, daemon=number, headroom=NotificationHeadroom(1, {}, 1), lease=60.0, claimed_at=0.0
    )
    await notifications.put_off(database, claimed, pause)


@pytest.mark.parametrize("pause", [0.0, 60.0, 3_600.0])
async def test_a_notification_waits_for_no_longer_than_its_pause(database: Database, pause: float) -> None:
    await put_off(database, pause)
    await write_ahead(database, "notifications")

    await put_right(database)

    (row,) = await database.fetch("select ready_at from notifications")
    assert row["ready_at"].timestamp() == about(ago(seconds=-pause))
    assert await put_right(database) == 0


@pytest.mark.parametrize("pause", [60.0, 3_600.0])
async def test_a_notification_that_waits_for_its_pause_is_left_alone(database: Database, pause: float) -> None:
    await put_off(database, pause)

    assert await put_right(database) == 0


async def test_a_digest_waits_for_its_time_and_no_longer(database: Database) -> None:
    user = await add_user(database)
    await add_channel(database, user)
    opening = (
        "select open_incident($1, 'target_down', n::text, n::text, 'down', 'critical') from generate_series(1, 30) n"
    )
    await database.execute(opening, user)
    await channels.admit(database)
    (due,) = await database.fetch("select ready_at from notifications where event = 'digest'")
    untouched = await put_right(database)

    await write_ahead(database, "notifications", "channels")
    await database.execute(
        "update channel_gates set moments = array(select m + interval '2 hours' from unnest(moments) m)"
    )
    await put_right(database)

    (again,) = await database.fetch("select ready_at from notifications where event = 'digest'")
    (channel,) = await database.fetch(
        "select c.digest_at, max(m) as last from channels c, channel_gates g, unnest(g.moments) m group by 1"
    )
    assert untouched == 0
    assert again["ready_at"].timestamp() == about(due["ready_at"])
    assert (channel["digest_at"].timestamp(), channel["last"].timestamp()) == (about(ago()), about(ago()))


async def test_a_daemon_whose_lock_was_seen_free_ahead_is_given_up_after_five_seconds(database: Database) -> None:
    await daemons.register(database, "gone")
    await daemons.sweep_dead(database)
    await write_ahead(database, "daemons")

    await daemons.sweep_dead(database)

    (row,) = await database.fetch("select free_since from daemons")
    assert row["free_since"].timestamp() == about(ago())


async def test_a_running_daemon_finds_what_was_written_ahead_and_fires_nothing_twice(
    daemon: RunningDaemon, database: Database
) -> None:
    with trio.fail_after(30):
        async with open_receiver() as receiver:
            api = await daemon.api.register()
            schedule = {"type": "recurring", "cron": "* * * * *", "timezone": "UTC"}
            made = await api.post("/v1/cues", cue(receiver.url(), schedule=schedule))
            fired = await api.post(f"/v1/cues/{made['id']}/fire")
            done = await api.execution(fired["id"], "success")
            await write_ahead(database, "cues", "executions")

            async def is_right() -> bool:
                moment = (await api.get(f"/v1/cues/{made['id']}"))["next_run"]
                return datetime.fromisoformat(moment) < ago(seconds=-70)

            await until(is_right)

            async def is_upcoming() -> bool:
                times = (await api.get(f"/v1/cues/{made['id']}/upcoming"))["upcoming"]
                return (await api.get(f"/v1/cues/{made['id']}"))["next_run"] in times

            await until(is_upcoming)  # Between the two looks a minute may begin.

    assert done["attempts"] == 1
    assert sum(request.header("x-cueapi-execution-id") == fired["id"] for request in receiver.requests) == 1
