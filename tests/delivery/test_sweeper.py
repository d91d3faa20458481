"""Idle connections to handlers are closed on a beat, not only when something else is delivered."""

import trio

from cueapi.delivery.sweeper import SWEEP_INTERVAL, Sweeper
from cueapi.delivery.webhook import Webhook
from cueapi.domain.attempt import Answered
from cueapi.domain.target import Rules
from cueapi.net.dns import Resolver
from cueapi.net.http_client import IdleConnections
from supervisor import Periodic
from tests.delivery.siblings import alive, until
from tests.delivery.test_webhook import delivery_to
from tests.receiver import open_receiver

OPEN = Rules(allow=Rules.parse_allow("127.0.0.0/8"))
BEAT = 0.05


async def test_a_connection_that_its_handler_has_closed_is_closed_soon() -> None:
    with trio.fail_after(20), Webhook(OPEN, Resolver()) as webhook:
        async with open_receiver() as receiver:
            assert await webhook.attempt(delivery_to(receiver.url())) == Answered(200)
            kept = len(webhook.idle)
        async with alive(Sweeper(webhook.idle, Periodic(BEAT)).run):
            await until(lambda: not len(webhook.idle))

    assert kept == 1


async def test_a_connection_that_has_rested_for_long_is_closed_and_a_fresh_one_stays() -> None:
    with trio.fail_after(20), Webhook(OPEN, Resolver(), idle=IdleConnections(reused_for=0.3)) as short:
        with Webhook(OPEN, Resolver()) as long:
            async with open_receiver() as receiver:
                for webhook in (short, long):
                    await webhook.attempt(delivery_to(receiver.url()))
                async with alive(*(Sweeper(each.idle, Periodic(BEAT)).run for each in (short, long))):
                    await until(lambda: not len(short.idle))
                stayed = len(long.idle)
                await long.attempt(delivery_to(receiver.url()))

    assert stayed == 1
    assert [received.connection for received in receiver.requests] == [0, 1, 1]


def test_a_daemon_looks_every_few_seconds() -> None:
    assert SWEEP_INTERVAL <= 5
