"""What daemons tell each other, how seldom, and how long a daemon keeps its number."""

from datetime import UTC, datetime, timedelta
from functools import partial
from math import inf

import pytest
import trio
from attrs import define, field
from structlog.testing import capture_logs

from cueapi.api.http.auth import LIFETIME
from cueapi.settings import Settings
from cueapi.storage import daemons
from cueapi.storage.database import Database, StorageRefused, StorageUnavailable, open_listener
from cueapi.wakeups.hub import WakeupHub
from cueapi.wakeups.identity import DaemonId
from cueapi.wakeups.notify import WakeupRelay
from tests.conftest import Api, running
from tests.delivery.siblings import Counting, Run, alive, gone, quiet_hub, until
from tests.moments import moment_of, post_soon
from tests.process import HANG
from tests.receiver import open_receiver
from tests.storage.rows import ago


@define(eq=False)
class Daemon:
    """A daemon that only listens and announces, and notes what it is told."""

    dsn: str
    database: Database
    identity: DaemonId = field(factory=lambda: DaemonId("here"))
    hub: WakeupHub = field(factory=quiet_hub)
    relay: WakeupRelay = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.relay = WakeupRelay(self.dsn, self.database, self.identity, self.hub)

    @property
    def work(self) -> list[int]:
        """Whose waiting calls were woken."""
        return self.hub.long_poll.woken

    @property
    def accounts(self) -> list[int]:
        """Which accounts were to be forgotten."""
        return self.hub.accounts.invalidated

    async def pass_first_ticks(self) -> None:
        """Let the ticks pass that its start has woken."""
        for ticks in (self.hub.polls, self.hub.dispatches):
            ticks.wake()
            await ticks.wait()


@pytest.fixture
def pair(database_url: str, database: Database) -> tuple[Daemon, Daemon]:
    first, second = [Daemon(database_url, Counting(database.pool)) for _ in range(2)]
    second.identity.instance = "there"
    return first, second


async def cut_off(database: Database) -> None:
    """Whoever listens to the channel loses the connection."""
    await database.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid in (select pid from pg_locks where locktype = 'advisory')"
    )


async def run_until_cut_off(run: Run, *, task_status: trio.TaskStatus[None]) -> None:
    """A sibling's life that ends with the connection, and takes nobody with it."""
    try:
        await run(task_status=task_status)
    except* (StorageUnavailable, StorageRefused):
        pass


async def test_all_that_is_said_within_twenty_milliseconds_is_one_notify(pair: tuple[Daemon, Daemon]) -> None:
    ours, theirs = pair

    with trio.fail_after(10):
        async with alive(ours.relay.run, theirs.relay.run):
            for number in range(50):
                ours.hub.work_ready(number)
                ours.hub.delivery_ready()
                ours.hub.work_ready(7)
            await until(lambda: len(theirs.work) >= 50)

    assert sorted(theirs.work) == list(range(50))
    assert len(ours.database.said) == 1


async def test_more_than_a_notify_carries_is_cut_into_several(pair: tuple[Daemon, Daemon]) -> None:
    ours, theirs = pair

    with trio.fail_after(10):
        async with alive(ours.relay.run, theirs.relay.run):
            for number in range(1_000):
                ours.hub.account_changed(10**18 + number)
            await until(lambda: len(theirs.accounts) >= 1_000)

    assert len(set(theirs.accounts)) == 1_000
    assert 3 <= len(ours.database.said) <= 5


async def test_there_are_never_two_notifies_within_twenty_milliseconds(pair: tuple[Daemon, Daemon]) -> None:
    ours, theirs = pair

    with trio.fail_after(10):
        async with alive(ours.relay.run, theirs.relay.run):
            begun = trio.current_time()
            while len(ours.database.said) < 2 or trio.current_time() < begun + 0.3:
                ours.hub.delivery_ready()
                await trio.sleep(0.005)
            lasted = trio.current_time() - begun

    assert 2 <= len(ours.database.said) <= lasted / 0.02 + 1


async def test_the_other_hears_each_topic_and_the_speaker_heeds_itself_at_once_and_only_once(
    pair: tuple[Daemon, Daemon],
) -> None:
    ours, theirs = pair

    with trio.fail_after(HANG):
        async with alive(ours.relay.run, theirs.relay.run):
            await ours.pass_first_ticks()
            await theirs.pass_first_ticks()
            begun = trio.current_time()
            ours.hub.work_ready(5)
            ours.hub.account_changed(511)
            ours.hub.delivery_ready()
            ours.hub.cue_written(ago(seconds=-0.3))
            ours.hub.cue_written(ago(seconds=-60))
            ours.hub.cue_written(None)
            heard = (list(ours.work), list(ours.accounts))
            await theirs.hub.dispatches.wait()
            await theirs.hub.polls.wait()
            on_time = trio.current_time() - begun
            await until(lambda: theirs.accounts)
            await trio.sleep(0.1)

    assert heard == (ours.work, ours.accounts) == ([5], [511])
    assert (theirs.work, theirs.accounts) == ([5], [511])
    assert 0.1 < on_time < 30  # of 0.3 and 60 seconds the sooner


@pytest.mark.parametrize("strange", ["something:else", "work:all", "cue:soon", "cue:", "account:1:2", "", "work"])
async def test_what_nobody_understands_is_passed_over(
    pair: tuple[Daemon, Daemon], database: Database, strange: str
) -> None:
    ours, _ = pair

    with trio.fail_after(10), capture_logs() as lines:
        async with alive(ours.relay.run):
            await database.execute("select pg_notify('cueapi', $1)", f"0 {strange} work:9")
            await until(lambda: ours.work)

    assert ours.work == [9]
    assert "wakeup_unknown" in {line["event"] for line in lines}


