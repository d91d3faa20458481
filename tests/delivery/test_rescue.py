"""What is taken back, and what is left to its holder."""

import time
from datetime import timedelta
from math import inf

import pytest
import trio
import trio.testing
from attrs import evolve
from structlog.testing import capture_logs

from cueapi.delivery.quarantine import NOT_STORED
from cueapi.delivery.rescue import Rescue, RescueTimeouts
from cueapi.delivery.silence import Silence
from cueapi.metrics import Metrics
from cueapi.storage import daemons, notifications
from cueapi.storage.clock import Clock, MachineClocks
from cueapi.storage.database import Database, open_listener
from cueapi.storage.notifications import NotificationHeadroom
from supervisor import Periodic
from tests.conftest import RunningDaemon, cue
from tests.delivery.siblings import alive, one_turn, quiet_hub
from tests.receiver import open_receiver
from tests.storage.rows import (
    ONCE,
    add_cue,
    add_execution,
    add_user,
    ago,
    alert_types,
    claim,
    claim_as_worker,
    look_up,
    look_up_cue,
    notified,
    queued,
    told,
)

GONE = 999
"""The number of a daemon that never was."""


@pytest.fixture
def rescue(database: Database) -> Rescue:
    timeouts = RescueTimeouts(worker_silence=180, unclaimed=900, daemon_grace=0, worker_grace=0)
    return Rescue(database, Periodic(0.0), quiet_hub(), timeouts, Metrics())


async def test_a_delivery_that_kills_five_daemons_in_a_row_has_had_a_failed_attempt(
    database: Database, rescue: Rescue
) -> None:
    cue_id = await add_cue(database, await add_user(database), max_attempts=1)
    execution = await add_execution(database, cue_id)

    seen = []
    for _ in range(5):
        await claim(database, daemon=GONE)
        await one_turn(rescue.run)
        row = await look_up(database, execution)
        seen.append((row["status"], row["attempts"], row["lost_claims"]))

    (tried,) = await database.fetch("select attempt, outcome, error from attempts")
    assert seen == [("pending", 0, 1), ("pending", 0, 2), ("pending", 0, 3), ("pending", 0, 4), ("failed", 1, 0)]
    assert (tried["attempt"], tried["outcome"]) == (1, "failed")
    assert "interrupted 5 times" in tried["error"]
    assert await alert_types(database) == ["execution_failed"]
    assert await queued(database) == []


async def test_an_attempt_that_comes_to_a_result_ends_the_row_of_lost_claims(
    database: Database, rescue: Rescue
) -> None:
    cue_id = await add_cue(database, await add_user(database), max_attempts=9, backoff_minutes=[0])
    execution = await add_execution(database, cue_id)
    for _ in range(5):
        await claim(database, daemon=GONE)
        await one_turn(rescue.run)

    await claim(database, daemon=GONE)
    await one_turn(rescue.run)

    row = await look_up(database, execution)
    assert (row["status"], row["attempts"], row["lost_claims"]) == ("retrying", 1, 1)


async def test_what_a_gone_daemon_held_wakes_the_dispatcher_at_once(database: Database, rescue: Rescue) -> None:
    cue_id = await add_cue(database, await add_user(database))
    await rescue.hub.dispatches.wait()

    with trio.fail_after(20):
        async with alive(rescue.run):
            await rescue.hub.dispatches.wait()  # by its start
            await add_execution(database, cue_id)
            await claim(database, daemon=GONE)
            await rescue.hub.dispatches.wait()

    assert len(await claim(database)) == 1


async def test_more_than_a_batch_is_taken_back_in_one_turn(database: Database, rescue: Rescue) -> None:
    cue_id = await add_cue(database, await add_user(database))
    await database.execute(
        "insert into executions (id, cue_id, user_id, transport, triggered_by, scheduled_for, status, ready_at,"
        "                        attempts, claim, payload)"
        " select gen_random_uuid(), $1, 1, 'webhook', 'manual_fire', now(), 'delivering', now(), 1,"
        "        gen_random_uuid(), '{}' from generate_series(1, 1203)",
        cue_id,
    )
    await database.execute(
        "insert into outbox (execution_id, cue_id, user_id, host, ready_at, claimed_by, lease_until)"
        " select id, cue_id, user_id, 'h:1', ready_at, $1, now() + interval '1 minute' from executions",
        GONE,
    )

    await one_turn(rescue.run)

    assert await database.fetch("select 1 from outbox where claimed_by is not null") == []


