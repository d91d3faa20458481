"""The path of a delivery without a daemon: dispatcher, pool, recorder and target watch, by a breaker in a hurry."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import h11
import trio
from attrs import define, frozen

from cueapi.delivery.breaker import Breaker
from cueapi.delivery.capacity import Capacity, wake_soon
from cueapi.delivery.claims import confirm_delivery
from cueapi.delivery.dispatcher import Dispatcher
from cueapi.delivery.held_targets import HeldTargets
from cueapi.delivery.pool import DispatchPool
from cueapi.delivery.recorder import Recorder
from cueapi.delivery.retries import Reminder
from cueapi.delivery.target_watch import TargetWatch
from cueapi.delivery.webhook import Webhook
from cueapi.domain.attempt import Delivery
from cueapi.domain.breaker import BreakerRules
from cueapi.domain.execution import Transition
from cueapi.domain.target import Rules
from cueapi.metrics import Metrics
from cueapi.net.dns import Resolver
from cueapi.storage.clock import Clock
from cueapi.storage.database import Database
from cueapi.wakeups.hub import WakeupHub
from cueapi.wakeups.identity import DaemonId
from supervisor import Channel
from tests.delivery.siblings import NotedAccounts, NotedCalls, alive
from tests.receiver import Receiver, Step, serve
from tests.storage.rows import TIMES, TOKENS, VAULT

HURRIED = BreakerRules(first_pause=0.2, longest_pause=0.4, doubling=0.1)
"""As the product's rules, but for the seconds of its pauses."""

PER_HOST = 4


@define(eq=False)
class Host(Receiver):
    """A receiver whose answers change, and that counts how many requests it is answering."""

    under_way: int = 0
    most: int = 0

    async def _answer(self, stream: trio.abc.Stream, http: h11.Connection, step: Step) -> None:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await Receiver._answer(self, stream, http, step)
        finally:
            self.under_way -= 1


@asynccontextmanager
async def open_host(*script: Step) -> AsyncIterator[Host]:
    """A host on loopback that answers from *script*, which may be replaced."""
    host = Host(script)
    async with trio.open_nursery() as nursery:
        await serve(host, nursery)
        yield host
        nursery.cancel_scope.cancel()


@frozen
class Path:
    """What delivers."""

    dispatcher: Dispatcher
    breaker: Breaker
    capacity: Capacity
    hub: WakeupHub


@asynccontextmanager
async def delivering(
    database: Database, *, number: int = 1, rules: BreakerRules = HURRIED, on: bool = True
) -> AsyncIterator[Path]:
    """Deliver what the outbox has, as the daemon of *number*; it looks again every tenth of a second."""
    hub = WakeupHub(Clock(), 0.1, NotedAccounts(), NotedCalls())
    capacity = Capacity(64, PER_HOST, on_freed=partial(wake_soon, hub.dispatches), on_half=hub.dispatches.wake)
    breaker = Breaker(database, hub, HeldTargets(PER_HOST, rules), on)
    deliveries, results = Channel[Delivery]("deliveries", 64), Channel[Transition]("results", 200)
    dispatcher = Dispatcher(
        database, deliveries, capacity, hub, DaemonId("here", number), TIMES, VAULT.decrypt, TOKENS.url, breaker.held
    )
    recorder = Recorder(database, results, Channel[Reminder]("retries", 10), hub, Metrics(), capacity, 60.0)
    watch = TargetWatch(database, hub, breaker, Metrics())
    with Webhook(Rules(allow=Rules.parse_allow("127.0.0.0/8")), Resolver()) as webhook:
        pool = DispatchPool(
            deliveries, results, capacity, webhook, partial(confirm_delivery, database), 64, trio.Event(),
            observe=breaker.observe, holds=breaker.holds,
        )  # fmt: skip
        async with alive(recorder.run, pool.run, dispatcher.run, watch.run):
            yield Path(dispatcher, breaker, capacity, hub)
