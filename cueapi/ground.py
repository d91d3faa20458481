"""What the siblings stand on, and what joins them. What is opened first falls last."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial
from typing import Self

import trio
from attrs import field, frozen

from cueapi.api.auth import Keyring
from cueapi.api.limits import Windows
from cueapi.api.server import bind
from cueapi.api.waiting import WaitingRoom
from cueapi.delivery.identity import Identity
from cueapi.delivery.outbox import freed_soon
from cueapi.delivery.places import Places
from cueapi.delivery.poller import LastPoll
from cueapi.delivery.retries import Reminder
from cueapi.delivery.wakeups import Ears, Wakeups
from cueapi.delivery.webhook import Webhook
from cueapi.dns import THREADS, Resolver
from cueapi.domain.attempt import Delivery
from cueapi.domain.execution import Step
from cueapi.metrics import Metrics
from cueapi.opening import check_secret, open_database, open_redis, open_server, secret_of
from cueapi.sessions import Sessions
from cueapi.settings import Settings
from cueapi.storage.clock import Clock
from cueapi.storage.embedded import Embedded
from cueapi.storage.postgres import Database
from cueapi.storage.redis import Redis
from cueapi.storage.schema import migrate
from cueapi.vault import Vault
from supervisor import Board, Channel, Periodic, Wheel

RESULTS, RETRIES = 200, 1_000
"""Capacities of the channels."""


@frozen
class Ground:
    """What the siblings stand on, and what falls after them."""

    settings: Settings
    vault: Vault
    sessions: Sessions
    listener: socket.socket
    dsn: str
    embedded: Embedded | None
    database: Database
    webhook: Webhook
    identity: Identity
    redis: Redis | None = None
    clock: Clock = field(factory=Clock)

    @property
    def address(self) -> str:
        """How the server is reached."""
        return self.settings.url_at(self.listener.getsockname()[1])


@frozen
class Joints:
    """What joins the siblings: channels, wake-ups, and what they tell of themselves."""

    polls: Periodic
    claims: Periodic
    notices: Periodic
    deliveries: Channel[Delivery]
    results: Channel[Step]
    retries: Channel[Reminder]
    places: Places
    keyring: Keyring
    wakeups: Wakeups
    windows: Windows
    waiting: WaitingRoom
    wheel: Wheel[int | None] = field(factory=Wheel)
    board: Board = field(factory=Board)
    stopping: trio.Event = field(factory=trio.Event)
    metrics: Metrics = field(factory=Metrics)
    last_poll: LastPoll = field(factory=LastPoll)

    @classmethod
    def make(cls, ground: Ground) -> Self:
        """New ones, of the sizes that the settings say."""
        settings, database = ground.settings, ground.database
        polls = Periodic(settings.poller_interval_seconds)
        claims = Periodic(settings.poller_interval_seconds)
        notices = Periodic(settings.poller_interval_seconds)
        keyring = Keyring(database, settings.plans, ground.sessions, ground.clock)
        waiting = WaitingRoom()
        ears = Ears(polls, claims, notices, waiting.poke, keyring.forget, keyring.trust)
        size = settings.dispatch_concurrency
        return cls(
            polls,
            claims,
            notices,
            Channel("deliveries", size),
            Channel("results", RESULTS),
            Channel("retries", RETRIES),
            Places(size, settings.host_concurrency, freed=partial(freed_soon, claims)),
            keyring,
            Wakeups(ground.dsn, database, ground.identity, ground.clock, ears),
            Windows(ground.redis),
            waiting,
        )


@asynccontextmanager
async def open_ground(settings: Settings) -> AsyncIterator[Ground]:
    """Everything that the siblings stand on: what is opened first falls last."""
    secret = secret_of(settings)
    vault, sessions = Vault.of(secret), Sessions.of(secret)
    with closing(bind(settings.host, settings.port)) as listener:
        port = listener.getsockname()[1]
        identity = Identity(f"{socket.gethostname()}:{settings.host}:{port}")
        async with open_server(settings) as (dsn, embedded):
            async with open_database(dsn, size=settings.database_pool_size) as database:
                await migrate(database)
                await check_secret(database, vault)
                resolver = Resolver(threads=max(THREADS, settings.dispatch_concurrency))
                with Webhook(settings.rules_at(port), resolver) as webhook, open_redis(settings, vault) as redis:
                    yield Ground(settings, vault, sessions, listener, dsn, embedded, database, webhook, identity, redis)
