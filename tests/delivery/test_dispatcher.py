"""The dispatcher: fair, within its bounds, and with the backlog in PostgreSQL."""

from functools import partial

import pytest
import trio
from attrs import define, evolve, field
from structlog.testing import capture_logs

from cueapi.delivery.capacity import Capacity, wake_soon
from cueapi.delivery.dispatcher import TOGETHER, Dispatcher
from cueapi.delivery.preemption import PATIENCE
from cueapi.domain.attempt import Delivery
from cueapi.settings import Settings
from cueapi.storage.clock import steady
from cueapi.storage.database import Database, Executor
from cueapi.storage.outbox import claim_deliveries
from cueapi.wakeups.identity import DaemonId
from supervisor import Channel
from supervisor.health import on_beat
from tests.conftest import Api, RunningDaemon, cue, running
from tests.delivery.siblings import alive, one_turn, quiet_hub, until
from tests.process import HANG
from tests.receiver import Receiver, open_receiver
from tests.storage.rows import (
    TIMES,
    TOKENS,
    VAULT,
    add_cue,
    add_execution,
    add_user,
    ago,
    claim,
    headroom,
    look_up,
    look_up_cue,
    notified,
    queued,
    told,
)

# All at once, as a backlog is when a daemon comes up.
BACKLOG = (
    "with made as ("
    " insert into executions (id, cue_id, user_id, transport, triggered_by, scheduled_for, status, ready_at, payload)"
    " select gen_random_uuid(), $1, $2, 'webhook', 'manual_fire', now(), 'pending',"
    "        now() - $4 * interval '1 millisecond' + number * interval '1 millisecond', '{}'"
    "   from generate_series(1, $4) as number"
    " returning id, cue_id, user_id, ready_at)"
    " insert into outbox (execution_id, cue_id, user_id, host, ready_at)"
    " select id, cue_id, user_id, $3, ready_at from made"
)


def dispatcher_on(database: Database, *, size: int = 256, per_host: int = 64) -> Dispatcher:
    hub = quiet_hub()
    capacity = Capacity(size, per_host, on_freed=partial(wake_soon, hub.dispatches), on_half=hub.dispatches.wake)
    return Dispatcher(
        database, Channel("deliveries", size), capacity, hub, DaemonId("here", 1), TIMES, VAULT.decrypt, TOKENS.url
    )


async def backlog(database: Executor, number: int, *, user: int, host: str, url: str = "http://127.0.0.1:9/") -> str:
    """So many deliveries of one account wait for one host."""
    cue_id = await add_cue(database, user, callback_url=url, callback_host=host)
    await database.execute(BACKLOG, cue_id, user, host, number)
    return cue_id


def taken(dispatcher: Dispatcher) -> list[Delivery]:
    """What lies in the channel."""
    with dispatcher.deliveries.receiver() as deliveries:
        return [deliveries.receive_nowait() for _ in range(dispatcher.deliveries.depth)]


async def test_it_claims_for_three_quarters_of_the_pool_and_keeps_the_rest_for_accounts_that_hold_none(
    database: Database,
) -> None:
    for number in range(4):
        # No more in all than a claim looks at: it sees each account, however long it took to write their rows.
        await backlog(database, 30, user=await add_user(database), host=f"h{number}:1")
    dispatcher = dispatcher_on(database, size=32)

    await one_turn(dispatcher.run)

    (row,) = await database.fetch("select count(*) filter (where claimed_by = 1) as ours from outbox")
    assert (dispatcher.deliveries.depth, dispatcher.capacity.taken, row["ours"]) == (24, 24, 24)


async def test_places_that_come_free_are_filled_again_without_a_poll(database: Database) -> None:
    for number in range(2):
        await backlog(database, 20, user=await add_user(database), host=f"h{number}:1")
    dispatcher = dispatcher_on(database, size=8)

    done: list[Delivery] = []
    with trio.fail_after(10):
        async with alive(dispatcher.run):
            with dispatcher.deliveries.receiver() as deliveries:
                while len(done) < 40:
                    done.append(await deliveries.receive())
                    dispatcher.capacity.release(done[-1])

    assert len({delivery.execution_id for delivery in done}) == 40