async def test_a_worker_s_ended_lease_is_a_failed_attempt_only_when_the_worker_is_silent(
    database: Database, rescue: Rescue
) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, transport="worker", backoff_minutes=[3])
    held = {}
    for worker, silent in (("lives", 5), ("silent", 181)):
        held[worker] = await add_execution(database, cue_id)
        await claim_as_worker(database, user, worker)
        heartbeat = "insert into workers (user_id, worker_id, last_heartbeat) values ($1, $2, $3)"
        await database.execute(heartbeat, user, worker, ago(seconds=silent))
    await database.execute("update executions set lease_until = now() - interval '1 second'")

    await one_turn(rescue.run)

    lives, silent = await look_up(database, held["lives"]), await look_up(database, held["silent"])
    assert (lives["status"], lives["claimed_by_worker"]) == ("delivering", "lives")
    assert (silent["status"], silent["attempts"], silent["claimed_by_worker"]) == ("retrying", 1, None)
    assert silent["ready_at"] > ago(seconds=-170)
    assert silent["error_message"] == "Worker silent did not report in time."


async def test_a_living_worker_does_not_keep_what_is_past_its_deadline(database: Database, rescue: Rescue) -> None:
    user = await add_user(database)
    execution = await add_execution(database, await add_cue(database, user, transport="worker", max_attempts=1))
    await claim_as_worker(database, user, "w")
    await database.execute("insert into workers (user_id, worker_id) values ($1, 'w')", user)
    await database.execute("update executions set outcome_deadline_at = now() - interval '1 second'")

    await one_turn(rescue.run)

    assert (await look_up(database, execution))["status"] == "outcome_timeout"
    assert await alert_types(database) == ["outcome_timeout"]


async def test_what_no_worker_claims_is_missed_with_an_alert_and_ends_a_one_time_cue(
    database: Database, rescue: Rescue
) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, transport="worker", **ONCE)
    long_ago = ago(seconds=901)
    late = await add_execution(database, cue_id, ready_at=long_ago, created_at=long_ago, triggered_by="scheduled")
    early = await add_execution(database, cue_id, ready_at=ago(seconds=800))

    await one_turn(rescue.run)

    row, cue = await look_up(database, late), await look_up_cue(database, cue_id)
    assert (row["status"], row["error_message"]) == ("missed", "No worker claimed this execution in time.")
    assert (cue["status"], cue["consecutive_failures"]) == ("failed", 1)
    assert (await look_up(database, early))["status"] == "pending"
    assert await alert_types(database) == ["missed_run"]


OVERDUE = {"status": "success", "attempts": 1, "finished_at": ago(), "outcome_deadline_at": ago(seconds=1)}


@pytest.mark.parametrize(
    ("attempts", "expected", "waiting"),
    [(1, "outcome_timeout", 0), (2, "retrying", 1)],
    ids=["no attempt left", "one left"],
)
async def test_a_handler_that_does_not_report_in_time_has_failed_the_attempt(
    database: Database, rescue: Rescue, attempts: int, expected: str, waiting: int
) -> None:
    cue_id = await add_cue(database, await add_user(database), max_attempts=attempts, run_count=1)
    execution = await add_execution(database, cue_id, **OVERDUE)

    await one_turn(rescue.run)

    (tried,) = await database.fetch("select outcome from attempts")
    assert (await look_up(database, execution))["status"] == expected
    assert tried["outcome"] == "outcome_timeout"
    assert len(await queued(database)) == waiting


@pytest.mark.parametrize(
    "columns",
    [{"outcome_attempt": 1, "outcome_state": "reported_success"}, {"outcome_deadline_at": ago(days=-1)}],
    ids=["a report came", "time is left"],
)
async def test_a_handler_that_reported_or_has_time_left_is_left_alone(
    database: Database, rescue: Rescue, columns: dict[str, object]
) -> None:
    cue_id = await add_cue(database, await add_user(database))
    execution = await add_execution(database, cue_id, **OVERDUE | columns)

    await one_turn(rescue.run)

    assert (await look_up(database, execution))["status"] == "success"


OFFLINE = {
    "one that can do it": (["print"], None, True),
    "one that can do anything": ([], None, True),
    "by the name of the cue": (["nightly"], None, True),
    "one that cannot do it": (["paint"], None, False),
    "while another lives who can": (["print"], ["print"], False),
    "while another lives who can do anything": (["print"], [], False),
    "while another lives who cannot": (["print"], ["paint"], True),
}


@pytest.mark.parametrize(("silent", "living", "told"), OFFLINE.values(), ids=OFFLINE.keys())
async def test_a_silent_worker_raises_an_alert_where_work_waits_that_no_other_worker_does(
    database: Database, rescue: Rescue, silent: list[str], living: list[str] | None, *, told: bool
) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, transport="worker", name="nightly", task="print")
    await add_execution(database, cue_id)
    insert = "insert into workers (user_id, worker_id, handlers, last_heartbeat) values ($1, $2, $3, $4)"
    await database.execute(insert, user, "silent", silent, ago(minutes=6))
    if living is not None:
        await database.execute(insert, user, "living", living, ago(seconds=10))

    await one_turn(rescue.run)

    assert await alert_types(database) == (["worker_offline"] if told else [])


