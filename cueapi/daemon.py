"""The composition root: resources, channels, siblings. What stands deeper falls earlier."""

import gc
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from typing import Self
from urllib.parse import urlsplit

import structlog
import trio
from attrs import field, frozen

from cueapi.api.accounts import Accounts
from cueapi.api.alerts import Alerts
from cueapi.api.app import Gate, Resource, make_app
from cueapi.api.auth import Keyring
from cueapi.api.cues import Cues, Pokes
from cueapi.api.devices import Devices, Post
from cueapi.api.echo import Echo
from cueapi.api.executions import Executions
from cueapi.api.health import Health, Polls
from cueapi.api.limits import Windows
from cueapi.api.openapi import Docs
from cueapi.api.pages import Pages
from cueapi.api.server import Server, bind
from cueapi.api.sessions import SessionRoutes
from cueapi.api.usage import Usage
from cueapi.api.waiting import WaitingRoom
from cueapi.api.workers import Workers
from cueapi.delivery.identity import Identity
from cueapi.delivery.janitor import Janitor
from cueapi.delivery.notices import Notices, Outlets
from cueapi.delivery.outbox import Outbox, freed_soon
from cueapi.delivery.places import Places
from cueapi.delivery.poller import LastPoll, Poller
from cueapi.delivery.pool import Pool
from cueapi.delivery.recorder import Recorder
from cueapi.delivery.rescue import LOOK_INTERVAL, Patience, Rescue
from cueapi.delivery.retries import Reminder, Retries
from cueapi.delivery.wakeups import Ears, Wakeups
from cueapi.delivery.webhook import Webhook
from cueapi.dns import Resolver
from cueapi.domain.attempt import Delivery
from cueapi.domain.execution import Step, handed_back
from cueapi.metrics import Metrics, Reading
from cueapi.opening import check_secret, open_database, open_redis, open_server, secret_of
from cueapi.sessions import Sessions
from cueapi.settings import Settings
from cueapi.storage import daemons
from cueapi.storage.claims import Terms
from cueapi.storage.clock import Clock
from cueapi.storage.decisions import decide
from cueapi.storage.embedded import Embedded
from cueapi.storage.postgres import Database, StorageUnavailable
from cueapi.storage.redis import Redis
from cueapi.storage.schema import migrate
from cueapi.vault import Vault
from supervisor import Board, Channel, OnStop, Periodic, Sibling, Tree, Wheel
from supervisor.signals import watch

JANITOR_INTERVAL = timedelta(minutes=10).total_seconds()
RESULTS, RETRIES = 200, 1_000
"""Capacities of the channels."""

GC_THRESHOLDS = (20_000, 20, 20)

HAND_BACK_PATIENCE = 5.0
"""Seconds in which a daemon that ends gives back what it still holds."""

log = structlog.get_logger("cueapi.daemon")


async def run(settings: Settings, *, up: Callable[[str], None]) -> None:
    """
    Serve until a signal, then drain. *up* is told the address when everything is.

    Raises what a start can fail with, and RestartsExhausted where a sibling falls too often.
    """
    # Until the tree listens to both, SIGTERM ends the start as Ctrl-C does: in order.
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    async with open_ground(settings) as ground:
        await _hold(ground, _Up(up, ground.address))


@asynccontextmanager
async def open_ground(settings: Settings) -> AsyncIterator["Ground"]:
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
                with Webhook(settings.rules_at(port), Resolver()) as webhook, open_redis(settings, vault) as redis:
                    yield Ground(settings, vault, sessions, listener, dsn, embedded, database, webhook, identity, redis)


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple["Ground", Tree]]:
    """A daemon for the length of the block, in this process and without its signals; then it drains."""
    async with open_ground(settings) as ground:
        tree = plant(ground)
        async with trio.open_nursery() as nursery:
            await nursery.start(tree.run)
            yield ground, tree
            tree.stop("the block has ended")
        await hand_back(ground)


@frozen
class _Up:
    """Told once, when every sibling is up."""

    tell: Callable[[str], None]
    address: str

    def started(self, _value: object = None) -> None:
        # What lives now stays: a full collection would walk through all of it, with everything standing still.
        gc.collect()
        gc.freeze()
        # A request leaves a few hundred objects behind: the young are looked at every some requests, not in each.
        gc.set_threshold(*GC_THRESHOLDS)
        log.info("daemon_started", address=self.address, version=version("cueapi-daemon"))
        self.tell(self.address)