async def test_of_two_times_that_could_not_be_told_the_earlier_one_is_told_later(
    pair: tuple[Daemon, Daemon], postgres_url: str, database_url: str
) -> None:
    ours, theirs = pair
    soon, later = [datetime.now(UTC) + timedelta(seconds=seconds) for seconds in (900, 1800)]

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            await nursery.start(run_until_cut_off, ours.relay.run)
            async with gone(postgres_url, database_url):
                ours.hub.cue_written(soon)
        ours.hub.cue_written(later)
        async with alive(theirs.relay.run):
            await theirs.pass_first_ticks()
            async with alive(ours.relay.run):
                await until(lambda: theirs.hub.polls._next_wake < inf)
            due = theirs.hub.polls._next_wake - trio.current_time()

    assert 800 < due < 1000


async def test_a_daemon_that_was_cut_off_keeps_its_number_and_trusts_nothing_meanwhile(
    pair: tuple[Daemon, Daemon], database: Database
) -> None:
    ours, _ = pair

    with trio.fail_after(20):
        numbers, claimed_as = [], []
        for _ in range(3):
            with pytest.RaisesGroup(StorageUnavailable, allow_unwrapped=True, flatten_subgroups=True):
                async with alive(ours.relay.run):
                    numbers.append(ours.identity.number)
                    await cut_off(database)
                    await trio.sleep(5)
            claimed_as.append(ours.identity.claim_number)
        async with alive(ours.relay.run):
            numbers.append(ours.identity.number)

    assert len(set(numbers)) == 1
    assert None not in numbers
    assert claimed_as == [None] * 3
    assert ours.hub.accounts.valid == [True, False] * 4


async def test_a_daemon_that_was_given_up_meanwhile_comes_back_under_a_new_number(
    pair: tuple[Daemon, Daemon], database: Database
) -> None:
    ours, _ = pair

    with trio.fail_after(20):
        async with alive(ours.relay.run):
            former = ours.identity.number
        await daemons.sweep_dead(database)
        await database.execute("update daemons set free_since = free_since - interval '6 seconds'")
        async with alive(ours.relay.run):
            number = ours.identity.number

    assert number != former


async def test_what_was_said_while_postgresql_was_away_is_told_when_it_is_back(
    pair: tuple[Daemon, Daemon], postgres_url: str, database_url: str
) -> None:
    ours, theirs = pair

    with trio.fail_after(30):
        async with gone(postgres_url, database_url):
            with pytest.raises(StorageUnavailable):
                await ours.relay.run(task_status=trio.TASK_STATUS_IGNORED)
            ours.hub.account_changed(1)
            ours.hub.work_ready(3)
        async with alive(theirs.relay.run, ours.relay.run):
            await until(lambda: theirs.accounts and theirs.work)

    assert (theirs.accounts, theirs.work) == ([1], [3])


async def test_what_could_not_be_told_is_told_by_the_next_life(
    pair: tuple[Daemon, Daemon], postgres_url: str, database_url: str
) -> None:
    ours, theirs = pair

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            await nursery.start(run_until_cut_off, ours.relay.run)
            async with gone(postgres_url, database_url):
                ours.hub.account_changed(1)
        ours.hub.work_ready(3)
        async with alive(theirs.relay.run, ours.relay.run):
            await until(lambda: theirs.accounts and theirs.work)

    assert (theirs.accounts, theirs.work) == ([1], [3])


async def test_the_listener_holds_the_lock_of_its_number(
    pair: tuple[Daemon, Daemon], database: Database, database_url: str
) -> None:
    ours, _ = pair

    with trio.fail_after(10):
        async with open_listener(database_url, "other", heartbeat=5.0) as (_, stranger):
            async with alive(ours.relay.run):
                number = ours.identity.number or 0
                during = await daemons.acquire_lock(stranger, number)
            after = await daemons.acquire_lock(stranger, number)

    assert (during, after) == (False, True)


async def is_refused(api: Api) -> bool:
    return (await api.ask("GET", "/v1/auth/me")).status_code == 401


async def test_a_key_that_was_rotated_at_one_daemon_is_dead_at_the_other(settings: Settings) -> None:
    with trio.fail_after(60):
        async with running(settings) as first, running(settings) as second:
            here = await first.api.register()
            there = Api(second.client, here.key)
            await there.get("/v1/auth/me")
            await here.post("/v1/auth/key/regenerate", X_Confirm_Destructive="true")
            begun = trio.current_time()
            await until(partial(is_refused, there))
            lasted = trio.current_time() - begun

    assert lasted < LIFETIME / 2  # for so long the other one would remember it


async def test_a_cue_that_is_written_at_one_daemon_is_fired_on_time_whoever_polls(settings: Settings) -> None:
    with trio.fail_after(HANG):
        async with open_receiver([200]) as receiver, running(settings) as first, running(settings):
            api = await first.api.register()
            answer, body = await post_soon(api, 1.5, receiver.url())
            (request,) = await receiver.wait_for(1)
            await trio.sleep(0.3)

    assert answer.status_code == 201
    assert 0 <= request.at - moment_of(body).timestamp() < settings.poller_interval_seconds / 2
    assert len(receiver.requests) == 1
