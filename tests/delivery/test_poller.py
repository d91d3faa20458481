"""The poll: on time, set-based, and never stopped by one row."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import trio

from cueapi.delivery.capacity import Capacity
from cueapi.delivery.claims import confirm_delivery
from cueapi.delivery.dispatcher import Dispatcher
from cueapi.delivery.poller import FIRINGS_A_STATEMENT, LastPoll, Poller, parts
from cueapi.delivery.pool import DispatchPool
from cueapi.delivery.recorder import Recorder
from cueapi.delivery.webhook import Webhook
from cueapi.domain.catchup import FiringPlan, Occurrence
from cueapi.domain.target import Rules
from cueapi.metrics import Metrics
from cueapi.net.dns import Resolver
from cueapi.storage.clock import Clock
from cueapi.storage.database import Database
from cueapi.storage.due_cues import DueCue
from cueapi.wakeups.identity import DaemonId
from supervisor import Channel
from tests.delivery.siblings import Counting, alive, one_turn, quiet_hub, until
from tests.process import HANG
from tests.receiver import open_receiver
from tests.storage.rows import (
    MONTHLY,
    ONCE,
    TIMES,
    TOKENS,
    VAULT,
    add_cue,
    add_execution,
    add_user,
    ago,
    look_up_cue,
    notified,
    queued,
    told,
)

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def poller_on(database: Database, *, batch: int = 500) -> Poller:
    """A poller that comes by itself once an hour."""
    return Poller(database, quiet_hub(), Channel("retries", 1000), Clock(), Metrics(), LastPoll(), batch, MONTHLY)


async def statuses(database: Database) -> list[str]:
    return [row["status"] for row in await database.fetch("select status from executions order by scheduled_for")]


async def test_a_poll_with_200_due_cues_says_at_most_six_statements(database: Database) -> None:
    user = await add_user(database)
    for number in range(200):
        await add_cue(database, user, cron=f"{number % 60} 0 29 2 *", next_run=ago(seconds=number % 30))
    poller = poller_on(Counting(database.pool))

    await one_turn(poller.run)

    assert len(await queued(database)) == 200
    assert len(poller.database.said) <= 6, poller.database.said
    assert poller.last.cues == 200


@pytest.mark.parametrize("number", [0, 1, 7, 8, 20], ids=lambda number: f"{number} due, 4 a batch")
async def test_more_than_a_batch_is_fired_batch_after_batch_in_the_same_poll(database: Database, number: int) -> None:
    user = await add_user(database)
    for _ in range(number):
        await add_cue(database, user, next_run=ago(seconds=5))
    poller = poller_on(database, batch=4)

    await one_turn(poller.run)

    assert len(await queued(database)) == number
    assert poller.last.cues == number


POISONS = {
    "a cron that is none": "cron = 'every day'",
    "an unknown zone": "timezone = 'Mars/Olympus'",
    "a zone that is a path": "timezone = '../../etc/passwd'",
    "a count at the end of all numbers": "fired_count = 9223372036854775807",
}


@pytest.mark.parametrize("poison", POISONS.values(), ids=POISONS.keys())
async def test_a_cue_that_cannot_be_fired_is_quarantined_alone_and_its_user_is_told(
    database: Database, poison: str
) -> None:
    user = await add_user(database)
    broken = await add_cue(
        database, user, next_run=ago(seconds=70), cron="0 0 * * *", name="broken",
        on_failure_webhook="http://127.0.0.1:9/",
    )  # fmt: skip
    sound = await add_cue(database, user, next_run=ago(seconds=5))
    await database.execute(f"update cues set {poison} where id = $1", broken)
    poller = poller_on(database)

    await one_turn(poller.run)

    cue = await look_up_cue(database, broken)
    assert (cue["status"], cue["next_run"]) == ("failed", None)
    assert cue["warning"].startswith("It cannot be fired: ")
    assert await told(database, broken) == [("execution_failed", f"broken: {cue['warning']}")]
    assert await notified(database) == ["failure_mail", "failure_webhook"]
    assert {row["cue_id"] for row in await database.fetch("select cue_id from executions")} == {sound}


async def test_a_cue_whose_cron_never_comes_fires_what_is_due_and_has_no_next_run(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database), next_run=ago(seconds=70), cron="0 0 30 2 *")

    await one_turn(poller_on(database).run)

    cue = await look_up_cue(database, cue_id)
    assert (cue["status"], cue["next_run"], cue["fired_count"]) == ("active", None, 1)


async def test_a_fire_at_a_later_time_is_armed_whatever_wakes_the_poll_before_it(database: Database) -> None:
    at = ago(seconds=-0.5)
    user = await add_user(database)
    poller = poller_on(database)

    with trio.fail_after(10):
        async with alive(poller.run):
            await until(lambda: poller.last.at)
            # As the API writes them, and pokes: the earlier of two moments is the one that is kept.
            await add_execution(database, await add_cue(database, user), ready_at=ago(seconds=-600))
            await add_cue(database, user, next_run=at, schedule_at=at, **ONCE)
            for delay in (600, 0.5):
                poller.hub.polls.wake_at(trio.current_time() + delay)
            await until(lambda: poller.last.cues)
            await until(lambda: poller.retries.depth)


async def test_a_cue_is_fired_at_its_time_and_not_at_the_next_poll(database: Database) -> None:
    poller, begun = poller_on(database), trio.current_time()
    await one_turn(poller.run)
    poll, at = trio.current_time() - begun, ago(seconds=-0.7)
    await add_cue(database, await add_user(database), next_run=at, schedule_at=at, **ONCE)

    with trio.fail_after(HANG):
        async with alive(poller.run):
            await until(lambda: queued(database))

    (row,) = await database.fetch("select created_at - scheduled_for as lag from executions")
    assert timedelta(0) <= row["lag"] < timedelta(seconds=0.1 + 10 * poll)


async def test_waiting_deliveries_are_armed_as_far_as_the_poll_after_the_next(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database))
    for seconds in (30, 7000, 7300):
        await add_execution(database, cue_id, ready_at=ago(seconds=-seconds))
    poller = poller_on(database)

    await one_turn(poller.run)

    with poller.retries.receiver() as retries:
        delays = [retries.receive_nowait().delay for _ in range(poller.retries.depth)]
    assert delays == [pytest.approx(30, abs=10), pytest.approx(7000, abs=10)]


async def test_a_worker_s_cue_wakes_those_who_wait_for_its_work_and_a_webhook_the_dispatcher(
    database: Database,
) -> None:
    worker, other = await add_user(database), await add_user(database)
    await add_cue(database, worker, transport="worker", next_run=ago(seconds=1))
    await add_cue(database, other, next_run=ago(seconds=1))
    poller = poller_on(database)
    await poller.hub.dispatches.wait()

    await one_turn(poller.run)

    with trio.fail_after(15):  # by itself it looks every 30 s
        await poller.hub.dispatches.wait()
    assert poller.hub.long_poll.woken == [worker]


POLICIES: dict[str, tuple[dict[str, str], list[str]]] = {
    "latest": ({}, ["pending"]),
    "none": ({"catchup": "none"}, ["missed"]),
    "all": ({"catchup": "all"}, ["pending"] * 5),
    "all, but one at a time": ({"catchup": "all", "overlap": "skip"}, ["pending"]),
}


@pytest.mark.parametrize(("columns", "expected"), POLICIES.values(), ids=POLICIES.keys())
async def test_late_times_are_caught_up_with_by_the_cue_s_policy(
    database: Database, columns: dict[str, str], expected: list[str]
) -> None:
    oldest = ago(days=4.5).replace(hour=0, minute=0, second=0, microsecond=0)
    number = (ago().date() - oldest.date()).days + 1
    expected = expected if len(expected) == 1 else expected[:1] * number
    # Daily at midnight; the times of today and of four or five days before have passed.
    await add_cue(database, await add_user(database), cron="0 0 * * *", next_run=oldest, **columns)

    await one_turn(poller_on(database).run)

    assert await statuses(database) == expected
    (row,) = await database.fetch("select sum(missed_runs) as missed from executions")
    assert row["missed"] == (0 if columns == {"catchup": "all"} else number - 1)


async def test_what_fires_a_thousand_times_is_cut_into_several_statements() -> None:
    def due_cue(fires: int) -> DueCue:
        return DueCue("cue", NOON, 0, FiringPlan((Occurrence(NOON),) * fires, None, NOON))

    portions = list(parts([due_cue(1000), due_cue(1000), due_cue(1000), *[due_cue(1)] * 400]))

    sizes = [sum(len(due_cue.firings.fire) for due_cue in portion) for portion in portions]
    assert sum(sizes) == 3400
    assert max(sizes) <= FIRINGS_A_STATEMENT
    assert len(portions) <= 4
    assert list(parts([])) == []


async def test_the_first_of_many_due_cues_are_fired_by_themselves_and_the_others_by_larger_and_larger_statements(
    database: Database,
) -> None:
    user = await add_user(database)
    for _ in range(300):
        await add_cue(database, user, next_run=ago(seconds=1))

    await one_turn(poller_on(database).run)

    # By transaction: each statement is one.
    made = await database.fetch("select count(*) as made from executions group by xmin::text order by min(created_at)")
    assert [row["made"] for row in made] == [32, 64, 128, 76]


async def test_200_deliveries_take_at_most_ten_statements(database: Database) -> None:
    counting = Counting(database.pool)
    users = [await add_user(database) for _ in range(2)]
    async with open_receiver([200]) as receiver:
        for user in users:
            cue_id = await add_cue(
                database, user, callback_url=receiver.url(), callback_host=f"127.0.0.1:{receiver.port}"
            )
            for _ in range(100):
                await add_execution(database, cue_id)
        deliveries, results = Channel("deliveries", 256), Channel("results", 200)
        capacity = Capacity(256, 256)
        with Webhook(Rules(allow=Rules.parse_allow("127.0.0.0/8")), Resolver()) as webhook:
            hub = quiet_hub()
            recorder = Recorder(counting, results, Channel("retries", 10), hub, Metrics(), capacity, 60.0)
            # Not counted: it asks of claims that are not fresh, as they are where the machine is slow.
            confirm = partial(confirm_delivery, database)
            pool = DispatchPool(deliveries, results, capacity, webhook, confirm, 256, trio.Event())
            dispatcher = Dispatcher(
                counting, deliveries, capacity, hub, DaemonId("here", 1), TIMES, VAULT.decrypt, TOKENS.url
            )

            with trio.fail_after(HANG):
                # The recorder comes last: how many batches it makes of what it is given does not depend on time then.
                async with alive(pool.run, dispatcher.run):
                    await until(lambda: results.depth == 200)
                async with alive(recorder.run):
                    await until(lambda: database.fetch("select 1 from executions having count(finished_at) = 200"))

    assert await queued(database) == []
    assert len(counting.said) <= 10, counting.said


async def test_a_firing_that_is_too_late_for_its_user_is_told_once(database: Database) -> None:
    user = await add_user(database)
    eager, hour = {"alert_missed_window_multiplier": 2}, ago().replace(minute=0, second=0, microsecond=0)
    cue_id = await add_cue(database, user, cron="0 * * * *", next_run=hour - timedelta(hours=5), name="eager", **eager)
    await add_cue(database, user, cron="0 * * * *", next_run=hour, **eager)
    await add_cue(database, user, cron="0 * * * *", next_run=hour - timedelta(hours=5))
    poller = poller_on(database)

    await one_turn(poller.run)

    (alert,) = await database.fetch("select * from alerts")
    assert (alert["alert_type"], alert["cue_id"], alert["severity"]) == ("missed_run", cue_id, "critical")
    assert alert["message"].startswith("eager was due at ")
