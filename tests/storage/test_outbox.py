"""Of any number of daemons who claim a delivery, one wins; and none claims more than there is room for."""

import json
from collections import Counter
from functools import partial
from typing import Any
from uuid import UUID

import pytest
import trio

from cueapi.domain.audit import SYSTEM
from cueapi.domain.ids import new_uuid7
from cueapi.storage import cue_deletion, daemons, fires, outbox
from cueapi.storage.claimed_deliveries import CueGone, to_delivery
from cueapi.storage.database import Database
from cueapi.storage.fires import ManualFire
from cueapi.storage.outbox import claim_deliveries
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
    queued,
    wait_for_locks,
)


async def fill(database: Database, cue_id: str, number: int, host: str | None = None) -> list[UUID]:
    """So many executions, the oldest first."""
    made = [await add_execution(database, cue_id, ready_at=ago(seconds=number - each)) for each in range(number)]
    if host is not None:
        await database.execute("update outbox set host = $1 where execution_id = any ($2)", host, made)
    return made


async def test_a_claim_begins_an_attempt_and_carries_what_the_request_needs(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(
        database,
        user,
        name="morning",
        callback_headers='{"X-Ours": "1"}',
        payload='{"a": 1}',
        verification="manual",
        timeout_seconds=7,
        outcome_deadline_seconds=90,
    )
    execution = await add_execution(database, cue_id)

    (delivery,) = await claim(database, daemon=42)

    row = await look_up(database, execution)
    (lease,) = await database.fetch(
        "select claimed_by, extract(epoch from lease_until - $1)::float8 as seconds from outbox",
        row["last_attempt_at"],
    )
    assert (row["status"], row["attempts"], row["claim"]) == ("delivering", 1, delivery.claim)
    assert row["started_at"] == row["last_attempt_at"]
    assert (lease["claimed_by"], lease["seconds"]) == (42, 67.0)
    assert (delivery.cue_name, delivery.headers, delivery.timeout) == ("morning", {"X-Ours": "1"}, 7.0)
    assert (delivery.verification.mode, delivery.outcome_deadline, delivery.attempt) == ("manual", 90.0, 1)
    assert json.loads(delivery.body)["payload"] == {"a": 1}
    assert delivery.secrets == ("whsec_" + "a" * 64,)


@pytest.mark.parametrize(("hours", "number"), [(1, 2), (-1, 1)], ids=["still signs", "has expired"])
async def test_a_rotated_secret_signs_beside_the_new_one_for_as_long_as_it_was_given(
    database: Database, hours: int, number: int
) -> None:
    until = ago(hours=-hours)
    user = await add_user(database, previous_webhook_secret="whsec_" + "b" * 64, previous_secret_until=until)
    await add_execution(database, await add_cue(database, user))

    (delivery,) = await claim(database)

    assert len(delivery.secrets) == number


async def test_an_attempt_goes_where_the_cue_points_at_the_moment_with_the_payload_of_its_execution(
    database: Database,
) -> None:
    cue_id = await add_cue(database, await add_user(database), payload='{"a": 1}')
    await add_execution(database, cue_id)
    await database.execute("update cues set callback_url = 'http://new/', payload = '{}' where id = $1", cue_id)

    (delivery,) = await claim(database)

    assert delivery.url == "http://new/"
    assert json.loads(delivery.body)["payload"] == {"a": 1}


async def test_what_is_not_due_or_already_claimed_is_left_alone(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database))
    due = await add_execution(database, cue_id)
    await add_execution(database, cue_id, ready_at=ago(seconds=-60))

    first, second = await claim(database), await claim(database)

    assert [delivery.execution_id for delivery in first] == [due]
    assert second == []