async def _hold(ground: "Ground", up: _Up) -> None:
    """Hold the tree until it has drained, and hand back what it left."""
    begun = trio.current_time()
    tree = plant(ground)
    clean = False
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(watch, tree.stop, nursery.cancel_scope)
            clean = (await tree.run(task_status=up)).is_clean()
            nursery.cancel_scope.cancel(reason="drained")
    finally:
        await hand_back(ground)
        log.info("daemon_stopped", seconds=round(trio.current_time() - begun, 1), clean=clean)


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
    wheel: Wheel[Reminder] = field(factory=Wheel)
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


def plant(ground: Ground) -> Tree:
    """The tree of one daemon."""
    joints = Joints.make(ground)
    ground.webhook.sent = joints.metrics.sent
    joints.metrics.read(*readings(ground, joints))
    if ground.settings.mailer is None:
        log.info("mail_unset", advice="set SMTP_URL and EMAIL_FROM: until then no failure is told by mail")
    return Tree(
        siblings(ground, joints),
        channels=(joints.deliveries, joints.results, joints.retries),
        grace=ground.settings.shutdown_grace_seconds,
        waits_for=(StorageUnavailable,),
        board=joints.board,
        stopping=joints.stopping,
    )


def siblings(ground: Ground, joints: Joints) -> list[Sibling]:
    """Downstream first: nothing is produced before its consumer is up."""
    settings, database, metrics = ground.settings, ground.database, joints.metrics
    interval, timeout = settings.poller_interval_seconds, settings.webhook_timeout_seconds
    patience = Patience(settings.worker_heartbeat_timeout_seconds, settings.worker_unclaimed_timeout_seconds)
    deliveries, results, retries, claims = joints.deliveries, joints.results, joints.retries, joints.claims

    notices = Notices(database, joints.notices, ground.identity, outlets(ground), joints.stopping)
    recorder = Recorder(database, results, retries, claims, joints.notices, metrics, horizon=2 * interval)
    pool = Pool(deliveries, results, joints.places, ground.webhook, settings.dispatch_concurrency, joints.stopping)
    outbox = Outbox(database, deliveries, joints.places, claims, ground.identity, joints.notices, timeout)
    wheel = Retries(retries, joints.wheel, claims, joints.waiting.poke)
    poller = Poller(
        database, joints.polls, claims, retries, ground.clock, metrics, joints.last_poll,
        joints.wakeups.work_ready, settings.poller_batch_size, joints.notices,
        {name: plan.monthly_executions for name, plan in settings.plans.items()},
    )  # fmt: skip
    rescue = Rescue(
        database, Periodic(LOOK_INTERVAL), claims, joints.notices, joints.wakeups.work_ready, patience, metrics
    )
    janitor = Janitor(database, Periodic(JANITOR_INTERVAL), settings.execution_retention_days)
    server = Server(make_app(gate(ground, joints), resources(ground, joints)), ground.listener)
    return [
        *([Sibling("postgres", ground.embedded.run, OnStop.LAST)] if ground.embedded else []),
        Sibling("notices", notices.run, OnStop.FINISH, silent_after=2 * interval + 30),
        Sibling("recorder", recorder.run, OnStop.FINISH),
        Sibling("pool", pool.run, OnStop.FINISH),
        # Soon back after an outage: the others give up a daemon whose lock is free for 5 s.
        Sibling("wakeups", joints.wakeups.run, OnStop.LAST, silent_after=30.0, longest_wait=2.0),
        Sibling("outbox", outbox.run, OnStop.CANCEL, silent_after=2 * interval + 30),
        Sibling("retries", wheel.run, OnStop.CANCEL, silent_after=30.0),
        Sibling("poller", poller.run, OnStop.CANCEL, silent_after=2 * interval + 30),
        Sibling("rescue", rescue.run, OnStop.CANCEL, silent_after=60.0),
        Sibling("janitor", janitor.run, OnStop.CANCEL, silent_after=2 * JANITOR_INTERVAL),
        Sibling("waiting", joints.waiting.run, OnStop.CANCEL),
        Sibling("api", server.run, OnStop.LAST),
    ]


def gate(ground: Ground, joints: Joints) -> Gate:
    """What every request passes."""
    settings = ground.settings
    return Gate(
        joints.keyring,
        joints.windows,
        settings.proxies,
        settings.plans[settings.default_plan].requests_per_minute,
        tuple(origin.strip() for origin in settings.cors_origins.split(",")),
        joints.metrics,
    )


