"""Before the first byte: a claim that is not fresh is asked about again, and one that is lost is not sent."""

from functools import partial

import pytest
import trio
from attrs import evolve

from cueapi.delivery.capacity import Capacity
from cueapi.delivery.claims import FRESH_FOR, HOLD_SEEN_WITHIN, ClaimLost, confirm_claim, confirm_delivery
from cueapi.delivery.pool import DispatchPool
from cueapi.delivery.webhook import Webhook
from cueapi.domain.attempt import Delivery
from cueapi.domain.audit import OPERATOR
from cueapi.domain.execution import Transition, released
from cueapi.domain.target import Rules
from cueapi.net.dns import Resolver
from cueapi.storage import notifications
from cueapi.storage.clock import steady
from cueapi.storage.database import Database
from cueapi.storage.holds import HoldRequest, put
from cueapi.storage.notifications import NotificationHeadroom
from supervisor import Channel
from tests.delivery.deliveries import delivery_of
from tests.delivery.siblings import alive, gone
from tests.receiver import open_receiver
from tests.storage.rows import add_cue, add_execution, add_user, claim

STALE = FRESH_FOR + 0.1


async def claimed(database: Database, *, age: float, url: str = "http://127.0.0.1:9/") -> Delivery:
    """A delivery that a registered daemon claimed so many seconds ago."""
    (daemon,) = await database.fetch("insert into daemons (instance) values ('here') returning number")
    await add_execution(database, await add_cue(database, await add_user(database), callback_url=url))
    (delivery,) = await claim(database, daemon=daemon["number"])
    return evolve(delivery, claimed_at=steady() - age)


async def test_a_claim_that_was_just_made_is_not_asked_about() -> None:
    async def renew() -> bool:
        raise AssertionError("asked")

    await confirm_claim(steady(), renew)


async def test_a_claim_that_still_stands_is_renewed_and_its_lease_counts_anew(database: Database) -> None:
    delivery = await claimed(database, age=STALE)
    await database.execute("update outbox set lease_until = now() + interval '10 seconds'")

    await confirm_delivery(database, delivery)

    (row,) = await database.fetch("select extract(epoch from lease_until - now())::int as seconds from outbox")
    assert row["seconds"] > 60


LOST = {
    "passed to another": "update executions set claim = gen_random_uuid()",
    "released": "update executions set claim = null, status = 'pending'",
    "ended by a report": "update executions set status = 'success', finished_at = now()",
    "its lease has run out": "update outbox set lease_until = now() - interval '1 second'",
    "its daemon was seen without its lock": "update daemons set free_since = now()",
    "settled": "delete from outbox",
}


@pytest.mark.parametrize("what", LOST.values(), ids=LOST.keys())
async def test_a_claim_that_is_lost_or_may_be_at_any_moment_is_not_sent(database: Database, what: str) -> None:
    delivery = await claimed(database, age=STALE)
    await database.execute(what)

    with pytest.raises(ClaimLost):
        await confirm_delivery(database, delivery)


@pytest.mark.parametrize(("age", "sent"), [(0.0, True), (HOLD_SEEN_WITHIN + 0.1, False)], ids=["at once", "later"])
async def test_a_delivery_that_was_claimed_ahead_is_not_sent_while_everything_is_held(
    database: Database, age: float, sent: bool
) -> None:
    delivery = await claimed(database, age=age)
    await put(database, user=delivery.user_id, hold=HoldRequest("everything"), act=OPERATOR)
    delivery = evolve(delivery, claimed_at=steady() - age)

    if sent:
        await confirm_delivery(database, delivery)
    else:
        with pytest.raises(ClaimLost):
            await confirm_delivery(database, delivery)


async def test_while_postgresql_cannot_say_that_a_claim_stands_nothing_is_sent(
    database: Database, postgres_url: str, database_url: str
) -> None:
    delivery = await claimed(database, age=STALE)

    with trio.fail_after(20):
        async with gone(postgres_url, database_url):
            with pytest.raises(ClaimLost):
                await confirm_delivery(database, delivery)


@pytest.mark.parametrize(
    ("change", "seen"), [("select 1", 1), (LOST["passed to another"], 0)], ids=["ours", "another's"]
)
async def test_a_delivery_that_lay_for_long_between_claim_and_pool_is_sent_only_where_it_is_still_ours(
    database: Database, change: str, seen: int
) -> None:
    deliveries, results = Channel[Delivery]("deliveries", 8), Channel[Transition]("results", 8)
    capacity, confirm = Capacity(8, 8), partial(confirm_delivery, database)
    with trio.fail_after(20), Webhook(Rules(allow=Rules.parse_allow("127.0.0.0/8")), Resolver()) as webhook:
        async with open_receiver() as receiver:
            delivery = await claimed(database, age=60.0, url=receiver.url())
            await database.execute(change)
            pool = DispatchPool(deliveries, results, capacity, webhook, confirm, 8, trio.Event())
            with deliveries.sender() as sending, results.receiver() as told:
                async with alive(pool.run):
                    sending.send_nowait(delivery)
                    capacity.take(delivery)
                    result = await told.receive()

    assert len(receiver.requests) == seen
    assert seen or result == released(delivery.fence)


async def test_a_request_that_is_sent_again_since_its_connection_was_closed_is_asked_about_again() -> None:
    asked: list[int] = []

    async def confirm() -> None:
        await trio.lowlevel.checkpoint()
        asked.append(len(receiver.requests))
        if len(asked) == 3:
            raise ClaimLost

    with trio.fail_after(20), Webhook(Rules(allow=Rules.parse_allow("127.0.0.0/8")), Resolver()) as webhook:
        async with open_receiver([200, "close", 200]) as receiver:
            delivery = evolve(delivery_of(), url=receiver.url())
            await webhook.attempt(delivery, confirm)
            with pytest.raises(ClaimLost):
                await webhook.attempt(delivery, confirm)

    assert asked == [0, 1, 2]
    assert len(receiver.requests) == 2


@pytest.mark.parametrize(
    ("change", "stands"),
    [("select 1", True), ("update notifications set claim = gen_random_uuid()", False)],
    ids=["ours", "another's"],
)
async def test_a_notification_is_asked_about_again_likewise(database: Database, change: str, *, stands: bool) -> None:
    await notifications.add_mail(database, "sign_in_mail", user=None, content={"to": "a@example.com"})
    headroom = NotificationHeadroom(8, {}, 4)
    (one,) = await notifications.claim(database, daemon=1, headroom=headroom, lease=60.0, claimed_at=0.0)
    await database.execute(change)

    assert await notifications.renew(database, one, 60.0) is stands