async def test_more_is_claimed_as_soon_as_half_of_the_slots_are_free(database: Database) -> None:
    await backlog(database, 40, user=await add_user(database), host="h:1")
    dispatcher = dispatcher_on(database)
    half_alone = evolve(dispatcher, capacity=Capacity(256, 8, on_half=dispatcher.hub.dispatches.wake))

    with trio.fail_after(10):
        async with alive(half_alone.run):
            with half_alone.deliveries.receiver() as deliveries:
                first = [await deliveries.receive() for _ in range(8)]
                for delivery in first[:3]:
                    half_alone.capacity.release(delivery)
                await trio.sleep(0.1)
                before = half_alone.capacity.taken
                half_alone.capacity.release(first[3])
                more = [await deliveries.receive() for _ in range(4)]

    assert (before, half_alone.capacity.taken) == (5, 8)
    assert len({delivery.execution_id for delivery in (*first, *more)}) == 12


async def test_for_a_few_slots_that_are_freed_meanwhile_nothing_is_claimed_in_the_same_turn(database: Database) -> None:
    await backlog(database, 200, user=await add_user(database), host="h:1")
    dispatcher = dispatcher_on(database)
    not_woken = evolve(dispatcher, capacity=Capacity(256, 64))

    with trio.fail_after(10):
        async with alive(not_woken.run):
            with not_woken.deliveries.receiver() as deliveries:
                # Before the last 48 are sent, which go together.
                for _ in range(10):
                    not_woken.capacity.release(await deliveries.receive())
                await trio.sleep(0.2)
                waiting = not_woken.deliveries.depth

    assert (not_woken.capacity.taken, waiting) == (54, 54)