def resources(ground: Ground, joints: Joints) -> list[Resource]:
    """The nouns of the contract."""
    settings, database, webhook, wakeups = ground.settings, ground.database, ground.webhook, joints.wakeups
    terms = Terms(settings.worker_claim_timeout_seconds, settings.worker_outcome_deadline_seconds)
    pokes = Pokes(wakeups.cue_written, wakeups.delivery_ready, wakeups.work_ready)
    executions = Executions(
        database, terms, joints.metrics, wakeups.delivery_ready, wakeups.work_ready, joints.notices.wake, joints.waiting
    )
    last = joints.last_poll
    return [
        *sign_in(ground, joints),
        Cues(
            database, ground.clock, webhook.resolver, webhook.rules, pokes, executions, settings.worker_evidence
        ),
        executions,
        Workers(database, terms, joints.waiting, wakeups.work_ready, joints.notices.wake),
        Alerts(database),
        Usage(database),
        Echo(database, joints.windows),
        Health(
            database, joints.board, joints.stopping, joints.metrics, ground.clock,
            lambda: Polls(last.at, last.cues, last.duration), settings.poller_interval_seconds,
            joints.windows,
        ),
    ]  # fmt: skip


def sign_in(ground: Ground, joints: Joints) -> list[Resource]:
    """Accounts, and the ways to prove that one is theirs."""
    settings, database, webhook = ground.settings, ground.database, ground.webhook
    pages = Pages.at(urlsplit(ground.address).path.rstrip("/"))
    by = Post(settings.mailer is not None, settings.env == "production", joints.notices.wake)
    return [
        Accounts(
            database, ground.vault, webhook.resolver, webhook.rules, settings.default_plan,
            settings.allow_register, joints.wakeups.account_changed,
        ),
        Devices(
            database, ground.vault, joints.windows, pages, by, ground.address, settings.default_plan,
            open=settings.allow_register,
        ),
        SessionRoutes(database, joints.keyring),
        pages,
        *([] if settings.env == "production" else [Docs(pages.root)]),
    ]  # fmt: skip


def outlets(ground: Ground) -> Outlets:
    """How notices leave."""
    return Outlets(ground.webhook, ground.settings.mailer, ground.vault.unlock, ground.address)


def readings(ground: Ground, joints: Joints) -> list[Reading]:
    """What /metrics reads when it is asked."""
    channels, database = (joints.deliveries, joints.results, joints.retries), ground.database.pool
    board = joints.board
    return [
        Reading("cueapi_channel_depth", "Items in each channel.", ("channel",),
                lambda: [((channel.name,), channel.depth) for channel in channels]),
        Reading("cueapi_channel_capacity", "Most items of each channel.", ("channel",),
                lambda: [((channel.name,), channel.capacity) for channel in channels]),
        Reading("cueapi_retry_wheel_size", "Reminders in the retry wheel.", (), lambda: [((), len(joints.wheel))]),
        Reading("cueapi_pool_places", "Places of the dispatch pool.", ("state",),
                lambda: [(("taken",), joints.places.taken), (("all",), joints.places.size)]),
        Reading("cueapi_sibling_state", "1 for the state that each sibling is in.", ("sibling", "state"),
                lambda: [((name, str(entry.state)), 1) for name, entry in board.snapshot().items()]),
        Reading("cueapi_sibling_restarts", "Restarts of each sibling.", ("sibling",),
                lambda: [((name,), entry.restarts) for name, entry in board.snapshot().items()]),
        Reading("cueapi_database_connections", "Connections to PostgreSQL.", ("state",),
                lambda: [(("idle",), database.idle), (("in_use",), database.in_use), (("all",), database.size)]),
        Reading("cueapi_waiting_calls", "Calls of workers that wait for work.", (),
                lambda: [((), len(joints.waiting))]),
        Reading("cueapi_database_waiters", "Tasks that wait for a connection.", (),
                lambda: [((), database.waiters)]),
    ]  # fmt: skip


async def hand_back(ground: Ground) -> None:
    """Give back what this daemon still holds, as the same try: others need not find out that it is gone."""
    number = ground.identity.number
    with trio.move_on_after(HAND_BACK_PATIENCE):
        try:
            while number is not None and (held := await daemons.held_by(ground.database, number)):
                if not await decide(ground.database, [handed_back(lost.standing.fence) for lost in held]):
                    break
            if number is not None:
                await daemons.leave(ground.database, number)
        except StorageUnavailable as away:
            log.warning("claims_left", reason=str(away))
