"""Of a host that is full, the next slot is for an account that holds none."""

import pytest
import trio
from attrs import evolve

from cueapi.delivery.dispatcher import Dispatcher
from cueapi.delivery.full_hosts import LAST_PATIENCE, PATIENCE, interval_after
from cueapi.domain.attempt import Delivery
from cueapi.settings import Settings
from cueapi.storage.database import Database
from cueapi.storage.outbox import kept_waiting, waiting_accounts
from tests.conftest import cue, running
from tests.delivery.siblings import one_turn
from tests.delivery.test_dispatcher import backlog, dispatcher_on, taken
from tests.process import HANG
from tests.receiver import open_receiver
from tests.storage.rows import add_cue, add_execution, add_user, ago, headroom

HOST = "shared:1"
FULL = headroom(per_host=4, hosts={HOST: 4})


async def full_host(database: Database, *, accounts: int = 1) -> tuple[Dispatcher, list[Delivery]]:
    """A dispatcher with a host whose four slots are held by so many accounts, each of which has 500 that wait."""
    dispatcher, users = (
        dispatcher_on(database, size=64, per_host=4),
        [await add_user(database) for _ in range(accounts)],
    )
    for user in users:
        await backlog(database, 4 // accounts, user=user, host=HOST)
    await one_turn(dispatcher.run)
    held = taken(dispatcher)
    assert len(held) == 4
    for user in users:
        await backlog(database, 500, user=user, host=HOST)
    await database.execute("update outbox set ready_at = ready_at - interval '1 hour' where claimed_by is null")
    return dispatcher, held


async def look(dispatcher: Dispatcher) -> None:
    """A turn in which it looks again."""
    dispatcher.full_hosts.next_look = trio.current_time()
    await one_turn(dispatcher.run)


async def newcomer(database: Database, *, waited: float, user: int | None = None) -> int:
    """An account whose one delivery waits behind all others, since so many seconds."""
    user = await add_user(database) if user is None else user
    await add_execution(database, await add_cue(database, user, callback_host=HOST), ready_at=ago(seconds=waited))
    return user


def interrupted(dispatcher: Dispatcher, held: list[Delivery]) -> list[Delivery]:
    return [one for one in held if dispatcher.capacity.scope(one).cancel_called]


async def test_the_next_slot_of_a_full_host_is_for_the_account_that_holds_none_whatever_waits_in_front(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cueapi.delivery.full_hosts.LAST_PATIENCE", 600.0)  # what follows then is the next test's
    dispatcher, held = await full_host(database)
    user = await newcomer(database, waited=PATIENCE + 0.1)
    await look(dispatcher)
    before = taken(dispatcher)

    dispatcher.capacity.release(held[0])
    await one_turn(dispatcher.run)

    assert before == []
    assert [one.user_id for one in taken(dispatcher)] == [user]
    assert interrupted(dispatcher, held[1:]) == []


async def test_who_has_more_than_a_share_of_a_full_host_gives_way_to_who_has_waited_for_two_seconds(
    database: Database,
) -> None:
    dispatcher, held = await full_host(database)
    await newcomer(database, waited=LAST_PATIENCE + 0.1)

    await look(dispatcher)

    assert len(interrupted(dispatcher, held)) == 1


async def test_where_each_holds_one_slot_of_a_full_host_none_gives_way(database: Database) -> None:
    dispatcher, held = await full_host(database, accounts=4)
    user = await newcomer(database, waited=600)
    await look(dispatcher)

    assert interrupted(dispatcher, held) == []
    dispatcher.capacity.release(held[0])
    await one_turn(dispatcher.run)
    assert [one.user_id for one in taken(dispatcher)] == [user]


async def test_an_account_that_holds_a_slot_elsewhere_waits_in_its_order(database: Database) -> None:
    dispatcher, held = await full_host(database)
    await backlog(database, 1, user=(user := await add_user(database)), host="other:1")
    await one_turn(dispatcher.run)
    assert [one.user_id for one in taken(dispatcher)] == [user]
    await newcomer(database, waited=600, user=user)

    await look(dispatcher)
    dispatcher.capacity.release(held[0])
    await one_turn(dispatcher.run)

    assert [one.user_id for one in taken(dispatcher)] == [held[0].user_id]
    assert interrupted(dispatcher, held[1:]) == []


async def test_a_turn_that_another_daemon_has_taken_is_forgotten(database: Database) -> None:
    dispatcher, held = await full_host(database)
    user = await newcomer(database, waited=PATIENCE + 0.1)
    await look(dispatcher)
    await database.execute("delete from outbox where user_id = $1", user)

    dispatcher.capacity.release(held[0])
    await one_turn(dispatcher.run)

    assert [one.user_id for one in taken(dispatcher)] == [held[0].user_id]


@pytest.mark.parametrize(
    "why",
    [
        "update outbox set ready_at = now() where user_id = $1",
        "update outbox set waits_until = now() + interval '1 hour' where user_id = $1",
        "insert into holds (user_id, mode, reason, actor) values ($1, 'everything', 'x', '{}')",
        "with h as (insert into holds (user_id, mode, reason, actor) values ($1, 'fires', 'x', '{}'))"
        " update outbox set deferred = true where user_id = $1",
        "insert into targets (user_id, host, state, reason, attempts, failures, next_probe_at)"
        " values ($1, 'shared:1', 'open', 'x', 9, 9, now())",
    ],
    ids=[
        "it has just come",
        "it waits for its target",
        "its account is held",
        "it is held until the release",
        "its target is down",
    ],
)
async def test_there_is_no_turn_for_what_may_not_start(database: Database, why: str) -> None:
    await add_user(database)
    user = await newcomer(database, waited=600)
    before = await kept_waiting(database, FULL, PATIENCE)

    await database.execute(why, user)

    assert [one.host for one in before] == [HOST]
    assert await kept_waiting(database, FULL, PATIENCE) == []


@pytest.mark.parametrize("mode", ["fires", "everything"])
async def test_what_no_hold_stops_has_its_turn(database: Database, mode: str) -> None:
    await add_user(database)
    user = await newcomer(database, waited=600)
    await database.execute("insert into holds (user_id, mode, actor) values ($1, $2, '{}')", user, mode)
    await database.execute("update outbox set forced = $2 where user_id = $1", user, mode == "everything")

    assert [one.host for one in await kept_waiting(database, FULL, PATIENCE)] == [HOST]
    assert await waiting_accounts(database, evolve(FULL, hosts={}), PATIENCE) == 1


async def test_where_there_is_one_account_nobody_is_looked_for(database: Database) -> None:
    user = await newcomer(database, waited=600)
    alone = await kept_waiting(database, FULL, PATIENCE)
    await add_user(database)

    assert alone == []
    assert [one.host for one in await kept_waiting(database, evolve(FULL, users={user + 1: 4}), PATIENCE)] == [HOST]


@pytest.mark.parametrize(("took", "interval"), [(0.0, 0.5), (0.025, 0.5), (0.05, 1.0), (60.0, 1.5)])
def test_looks_that_are_slow_are_seldom_and_still_in_time(took: float, interval: float) -> None:
    assert interval_after(took) == pytest.approx(interval)


async def test_however_many_slots_of_its_host_another_account_holds_one_that_holds_none_starts_before_any_of_them_ends(
    settings: Settings,
) -> None:
    narrow = settings.model_copy(update={"host_concurrency": 4, "shutdown_grace_seconds": 0.0})
    with trio.fail_after(HANG):
        async with open_receiver(["hang"]) as hanging, running(narrow) as daemon:
            database, host = daemon.resources.database, f"127.0.0.1:{hanging.port}"
            loud = await backlog(database, 900, user=await add_user(database), host=host, url=hanging.url())
            await database.execute("update cues set timeout_seconds = 900")
            await database.execute("select pg_notify('cueapi', '0 delivery')")
            await hanging.wait_for(4)
            api = await daemon.api.register()
            made = await api.post("/v1/cues", cue(hanging.url()))
            await api.execution((await api.post(f"/v1/cues/{made['id']}/fire"))["id"], "delivering")
            begun = "select attempts from executions where cue_id = $1 and attempts > 0"
            # The one that gave way is no attempt any more.
            while [row["attempts"] for row in await database.fetch(begun, loud)] != [1, 1, 1]:
                await trio.sleep(0.05)
            ended = await database.fetch("select outcome from attempts")

    assert ended == []