@define(eq=False)
class EachStep(trio.abc.Instrument):
    """Looks after each step of any task at how many places are taken, and how many deliveries lie in the channel."""

    dispatcher: Dispatcher
    seen: set[tuple[int, int]] = field(factory=set)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Look."""
        self.seen.add((self.dispatcher.capacity.taken, self.dispatcher.deliveries.depth))


async def test_whenever_a_sibling_falls_what_has_a_place_lies_in_the_channel_or_is_in_the_pool_s_hands(
    database: Database,
) -> None:
    for number in range(4):
        await backlog(database, 50, user=await add_user(database), host=f"h{number}:1")
    dispatcher = dispatcher_on(database, size=128)
    look = EachStep(dispatcher)

    trio.lowlevel.add_instrument(look)
    try:
        await one_turn(dispatcher.run)
    finally:
        trio.lowlevel.remove_instrument(look)

    # No pool: none is in its hands.
    assert look.seen == {(number, number) for number in (*range(97 - TOGETHER), 96)}


@pytest.mark.parametrize(
    "identity", [DaemonId("here"), DaemonId("here", 1, lock_held=False)], ids=["no number", "whose lock is lost"]
)
async def test_a_daemon_that_others_may_take_for_gone_claims_nothing(database: Database, identity: DaemonId) -> None:
    await backlog(database, 3, user=await add_user(database), host="h:1")
    dispatcher = evolve(dispatcher_on(database), identity=identity)

    await one_turn(dispatcher.run)

    assert dispatcher.deliveries.depth == 0


@pytest.mark.parametrize("hosts", [1, 5], ids=["to one host", "to five hosts"])
async def test_behind_2_000_deliveries_of_one_account_another_s_is_claimed_in_the_same_turn(
    database: Database, hosts: int
) -> None:
    loud, quiet = await add_user(database), await add_user(database)
    for number in range(hosts):
        await backlog(database, 2000 // hosts, user=loud, host=f"loud{number}:1")
    execution = await add_execution(database, await add_cue(database, quiet))
    dispatcher = dispatcher_on(database)

    await one_turn(dispatcher.run)

    headroom = dispatcher.capacity.headroom()
    assert execution in {delivery.execution_id for delivery in taken(dispatcher)}
    assert headroom.users == {loud: min(64 * hosts, 128), quiet: 1}
    assert max(headroom.hosts.values()) <= 64


async def test_accounts_that_are_claimed_for_together_hold_equal_shares(database: Database) -> None:
    for number in range(3):
        await backlog(database, 100 + 50 * number, user=await add_user(database), host=f"h{number}:1")
    dispatcher = dispatcher_on(database, size=120, per_host=100)

    await one_turn(dispatcher.run)

    assert sorted(dispatcher.capacity.headroom().users.values()) == [30, 30, 30]


async def test_an_account_that_comes_later_has_its_share_as_soon_as_the_other_s_attempts_end(
    database: Database,
) -> None:
    first, second = await add_user(database), await add_user(database)
    await backlog(database, 400, user=first, host="a:1")
    dispatcher = dispatcher_on(database, size=40, per_host=100)
    await one_turn(dispatcher.run)
    await backlog(database, 100, user=second, host="b:1")

    await one_turn(dispatcher.run)
    before = dispatcher.capacity.headroom().users
    for delivery in [one for one in dispatcher.capacity.held() if one.user_id == first]:
        dispatcher.capacity.release(delivery)
        taken(dispatcher)
        await one_turn(dispatcher.run)

    assert before == {first: 20, second: 10}
    assert dispatcher.capacity.headroom().users == {first: 15, second: 15}


async def test_when_three_quarters_are_taken_one_delivery_of_each_account_that_holds_none_is_claimed(
    database: Database,
) -> None:
    for number in range(2):
        await backlog(database, 50, user=await add_user(database), host=f"loud{number}:1")
    dispatcher = dispatcher_on(database, size=16)
    await one_turn(dispatcher.run)
    late = [await add_user(database) for _ in range(3)]
    for user in late:
        await backlog(database, 50, user=user, host=f"late{user}:1")

    await one_turn(dispatcher.run)

    users = dispatcher.capacity.headroom().users
    assert [users[user] for user in late] == [1, 1, 1]
    assert dispatcher.capacity.taken == 15


async def test_an_account_behind_a_host_that_is_full_by_the_same_claim_has_its_other_delivery_claimed(
    database: Database,
) -> None:
    loud, quiet = await add_user(database), await add_user(database)
    await backlog(database, 3, user=loud, host="shared:1")
    await backlog(database, 4, user=quiet, host="shared:1")
    await backlog(database, 1, user=quiet, host="own:1")
    dispatcher = dispatcher_on(database, size=8, per_host=1)

    await one_turn(dispatcher.run)

    assert sorted(one.host for one in taken(dispatcher)) == ["own:1", "shared:1"]


async def fill_with_single_accounts(dispatcher: Dispatcher, database: Database, *, age: float) -> list[Delivery]:
    """Each place is held by another account, since so many seconds and what this takes."""
    for number in range(dispatcher.capacity.size):
        await backlog(database, 1, user=await add_user(database), host=f"h{number}:1")
        for delivery in await claim(database):
            dispatcher.capacity.take(evolve(delivery, claimed_at=steady() - age))
    return dispatcher.capacity.held()


@pytest.mark.parametrize(("age", "interrupted"), [(45.0, 0), (60.0, 1)], ids=["for less", "for a minute"])
async def test_in_a_full_pool_of_single_accounts_the_longest_attempt_gives_way_once_they_have_run_for_a_minute(
    database: Database, age: float, interrupted: int
) -> None:
    dispatcher = dispatcher_on(database, size=4)
    held = await fill_with_single_accounts(dispatcher, database, age=age)
    await add_execution(database, await add_cue(database, await add_user(database)), ready_at=ago(seconds=PATIENCE + 1))

    await one_turn(dispatcher.run)

    assert [dispatcher.capacity.scope(one).cancel_called for one in held] == [True] * interrupted + [False] * (
        4 - interrupted
    )


async def test_a_pool_that_a_claim_has_filled_is_looked_at_again(database: Database) -> None:
    dispatcher = dispatcher_on(database, size=4)
    loud = await add_user(database)
    for user in (loud, loud, await add_user(database)):
        await backlog(database, 1, user=user, host="held:1")
        for delivery in await claim(database):
            dispatcher.capacity.take(delivery)
    held = [one for one in dispatcher.capacity.held() if one.user_id == loud]
    for number in range(2):
        cue_id = await add_cue(database, await add_user(database), callback_host=f"waiting{number}:1")
        await add_execution(database, cue_id, ready_at=ago(seconds=PATIENCE + 1))

    with trio.fail_after(20):
        async with alive(dispatcher.run):
            await until(lambda: any(dispatcher.capacity.scope(one).cancel_called for one in held))

    assert dispatcher.capacity.taken == 4


@pytest.mark.parametrize(
    ("age", "host"), [(0.0, "other:1"), (PATIENCE + 1, "h0:1")], ids=["just come", "its host is full"]
)
async def test_in_a_full_pool_no_attempt_gives_way_to_one_that_may_not_start_or_has_only_just_come(
    database: Database, age: float, host: str
) -> None:
    dispatcher = dispatcher_on(database, size=4, per_host=1)
    held = await fill_with_single_accounts(dispatcher, database, age=61.0)
    cue_id = await add_cue(database, await add_user(database), callback_host=host)
    await add_execution(database, cue_id, ready_at=ago(seconds=age))

    await one_turn(dispatcher.run)

    assert not any(dispatcher.capacity.scope(one).cancel_called for one in held)


async def lag_of(api: Api, cue_id: str, receiver: Receiver) -> float:
    """Seconds until the receiver hears of a fire."""
    begun, before = trio.current_time(), len(receiver.requests)
    await api.post(f"/v1/cues/{cue_id}/fire")
    await receiver.wait_for(before + 1)
    return trio.current_time() - begun


@pytest.mark.parametrize("accounts", [2, 7], ids=["two accounts", "more accounts than the kept quarter has places"])
async def test_however_many_places_other_accounts_hold_one_that_holds_none_starts_within_five_seconds(
    settings: Settings, accounts: int
) -> None:
    small = settings.model_copy(
        update={"dispatch_concurrency": 8, "shutdown_grace_seconds": 0.0, "webhook_timeout_seconds": 900.0}
    )
    with trio.fail_after(HANG):
        async with open_receiver(["hang"]) as hanging, open_receiver() as answering, running(small) as daemon:
            database = daemon.resources.database
            api = await daemon.api.register()
            made = await api.post("/v1/cues", cue(answering.url()))
            usual = await lag_of(api, made["id"], answering)
            for _ in range(accounts):
                user, host = await add_user(database), f"127.0.0.1:{hanging.port}"
                await backlog(database, 20, user=user, host=host, url=hanging.url())
                await database.execute("select pg_notify('cueapi', '0 delivery')")
            await hanging.wait_for(6 if accounts == 2 else 8)
            lag = await lag_of(api, made["id"], answering)

    assert lag < 5.0 + 10 * usual  # What this machine takes where nobody holds a place.


async def test_a_delivery_whose_cue_is_gone_fails_alone(database: Database) -> None:
    user = await add_user(database)
    gone = await add_cue(database, user)
    bad, good = await add_execution(database, gone), await add_execution(database, await add_cue(database, user))
    await database.execute("delete from cues where id = $1", gone)
    dispatcher = dispatcher_on(database)

    await one_turn(dispatcher.run)

    row = await look_up(database, bad)
    assert [delivery.execution_id for delivery in taken(dispatcher)] == [good]
    assert (row["status"], row["error_message"]) == ("failed", "There is no such cue any more.")
    assert await queued(database) == [good]


async def test_an_execution_that_cannot_be_claimed_is_quarantined_alone_and_its_user_is_told(
    database: Database,
) -> None:
    user = await add_user(database)
    broken = await add_cue(
        database, user, name="broken", on_failure_webhook="http://127.0.0.1:9/", on_failure_pause=True
    )
    made = [await add_execution(database, broken if n == 6 else await add_cue(database, user)) for n in range(10)]
    await database.execute("update executions set attempts = 1000 where cue_id = $1", broken)
    dispatcher = dispatcher_on(database)

    with capture_logs() as lines:
        await one_turn(dispatcher.run)

    row = await look_up(database, made[6])
    assert dispatcher.deliveries.depth == 9
    assert row["status"] == "failed"
    assert row["error_message"].startswith("It cannot be delivered: ")
    assert await told(database, made[6]) == [("execution_failed", f"broken: {row['error_message']}")]
    assert await notified(database) == ["failure_mail", "failure_webhook"]
    paused = await look_up_cue(database, broken)
    assert paused["status"] == "paused"
    assert str(made[6]) in paused["pause_reason"]
    assert {line["cue"] for line in lines[1:]} == {"broken"}
    assert [line["event"] for line in lines] == ["claim_failed", "execution_quarantined", "cue_paused"]


async def test_what_another_dispatcher_only_looked_at_is_taken_soon_after(database: Database) -> None:
    await backlog(database, 100, user=await add_user(database), host="h:1")
    dispatcher, let_go, looked = dispatcher_on(database), trio.Event(), trio.Event()

    async def look(*, task_status: trio.TaskStatus[None]) -> None:
        async with database.transaction() as tx:
            await claim_deliveries(tx, daemon=2, headroom=headroom(per_host=10), times=TIMES, look_at=400)
            task_status.started()
            await let_go.wait()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            await nursery.start(look)
            on_beat(looked.set)
            async with alive(dispatcher.run):
                await looked.wait()
                missed = dispatcher.deliveries.depth
                let_go.set()
                await until(lambda: dispatcher.deliveries.depth == 64)

    assert missed == 0


async def test_whatever_it_holds_a_fallen_dispatcher_takes_back_what_it_has_no_answer_of(database: Database) -> None:
    for number in range(6):
        await backlog(database, 100, user=await add_user(database), host=f"h{number}:1")
    dispatcher = dispatcher_on(database, size=590)
    await one_turn(dispatcher.run)
    held = {delivery.execution_id for delivery in taken(dispatcher)}
    lost = await claim(database, among=headroom(400, per_host=400, per_user=400))

    with capture_logs() as lines:
        await one_turn(dispatcher.run)

    assert (len(held), len(lost)) == (384, 216)
    assert [line["executions"] for line in lines if line["event"] == "claims_recovered"] == [216]


async def hanging(daemon: RunningDaemon, hosts: list[Receiver]) -> None:
    """2,000 deliveries of one account to hosts that never answer, all under way that may be."""
    database = daemon.resources.database
    user = await add_user(database)
    for host in hosts:
        address = f"127.0.0.1:{host.port}"
        await backlog(database, 2000 // len(hosts), user=user, host=address, url=host.url())
    outbox_wakes = "select pg_notify('cueapi', '0 delivery')"
    await database.execute(outbox_wakes)


@pytest.mark.parametrize(("number", "most"), [(1, 64), (3, 128)], ids=["one host", "three hosts"])
async def test_while_one_account_s_hosts_hang_another_s_delivery_starts_at_once_and_no_bound_is_broken(
    settings: Settings, number: int, most: int
) -> None:
    brief = settings.model_copy(update={"shutdown_grace_seconds": 0.0, "webhook_timeout_seconds": 900.0})

    with trio.fail_after(HANG):
        async with (
            open_receiver(["hang"]) as first,
            open_receiver(["hang"]) as second,
            open_receiver(["hang"]) as third,
            open_receiver([200]) as answering,
            running(brief) as daemon,
        ):
            hosts = [first, second, third][:number]
            await hanging(daemon, hosts)
            await until(lambda: sum(len(host.requests) for host in hosts) >= most)
            api = await daemon.api.register()
            made = await api.post("/v1/cues", cue(answering.url()))
            lag = await lag_of(api, made["id"], answering)

            under_way = [len(host.requests) for host in hosts]

    assert lag < settings.poller_interval_seconds / 2
    assert sum(under_way) == most
    assert max(under_way) <= 64
