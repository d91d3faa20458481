"""The composition root: the tree of one daemon, planted on its ground. What stands deeper falls earlier."""

import gc
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.metadata import version

import structlog
import trio
from attrs import frozen

from cueapi.api.app import make_app
from cueapi.api.server import Server
from cueapi.delivery.janitor import Janitor
from cueapi.delivery.notices import Notices
from cueapi.delivery.outbox import Outbox
from cueapi.delivery.poller import Poller
from cueapi.delivery.pool import Pool
from cueapi.delivery.recorder import Recorder
from cueapi.delivery.rescue import LOOK_INTERVAL, Patience, Rescue
from cueapi.delivery.retries import Retries
from cueapi.delivery.settling import settle
from cueapi.domain.execution import handed_back
from cueapi.ground import Ground, Joints, open_ground
from cueapi.resources import gate, outlets, readings, resources
from cueapi.settings import Settings
from cueapi.storage import daemons
from cueapi.storage.embedded_errors import CannotStart as ServerCannotStart
from cueapi.storage.postgres import StorageUnavailable
from cueapi.storage.wakeups import notify
from supervisor import OnStop, Periodic, Policy, Sibling, Tree
from supervisor.signals import watch

JANITOR_INTERVAL = timedelta(minutes=10).total_seconds()
GC_THRESHOLDS = (20_000, 20, 20)

SOON_BACK = Policy(limit=15, longest_pause=2.0)
"""As patient as any other, but the others give up a daemon whose lock is free for 5 s."""

HAND_BACK_PATIENCE = 5.0
"""Seconds in which a daemon that ends gives back what it still holds."""

log = structlog.get_logger("cueapi.daemon")


async def run(settings: Settings, *, up: Callable[[str], None]) -> None:
    """
    Serve until a signal, then drain. *up* is told the address when everything is.

    Raises what a start can fail with, and RestartsExhausted where a sibling falls too often.
    """
    # Until the tree listens to both, SIGTERM ends the start as Ctrl-C does: in order.
    # (Trio's own handler of Ctrl-C takes no other signal.)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    async with open_ground(settings) as ground:
        await _hold(ground, _Up(up, ground.address))


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[Ground, Tree]]:
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


async def _hold(ground: Ground, up: _Up) -> None:
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
        waits_for=(StorageUnavailable, ServerCannotStart),
        board=joints.board,
        stopping=joints.stopping,
    )


def siblings(ground: Ground, joints: Joints) -> list[Sibling]:
    """Downstream first: nothing is produced before its consumer is up."""
    settings, database, metrics = ground.settings, ground.database, joints.metrics
    interval, timeout = settings.poller_interval_seconds, settings.webhook_timeout_seconds
    silence = settings.worker_heartbeat_timeout_seconds
    patience = Patience(silence, settings.worker_unclaimed_timeout_seconds, worker_grace=silence)
    deliveries, results, retries, claims = joints.deliveries, joints.results, joints.retries, joints.claims

    notices = Notices(database, joints.notices, ground.identity, outlets(ground), joints.stopping)
    recorder = Recorder(
        database,
        results,
        retries,
        joints.wakeups.delivery_ready,
        joints.notices,
        metrics,
        joints.places.recorded,
        horizon=2 * interval,
    )
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
        Sibling("wakeups", joints.wakeups.run, OnStop.LAST, SOON_BACK, silent_after=30.0, longest_wait=2.0),
        Sibling("outbox", outbox.run, OnStop.CANCEL, silent_after=2 * interval + 30),
        Sibling("retries", wheel.run, OnStop.CANCEL, silent_after=30.0),
        Sibling("poller", poller.run, OnStop.CANCEL, silent_after=2 * interval + 30),
        Sibling("rescue", rescue.run, OnStop.CANCEL, silent_after=60.0),
        Sibling("janitor", janitor.run, OnStop.CANCEL, silent_after=2 * JANITOR_INTERVAL),
        Sibling("waiting", joints.waiting.run, OnStop.CANCEL),
        Sibling("api", server.run, OnStop.LAST),
    ]


async def hand_back(ground: Ground) -> None:
    """Give back what this daemon still holds, as the same try, and say so."""
    number = ground.identity.number
    with trio.move_on_after(HAND_BACK_PATIENCE):
        try:
            while number is not None and (held := await daemons.held_by(ground.database, number)):
                if not await settle(ground.database, [handed_back(lost.standing.fence) for lost in held]):
                    break
            if number is not None:
                await daemons.leave(ground.database, number)
                # The others need not find out that we are gone, nor wait for a poll to take over what we gave back.
                await notify(ground.database, f"{number} delivery")
        except StorageUnavailable as away:
            log.warning("claims_left", reason=str(away))
