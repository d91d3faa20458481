"""Composition root: builds the supervision tree. Resources close in reverse order of opening."""

import gc
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version

import structlog
import trio
from attrs import field, frozen

from cueapi.api.sign_in_links import new_link
from cueapi.daemon.gauges import gauges
from cueapi.daemon.open_files import raise_file_limit
from cueapi.daemon.resources import Resources, open_resources
from cueapi.daemon.siblings import siblings
from cueapi.daemon.wiring import Wiring
from cueapi.delivery.quarantine import Quarantine
from cueapi.domain.execution import released
from cueapi.embedded_postgres.errors import ServerCannotStart
from cueapi.net.shortage import is_own_shortage
from cueapi.settings import Settings
from cueapi.storage import daemons, sign_in_links
from cueapi.storage.clock import Clock
from cueapi.storage.database import StorageUnavailable
from cueapi.storage.notify import notify
from supervisor import Tree
from supervisor.signals import watch

GC_THRESHOLDS = (20_000, 20, 20)


RELEASE_TIMEOUT = 5.0
"""Seconds in which a daemon that ends releases what it still holds."""

log = structlog.get_logger("cueapi.daemon")


@frozen
class Ready:
    """Where the server is reached; *first_link* signs in to a dashboard that no account has seen yet."""

    address: str
    first_link: str | None = field(default=None, repr=False)


async def run(settings: Settings, *, on_ready: Callable[[Ready], None], invite: bool = False) -> None:
    """
    Serve until a signal, then drain. *on_ready* is called when every sibling is up.

    Where *invite* is true and the server has no account yet, it is called with a link that makes the first one.
    Raises what a start can fail with, and RestartsExhausted where a sibling fails too often.
    """
    raise_file_limit()
    # Until the tree listens to both, SIGTERM ends the start as Ctrl-C does: in order.
    # (Trio's own handler of Ctrl-C takes no other signal.)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    async with open_resources(settings) as resources:
        link = await _first_link(resources) if invite and settings.dashboard else None
        await _run_until_drained(resources, _OnReady(on_ready, Ready(resources.address, link)))


async def _first_link(resources: Resources) -> str | None:
    """A link that makes the first account; None where there is one, or where the database is away just now."""
    try:
        if await sign_in_links.no_accounts(resources.database):
            return await new_link(resources.database, resources.address, None)
    except StorageUnavailable:
        return None
    return None


@asynccontextmanager
async def serving(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[tuple[Resources, Tree]]:
    """A daemon for the length of the block, in this process and without its signals; then it drains."""
    async with open_resources(settings, clock=clock) as resources:
        tree = build_tree(resources)
        async with trio.open_nursery() as nursery:
            await nursery.start(tree.run)
            yield resources, tree
            tree.stop("the block has ended")
        await release_claims(resources)


@frozen
class _OnReady:
    """Called once, when every sibling is up."""

    on_ready: Callable[[Ready], None]
    ready: Ready

    def started(self, _value: object = None) -> None:
        # These objects stay: a full collection would walk through all of them while nothing else runs.
        gc.collect()
        gc.freeze()
        # A request leaves a few hundred objects behind: collect the young ones every some requests, not in each.
        gc.set_threshold(*GC_THRESHOLDS)
        log.info("daemon_started", address=self.ready.address, version=version("cueapi-daemon"))
        self.on_ready(self.ready)


async def _run_until_drained(resources: Resources, ready: _OnReady) -> None:
    """Run the tree until it has drained, and release what it left."""
    begun = trio.current_time()
    tree = build_tree(resources)
    clean = False
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(watch, tree.stop, nursery.cancel_scope)
            clean = (await tree.run(task_status=ready)).is_clean()
            nursery.cancel_scope.cancel(reason="drained")
    finally:
        await release_claims(resources)
        log.info("daemon_stopped", seconds=round(trio.current_time() - begun, 1), clean=clean)


def build_tree(resources: Resources) -> Tree:
    """The tree of one daemon."""
    wiring = Wiring.make(resources)
    resources.webhook.sent = lambda delivery: wiring.metrics.sent(delivery, now=resources.clock.now())
    wiring.metrics.read(*gauges(resources, wiring))
    if resources.settings.mailer is None:
        log.info("mail_not_configured", advice="set SMTP_URL and EMAIL_FROM: until then no failure is mailed")
    return Tree(
        siblings(resources, wiring),
        channels=(wiring.deliveries, wiring.results, wiring.retries),
        grace=resources.settings.shutdown_grace_seconds,
        waits_for=(StorageUnavailable, ServerCannotStart),
        is_shortage=is_own_shortage,
        board=wiring.board,
        stopping=wiring.stopping,
    )


async def release_claims(resources: Resources) -> None:
    """Release what this daemon still holds, as the same attempt, and tell the other daemons."""
    number, quarantine = resources.identity.number, Quarantine(resources.database)
    with trio.move_on_after(RELEASE_TIMEOUT):
        try:
            while number is not None and (held := await daemons.held_by(resources.database, number)):
                if not await quarantine.apply_transitions([released(lost.state.fence) for lost in held]):
                    break
            if number is not None:
                await daemons.deregister(resources.database, number)
                # The others need neither notice that we are gone nor wait for a poll to take over what we released.
                await notify(resources.database, f"{number} delivery")
        except StorageUnavailable as away:
            log.warning("claims_left", reason=str(away))
