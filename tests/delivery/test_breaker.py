"""The circuit breaker: what is for a host that is down waits, uses no attempt, and goes on when one probe succeeds."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
import trio
from attrs import evolve, field, frozen
from structlog.testing import capture_logs

from cueapi.delivery.breaker import Breaker
from cueapi.delivery.held_targets import HeldTargets
from cueapi.delivery.rescue import Rescue, RescueTimeouts
from cueapi.delivery.target_claims import TargetClaims
from cueapi.delivery.target_watch import TargetWatch
from cueapi.domain.attempt import Answered
from cueapi.domain.breaker import BreakerRules
from cueapi.metrics import Metrics
from cueapi.storage import targets
from cueapi.storage.database import Database, Row, StorageUnavailable, T, Transaction, Unstorable
from cueapi.storage.targets import TargetKey, Trip
from supervisor import Periodic
from tests.delivery.deliveries import delivery_of
from tests.delivery.siblings import one_turn, quiet_hub, until
from tests.delivery.target_scene import PER_HOST, Host, delivering, open_host
from tests.delivery.test_dispatcher import BACKLOG, dispatcher_on
from tests.storage.rows import TIMES, add_cue, add_execution, add_user, claim, look_up

TRIP = Trip("it answered 503", 12, 11)


async def backlog(database: Database, host: Host, number: int, *, probe_in: float | None = None) -> TargetKey:
    """
    So many deliveries of one cue wait for *host*; a failed attempt is followed by the next one at once.

    With *probe_in* the host has been found to be down before.
    """
    user, address = await add_user(database), f"127.0.0.1:{host.port}"
    cue_id = await add_cue(
        database, user, callback_url=host.url(), callback_host=address, backoff_minutes=[0], max_attempts=11
    )
    if probe_in is not None:
        await targets.open_target(database, TargetKey(user, address), TRIP, pause=probe_in)
    await database.execute(BACKLOG, cue_id, user, address, number)
    return TargetKey(user, address)


async def target_row(database: Database, target: TargetKey) -> Row | None:
    return await database.fetch_one("select * from targets where user_id = $1 and host = $2", *target)


async def state_of(database: Database, target: TargetKey) -> str:
    row = await target_row(database, target)
    return "closed" if row is None else str(row["state"])


async def is_in(database: Database, target: TargetKey, state: str) -> bool:
    return await state_of(database, target) == state


async def count(database: Database, condition: str) -> int:
    """How many rows of the outbox meet *condition*."""
    (row,) = await database.fetch(f"select count(*) as n from outbox where {condition}")
    return int(row["n"])


async def all_wait(database: Database, number: int) -> bool:
    return await count(database, "waits_until is not null and claimed_by is null") >= number - 1


async def test_what_is_for_a_host_that_is_down_waits_and_goes_on_in_the_order_of_its_time(database: Database) -> None:
    with trio.fail_after(60):
        async with open_host(503) as host, delivering(database):
            target = await backlog(database, host, 300)
            await until(partial(all_wait, database, 300))
            await until(partial(has_opened, database, target, 3))
            opens, asked = await has_opened(database, target, 0), len(host.requests)
            (waited,) = await database.fetch("select count(*) as n from executions where attempts = 0")
            host.script = (0.005,)
            await until(partial(is_done, database, 300))

    # Ten that failed, as many as were under way then, and the probes.
    assert asked <= 10 + PER_HOST + opens + 1
    assert waited["n"] >= 300 - asked
    assert host.most <= PER_HOST
    rows = await database.fetch("select last_attempt_at from executions where attempts = 1 order by ready_at")
    assert len(rows) >= 300 - asked
    begun = [row["last_attempt_at"] for row in rows]
    assert begun == sorted(begun)
    assert await count(database, "true") == 0


async def has_opened(database: Database, target: TargetKey, times: int) -> int:
    """How often it has opened in a row, where that is *times* or more."""
    row = await target_row(database, target)
    return int(row["opens"]) if row is not None and row["opens"] >= times else 0


async def is_done(database: Database, number: int) -> bool:
    (row,) = await database.fetch("select count(*) as n from executions where status = 'success'")
    return int(row["n"]) == number


async def test_a_target_that_has_closed_begins_with_one_place(database: Database) -> None:
    rules = BreakerRules(first_pause=0.1, longest_pause=800.0, doubling=60.0)
    with trio.fail_after(60):
        async with open_host(0.05) as host, delivering(database, rules=rules):
            await backlog(database, host, 20, probe_in=0.1)
            await until(partial(is_done, database, 20))

    assert host.most == 1


@pytest.mark.parametrize("answer", [500, (200, b'{"success": false}'), (429, b"", {"Retry-After": "0"})], ids=str)
async def test_a_handler_that_answers_never_opens_its_host(database: Database, answer: Any) -> None:
    with trio.fail_after(60):
        async with open_host(answer) as host, delivering(database):
            target = await backlog(database, host, 4)
            await host.wait_for(40)

    assert await target_row(database, target) is None


async def test_another_account_s_deliveries_to_the_same_host_are_not_held(database: Database) -> None:
    with trio.fail_after(60):
        async with open_host(200) as host, delivering(database):
            await backlog(database, host, 5, probe_in=800.0)
            await backlog(database, host, 5)
            await until(partial(is_done, database, 5))
            await until(partial(all_wait, database, 5))

    assert len(host.requests) == 5


async def test_of_two_daemons_one_probes(database: Database) -> None:
    rules = BreakerRules(first_pause=0.2, longest_pause=3600.0)
    with trio.fail_after(60):
        async with open_host("hang") as host:
            target = await backlog(database, host, 20, probe_in=0.2)
            async with delivering(database, rules=rules), delivering(database, number=2, rules=rules):
                await host.wait_for(1)
                seen = []
                for _ in range(15):
                    seen.append((await is_in(database, target, "half_open"), len(host.requests)))
                    await trio.sleep(0.02)

    assert set(seen) == {(True, 1)}


async def waiting(database: Database, number: int = 3) -> TargetKey:
    """An open target whose probe is due, and for which so many deliveries wait."""
    user = await add_user(database)
    cue_id = await add_cue(database, user)
    for _ in range(number):
        await add_execution(database, cue_id)
    target = TargetKey(user, "127.0.0.1:9")
    await targets.open_target(database, target, TRIP, pause=0.0)
    assert await claim(database) == []
    return target


def claims_of(database: Database, number: int) -> TargetClaims:
    """What probes for the daemon of *number*."""
    dispatcher = dispatcher_on(database)
    return TargetClaims(database, dispatcher.capacity, TIMES, dispatcher.held, dispatcher.target_claims.quarantine)


async def test_the_probe_of_a_daemon_that_is_gone_is_freed_with_its_claims(database: Database) -> None:
    target = await waiting(database)
    (probe,), opens = await claims_of(database, 1).probe(1, target)
    assert (opens, await state_of(database, target)) == (1, "half_open")
    assert await claims_of(database, 2).probe(2, target) == ([], 0)

    rescue = Rescue(database, Periodic(60.0), quiet_hub(), RescueTimeouts(180.0, 900.0), Metrics())
    await one_turn(rescue.run)

    assert await claim(database, daemon=2) == []
    (second,), _ = await claims_of(database, 2).probe(2, target)
    assert (await look_up(database, probe.id))["attempts"] == 0
    assert (await look_up(database, second.id))["claim"] == second.claim


async def test_a_probe_takes_what_has_waited_longest_and_its_claim_alone_moves_the_target(database: Database) -> None:
    target = await waiting(database)
    (oldest,) = await database.fetch("select execution_id from outbox order by ready_at limit 1")
    (probe,), _ = await claims_of(database, 1).probe(1, target)

    assert probe.id == oldest["execution_id"]
    assert not await targets.close_target(database, target, UUID(int=1), slow_start=1.0)
    assert not await targets.reopen(database, target, UUID(int=1), failed="no", pause=1.0)
    assert await targets.close_target(database, target, probe.claim, slow_start=1.0)
    assert not await targets.close_target(database, target, probe.claim, slow_start=1.0)


async def test_nothing_is_probed_where_nothing_waits(database: Database) -> None:
    target = TargetKey(await add_user(database), "127.0.0.1:9")
    await targets.open_target(database, target, TRIP, pause=0.0)

    assert await claims_of(database, 1).probe(1, target) == ([], 0)
    assert await state_of(database, target) == "open"


async def test_an_incident_opens_with_a_target_and_ends_with_the_probe_that_closes_it(database: Database) -> None:
    target = await waiting(database)
    (opened,) = await database.fetch("select kind, subject, severity, title, resolved_at from incidents")
    (probe,), _ = await claims_of(database, 1).probe(1, target)
    await targets.close_target(database, target, probe.claim, slow_start=1.0)
    (closed,) = await database.fetch("select resolved_at, resolved_by_execution_id from incidents")

    assert tuple(opened) == (
        "target_down", target.host, "critical", "127.0.0.1:9 is down: it answered 503", None,
    )  # fmt: skip
    assert closed["resolved_at"] is not None
    assert closed["resolved_by_execution_id"] == probe.id


async def test_the_audit_says_when_a_target_opened_and_closed(database: Database) -> None:
    target = await waiting(database)
    (probe,), _ = await claims_of(database, 1).probe(1, target)
    await targets.close_target(database, target, probe.claim, slow_start=1.0)

    rows = await database.fetch("select action, actor_kind, subject_kind, subject_id from audit order by id")
    assert [tuple(row) for row in rows] == [
        ("target.opened", "system", "target", target.host),
        ("target.closed", "system", "target", target.host),
    ]


async def test_what_has_waited_for_as_long_as_it_may_has_a_failed_attempt(database: Database) -> None:
    target = await waiting(database)
    await database.execute(
        "update outbox set waits_until = now() where execution_id in"
        " (select execution_id from outbox order by ready_at limit 1)"
    )
    (late,) = await database.fetch("select execution_id from outbox where waits_until <= now()")
    await database.execute("update targets set next_probe_at = now() + interval '1 hour'")

    with capture_logs() as lines:
        await look(database)

    shown = await look_up(database, late["execution_id"])
    assert (shown["status"], shown["attempts"]) == ("retrying", 1)
    assert shown["error_message"].startswith("target down since ")
    (logged,) = await database.fetch("select outcome, error from attempts")
    assert (logged["outcome"], logged["error"]) == ("failed", shown["error_message"])
    assert await count(database, "waits_until is not null") == 2
    assert await count(database, "waits_until is null and claimed_by is null and ready_at > now()") == 1
    (used,) = await database.fetch("select executions from usage")
    assert used["executions"] == 1
    assert [line["executions"] for line in lines if line["event"] == "waits_ended"] == [1]
    assert target.host in shown["error_message"]


async def look(database: Database, *, on: bool = True) -> None:
    """One look after the targets."""
    hub = quiet_hub()
    await one_turn(TargetWatch(database, hub, Breaker(database, hub, HeldTargets(PER_HOST), on), Metrics()).run)


async def test_the_last_wait_that_ends_ends_its_execution(database: Database) -> None:
    await waiting(database, 1)
    await database.execute("update cues set max_attempts = 1")
    await database.execute("update outbox set waits_until = now()")

    await look(database)

    (row,) = await database.fetch("select status, error_message from executions")
    assert row["status"] == "failed"
    assert row["error_message"].startswith("target down since ")
    assert await count(database, "true") == 0


async def test_what_waited_for_a_target_whose_slow_start_is_over_may_be_claimed_again(database: Database) -> None:
    await waiting(database)
    await database.execute("update targets set state = 'closed', held_until = now()")

    await look(database)

    assert len(await claim(database)) == 3


async def test_a_target_that_was_closed_by_a_clock_ahead_is_held_no_longer(database: Database) -> None:
    await waiting(database)
    ahead = timedelta(hours=1)
    await database.execute("update targets set state = 'closed', since = now() + $1, held_until = now() + $1", ahead)

    await look(database)

    assert len(await claim(database)) == 3


async def test_a_probe_that_was_set_by_a_clock_ahead_is_made_now(database: Database) -> None:
    target = await waiting(database)
    await database.execute("update targets set next_probe_at = now() + interval '1 hour'")

    rows, _ = await claims_of(database, 1).probe(1, target)

    assert len(rows) == 1


async def test_without_a_breaker_every_target_is_closed_and_none_opens(database: Database) -> None:
    with trio.fail_after(60):
        await waiting(database)
        await look(database, on=False)
        assert len(await claim(database)) == 3
        async with open_host(503) as host, delivering(database, on=False):
            target = await backlog(database, host, 4)
            await host.wait_for(40)

    assert await target_row(database, target) is None


async def test_the_incident_and_the_audit_of_a_target_say_that_the_breaker_was_switched_off(database: Database) -> None:
    target = await waiting(database)
    await claims_of(database, 1).probe(1, target)

    for _ in range(2):
        await look(database, on=False)

    (incident,) = await database.fetch("select resolution from incidents where resolved_at is not null")
    rows = await database.fetch(
        "select actor_kind, subject_id, changes, reason from audit where action = 'target.closed'"
    )
    assert incident["resolution"] == "the breaker was switched off"
    assert [tuple(row) for row in rows] == [
        (
            "system", target.host, '[{"path" : "state", "from" : "half_open", "to" : "closed"}]',
            "the breaker was switched off",
        )
    ]  # fmt: skip


@frozen
class Refusing(Database):
    """A database that does nothing: it is away, or refuses the row."""

    error: Exception = field(kw_only=True)

    async def _send_once(self, verb: Callable[..., Awaitable[T]], *values: object, **options: object) -> T:
        raise self.error

    @asynccontextmanager
    async def transaction(self, *, patience: float = 30.0) -> AsyncIterator[Transaction]:
        raise self.error
        yield


@pytest.mark.parametrize("error", [StorageUnavailable("it is away"), Unstorable("a trigger says no")], ids=repr)
async def test_a_target_that_cannot_be_moved_spoils_no_attempt(database: Database, error: Exception) -> None:
    target = await waiting(database)
    (probe,), _ = await claims_of(database, 1).probe(1, target)
    breaker = Breaker(Refusing(database.pool, error=error), quiet_hub(), HeldTargets(PER_HOST))
    delivery = evolve(delivery_of(), user_id=target.user, host=target.host, claim=probe.claim)

    with capture_logs() as lines:
        for result in (Answered(200), Answered(503)):
            await breaker.observe(evolve(delivery, opens=1), result, 0.0)
        for _ in range(20):
            await breaker.observe(delivery, Answered(503), trio.current_time())

    assert {line["event"] for line in lines} == {"target_unmoved"}
    assert len(lines) > 2
    assert await is_in(database, target, "half_open")


async def test_while_postgresql_cannot_say_so_a_target_does_not_move(database: Database) -> None:
    target = await waiting(database)
    (probe,), _ = await claims_of(database, 1).probe(1, target)
    await database.execute("update executions set claim = null, status = 'pending', attempts = 0")
    await database.execute("update outbox set claimed_by = null, lease_until = null")

    # Its daemon could not say what has come of the probe: it is made again.
    assert await claim(database, daemon=2) == []
    (second,), _ = await claims_of(database, 2).probe(2, target)
    assert second.claim != probe.claim