async def test_many_daemons_at_once_claim_each_delivery_once(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database))
    for _ in range(6):
        made = await fill(database, cue_id, 60)
        claimed: list[tuple[int, UUID]] = []

        async def race(daemon: int, claimed: list[tuple[int, UUID]] = claimed) -> None:
            while found := await claim(database, daemon=daemon, among=headroom(7)):
                claimed.extend((daemon, delivery.execution_id) for delivery in found)

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for daemon in range(4):
                    nursery.start_soon(race, daemon)

        holders = {row["execution_id"]: row["claimed_by"] for row in await database.fetch("select * from outbox")}
        assert sorted(execution for _, execution in claimed) == sorted(made)
        assert all(holders[execution] == daemon for daemon, execution in claimed)
        assert {(await look_up(database, execution))["attempts"] for execution in made} == {1}
        await database.execute("delete from outbox")


async def test_the_oldest_are_claimed_first_as_many_as_there_are_places(database: Database) -> None:
    made = await fill(database, await add_cue(database, await add_user(database)), 9)

    claimed = await claim(database, among=headroom(4))

    assert {delivery.execution_id for delivery in claimed} == set(made[:4])


async def test_no_host_and_no_account_gets_more_than_its_places_and_the_others_are_not_held_up(
    database: Database,
) -> None:
    loud, quiet = await add_user(database), await add_user(database)
    loud_cue, quiet_cue = await add_cue(database, loud), await add_cue(database, quiet)
    for host in ("a:80", "b:80", "c:80"):
        await fill(database, loud_cue, 20, host)
    await fill(database, quiet_cue, 2, "a:80")
    await fill(database, quiet_cue, 2, "d:80")

    hosts, users = {"a:80": 3}, {loud: 5}
    claimed = await claim(database, among=headroom(50, per_host=6, per_user=12, hosts=hosts, users=users))

    by_host = Counter(delivery.host for delivery in claimed)
    by_user = Counter(delivery.user_id for delivery in claimed)
    places = await database.fetch("select host, user_id from outbox where claimed_by is not null")
    assert len(claimed) == len(places)
    assert by_user[loud] <= 12 - 5
    assert by_user[quiet] >= 2
    assert all(Counter(row["host"] for row in places)[host] + hosts.get(host, 0) <= 6 for host in ["a:80", "b:80"])
    assert Counter(row["host"] for row in places)["d:80"] == 2
    assert sum(by_host.values()) == len(claimed)


FULL = {"host": {"hosts": {"127.0.0.1:9": 100}}, "account": {"users": None}}


@pytest.mark.parametrize("busy", FULL.values(), ids=FULL.keys())
async def test_where_a_host_or_an_account_is_full_nothing_of_it_is_looked_at(
    database: Database, busy: dict[str, Any]
) -> None:
    loud, quiet = await add_user(database), await add_user(database)
    await fill(database, await add_cue(database, loud), 12)
    other = await add_cue(database, quiet, callback_host="other:1")
    wanted = await add_execution(database, other)
    full = {name: value or {loud: 100} for name, value in busy.items()}

    # It would not see the row of the other one behind those that it may not take.
    claimed = await outbox.claim_deliveries(database, daemon=1, headroom=headroom(**full), times=TIMES, look_at=5)

    assert [row["id"] for row in claimed.rows] == [wanted]


async def test_a_claim_tells_how_many_rows_it_has_seen(database: Database) -> None:
    await fill(database, await add_cue(database, await add_user(database)), 12)

    claimed = await outbox.claim_deliveries(database, daemon=1, headroom=headroom(per_host=3), times=TIMES, look_at=10)

    assert (len(claimed.rows), claimed.examined, claimed.skipped_locked) == (3, 10, False)


async def test_a_claim_tells_that_it_has_passed_over_what_another_daemon_looks_at(database: Database) -> None:
    made = await fill(database, await add_cue(database, await add_user(database)), 12)
    # A first attempt counts for the month, and there the second daemon would wait.
    await database.execute("update executions set started_at = now()")
    ask = partial(outbox.claim_deliveries, headroom=headroom(per_host=3), times=TIMES, look_at=10)

    async with database.transaction() as tx:
        first = await ask(tx, daemon=1)
        second = await ask(database, daemon=2)
    third = await ask(database, daemon=2)

    taken = [[row["id"] for row in claimed.rows] for claimed in (first, second, third)]
    assert taken == [made[:3], made[10:], made[3:6]]
    assert [claimed.skipped_locked for claimed in (first, second, third)] == [False, True, False]