async def test_a_silent_worker_raises_an_alert_once_an_hour_and_not_before_five_minutes_or_without_work(
    database: Database, rescue: Rescue
) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, transport="worker")
    await database.execute(
        "insert into workers (user_id, worker_id, last_heartbeat) values ($1, 'w', now() - interval '4 minutes')", user
    )
    await add_execution(database, cue_id)
    seen = []

    for statement in (
        "select 1",
        "update workers set last_heartbeat = now() - interval '6 minutes'",
        "update alert_gates set raised_at = raised_at - interval '10 minutes'",
        "update workers set offline_alerted_at = now() - interval '61 minutes'",
    ):
        await database.execute(statement)
        await one_turn(rescue.run)
        seen.append(len(await alert_types(database)))

    (alert,) = await database.fetch("select * from alerts order by created_at limit 1")
    assert seen == [0, 1, 1, 2]
    assert "Worker w has been silent since" in alert["message"]


async def test_an_attempt_of_more_than_31_bits_of_milliseconds_is_taken_back_as_any_other(
    database: Database, rescue: Rescue
) -> None:
    user = await add_user(database)
    execution = await add_execution(database, await add_cue(database, user, transport="worker"))
    await claim_as_worker(database, user, "w")
    await database.execute(
        "update executions set last_attempt_at = now() - interval '26 days', lease_until = now() - interval '26 days'"
    )

    await one_turn(rescue.run)

    (tried,) = await database.fetch("select outcome, duration_ms from attempts")
    assert (await look_up(database, execution))["status"] == "retrying"
    assert tried["duration_ms"] == pytest.approx(26 * 86_400_000, abs=60_000)


async def test_an_execution_whose_transition_cannot_be_stored_is_quarantined_alone_and_its_user_is_told(
    database: Database, rescue: Rescue
) -> None:
    user = await add_user(database)
    broken = await add_cue(database, user, transport="worker", on_failure_webhook="http://127.0.0.1:9/", name="broken")
    sound = await add_cue(database, user, transport="worker", on_failure_email=False)
    damaged, whole = [await add_execution(database, cue_id) for cue_id in (broken, sound)]
    await claim_as_worker(database, user, "w", most=2)
    await database.execute("update executions set outcome_deadline_at = now() - interval '1 second', attempts = 4")
    await database.execute("update cues set run_count = 9223372036854775807 where id = $1", broken)

    await one_turn(rescue.run)

    assert (await look_up(database, whole))["status"] == "outcome_timeout"
    assert (await look_up(database, damaged))["error_message"] == NOT_STORED
    assert await told(database, damaged) == [("execution_failed", f"broken: {NOT_STORED}")]
    assert await notified(database) == ["failure_mail", "failure_webhook"]


async def test_what_was_caught_up_waits_for_a_worker_as_long_as_what_is_new(database: Database, rescue: Rescue) -> None:
    cue_id = await add_cue(database, await add_user(database), transport="worker")
    execution = await add_execution(database, cue_id, scheduled_for=ago(hours=1), ready_at=ago(hours=1))

    await one_turn(rescue.run)

    assert (await look_up(database, execution))["status"] == "pending"


GRACES = {
    "at once": (inf, inf, ["delivering", "delivering", "pending"]),
    "after recorders have tried": (0.0, inf, ["pending", "delivering", "pending"]),
    "after workers have had time": (0.0, 0.0, ["pending", "retrying", "missed"]),
}


@pytest.mark.parametrize(("daemon_grace", "worker_grace", "expected"), GRACES.values(), ids=GRACES.keys())
async def test_after_an_outage_daemons_and_workers_have_time_to_report_before_their_claims_are_taken(
    database: Database, rescue: Rescue, daemon_grace: float, worker_grace: float, expected: list[str]
) -> None:
    user, old = await add_user(database), ago(hours=1)
    await add_execution(database, await add_cue(database, user))
    (daemon,) = await database.fetch("insert into daemons (instance) values ('here') returning number")
    (delivery,) = await claim(database, daemon=daemon["number"])
    held = await add_execution(database, await add_cue(database, user, transport="worker"))
    await claim_as_worker(database, user, "w")
    waiting = await add_execution(
        database, await add_cue(database, user, transport="worker"), ready_at=old, created_at=old
    )
    await database.execute("update outbox set lease_until = now() - interval '1 second'")
    await database.execute("update executions set lease_until = now() - interval '1 second' where id = $1", held)
    await database.execute("insert into workers (user_id, worker_id, last_heartbeat) values ($1, 'w', $2)", user, old)
    await add_execution(database, await add_cue(database, user, transport="worker"))

    await one_turn(evolve(rescue, timeouts=RescueTimeouts(180, 900, daemon_grace, worker_grace)).run)

    seen = [(await look_up(database, one))["status"] for one in (delivery.execution_id, held, waiting)]
    assert seen == expected
    assert ("worker_offline" in await alert_types(database)) == (worker_grace == 0)


