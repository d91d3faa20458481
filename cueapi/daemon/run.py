"""The composition root: the tree of one daemon, planted on its ground. What stands deeper falls earlier."""

import gc
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version

import structlog
import trio
from attrs import frozen

from cueapi.daemon.resources import Ground, open_ground
from cueapi.daemon.routes import readings
from cueapi.daemon.siblings import siblings
from cueapi.daemon.wiring import Joints
from cueapi.delivery.settling import settle
from cueapi.domain.execution import handed_back
from cueapi.embedded_postgres.errors import CannotStart as ServerCannotStart
from cueapi.settings import Settings
from cueapi.storage import daemons
from cueapi.storage.database import StorageUnavailable
from cueapi.storage.notify import notify
from supervisor import Tree
from supervisor.signals import watch

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