async def test_rows_without_their_execution_delay_no_others(database: Database) -> None:
    made = await fill(database, await add_cue(database, await add_user(database)), 5)
    await database.execute("delete from executions where id = any ($1)", made[:3])

    tries = [
        await outbox.claim_deliveries(database, daemon=1, headroom=headroom(2), times=TIMES, look_at=10)
        for _ in range(3)
    ]

    assert [claimed.orphans for claimed in tries] == [2, 1, 0]
    assert [row["id"] for claimed in tries for row in claimed.rows] == made[3:]
    assert len(await queued(database)) == 2


async def test_each_execution_counts_once_for_the_month_of_its_account(database: Database) -> None:
    first, second = await add_user(database), await add_user(database)
    await fill(database, await add_cue(database, first), 3)
    await fill(database, await add_cue(database, second), 2)

    await claim(database)

    used = await database.fetch("select user_id, executions from usage order by user_id")
    assert [tuple(row) for row in used] == [(first, 3), (second, 2)]


async def test_deleting_a_cue_while_it_is_claimed_loses_no_claim_and_leaves_nothing_waiting(
    database: Database,
) -> None:
    user = await add_user(database)
    for _ in range(8):
        cue_id = await add_cue(database, user)
        await fill(database, cue_id, 10)
        claimed: list[UUID] = []

        async def take(claimed: list[UUID] = claimed) -> None:
            claimed.extend(delivery.execution_id for delivery in await claim(database))

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(take)
                nursery.start_soon(
                    lambda cue_id=cue_id: cue_deletion.delete(database, cue_ids=[cue_id], user=user, act=SYSTEM)
                )

        left = await queued(database)
        assert sorted(left) == sorted(claimed)
        await database.execute("delete from outbox")


async def test_what_is_fired_by_hand_for_later_waits_in_the_queue_until_then(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user)
    later, now = new_uuid7(), new_uuid7()
    await fires.fire(database, cue_id=cue_id, user=user, manual_fire=ManualFire(later, at=ago(hours=-1)), monthly=10**9)
    await fires.fire(database, cue_id=cue_id, user=user, manual_fire=ManualFire(now), monthly=10**9)

    claimed = await claim(database)

    assert [delivery.execution_id for delivery in claimed] == [now]
    assert set(await queued(database)) == {now, later}


async def test_what_was_fired_behind_a_delete_s_back_is_not_delivered(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database))
    await add_execution(database, cue_id)
    await database.execute("update cues set deleted_at = now() where id = $1", cue_id)

    (row,) = (await claim_deliveries(database, daemon=1, headroom=headroom(), times=TIMES, look_at=10)).rows

    with pytest.raises(CueGone):
        to_delivery(row, times=TIMES, claimed_at=0.0, decrypt=VAULT.decrypt, report_url=TOKENS.url)


async def test_a_firing_that_a_delete_waits_for_is_called_off_with_the_others(database: Database) -> None:
    user = await add_user(database)
    for _ in range(10):
        cue_id = await add_cue(database, user)
        async with trio.open_nursery() as nursery:
            async with database.transaction() as tx:
                await fires.fire(tx, cue_id=cue_id, user=user, manual_fire=ManualFire(new_uuid7()), monthly=10**9)
                nursery.start_soon(partial(cue_deletion.delete, database, cue_ids=[cue_id], user=user, act=SYSTEM))
                await wait_for_locks(database)

        assert await database.fetch("select from outbox where cue_id = $1", cue_id) == []


async def test_a_daemon_that_was_seen_without_its_lock_claims_nothing_until_it_has_it_back(database: Database) -> None:
    made = await fill(database, await add_cue(database, await add_user(database)), 1)
    (daemon,) = await database.fetch("insert into daemons (instance) values ('here') returning number")
    ask = partial(
        outbox.claim_deliveries, database, daemon=daemon["number"], headroom=headroom(), times=TIMES, look_at=10
    )

    await daemons.sweep_dead(database)
    without = await ask()
    await daemons.resume(database, daemon["number"])
    back = await ask()

    assert (without.rows, [row["id"] for row in back.rows]) == ([], made)