async def test_a_living_daemon_keeps_what_it_delivers_while_postgresql_s_clock_jumps(
    daemon: RunningDaemon, database: Database, rescue: Rescue
) -> None:
    # The rescue of a second daemon, in a hurry: it would take back what is lost before the handler has answered.
    other = evolve(rescue, ticks=Periodic(0.02), timeouts=RescueTimeouts(180, 900, daemon_grace=20, worker_grace=180))
    with trio.fail_after(30):
        async with open_receiver([1.0]) as receiver, alive(other.run):
            api = await daemon.api.register()
            made = await api.post("/v1/cues", cue(receiver.url()))
            fired = await api.post(f"/v1/cues/{made['id']}/fire")
            await receiver.wait_for(1)
            await database.execute("update outbox set lease_until = lease_until - interval '600 seconds'")
            shown = await api.execution(fired["id"])

    assert (shown["status"], shown["attempts"], len(receiver.requests)) == ("success", 1, 1)


async def test_a_daemon_that_holds_its_lock_and_is_frozen_loses_what_its_leases_no_longer_cover(
    database: Database, database_url: str, rescue: Rescue
) -> None:
    user = await add_user(database)
    execution = await add_execution(database, await add_cue(database, user))
    await notifications.add_mail(database, "sign_in_mail", user=user, content={"to": "a@example.com"})
    with trio.fail_after(10):
        async with open_listener(database_url, "cueapi", heartbeat=5.0) as (_, lock):
            frozen = await daemons.register(database, "frozen")
            assert await daemons.acquire_lock(lock, frozen)
            await claim(database, daemon=frozen)
            await notifications.claim(
                database, daemon=frozen, headroom=NotificationHeadroom(8, {}, 4), lease=60.0, claimed_at=0.0
            )
            seen = []
            for statement in ("select 1", "update outbox set lease_until = now() - interval '1 second'"):
                await database.execute(statement)
                await one_turn(rescue.run)
                seen.append((await look_up(database, execution))["status"])
            await database.execute("update notifications set lease_until = now() - interval '1 second'")
            await one_turn(rescue.run)

    (mail,) = await database.fetch("select claim, attempts from notifications")
    assert seen == ["delivering", "pending"]
    assert (mail["claim"], mail["attempts"]) == (None, 0)


async def test_after_a_jump_of_postgresql_s_clock_workers_and_handlers_have_time_to_show_themselves(
    database: Database, rescue: Rescue
) -> None:
    user, old = await add_user(database), ago(hours=1)
    cue_id = await add_cue(database, user, transport="worker")
    held = await add_execution(database, cue_id)
    await claim_as_worker(database, user, "w")
    waiting = await add_execution(database, cue_id, ready_at=old, created_at=old)
    reporting = await add_execution(database, await add_cue(database, user, run_count=1), **OVERDUE)
    await database.execute("update executions set lease_until = now() - interval '1 second' where id = $1", held)
    await database.execute("insert into workers (user_id, worker_id, last_heartbeat) values ($1, 'w', $2)", user, old)
    await daemons.register(database, "here")
    # As if PostgreSQL's clock had been an hour behind until now.
    clock = Clock()
    clock.measure(old, clock.machine.steady())

    seen = []
    for worker_grace in (180.0, 0.0):
        await one_turn(evolve(rescue, clock=clock, timeouts=RescueTimeouts(180, 900, 0.0, worker_grace)).run)
        seen.append([(await look_up(database, one))["status"] for one in (held, waiting, reporting)])

    assert clock.jumps == 1
    assert seen == [["delivering", "pending", "success"], ["retrying", "missed", "retrying"]]


async def test_the_clock_is_measured_against_postgresql_in_every_round(database: Database, rescue: Rescue) -> None:
    await daemons.register(database, "here")
    ahead = Clock(MachineClocks(lambda: time.time() + 10_800))

    with capture_logs() as lines:
        for _ in range(2):
            await one_turn(evolve(rescue, clock=ahead).run)

    assert abs(ahead.now() - ago()) < timedelta(seconds=20)
    assert [line["offset_seconds"] for line in lines] == [pytest.approx(-10_800, abs=20)]


async def test_who_shows_no_new_beat_is_silent_after_a_while(autojump_clock: trio.testing.MockClock) -> None:
    silence, seen = Silence(), []
    for beats in ({1: 0, 2: 0}, {1: 1, 2: 0}, {1: 2, 2: 0}, {1: 2, 2: 1, 3: 0}, {1: 2}):
        seen.append(silence.after(beats, 10.0))
        await trio.sleep(5)

    assert seen == [set(), set(), {2}, set(), {1}]
