"""A daemon under load, and the audit that follows."""

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import trio
from attrs import define, field

from cueapi.daemon.resources import OWNER
from cueapi.embedded_postgres.server import join_embedded
from cueapi.storage.database import Database
from tests.chaos.audit import audit
from tests.chaos.faults import open_auditor
from tests.chaos.load import HANDLERS, UNLIMITED, Load, under_load
from tests.process import DaemonProcess, daemon_process
from tests.receiver import open_receiver


@define(eq=False)
class Scene:
    """One daemon, what is asked of it, and an auditor at its database; the rest is known when the block has ended."""

    daemon: DaemonProcess
    database: Database
    load: Load
    broken: list[str] = field(factory=list)
    """Each promise that was not kept."""

    restarts: int = 0
    """Of all siblings."""

    code: int | None = None
    """The daemon's exit code."""


@asynccontextmanager
async def open_scene(
    home: Path, dsn: str | None, *, auditor_dsn: str | None = None, **settings: object
) -> AsyncIterator[Scene]:
    """
    Load while the block runs; at its end the load ends, everything settles, and the daemon is audited and stopped.

    Without *dsn* it stands on the embedded database below *home*. The auditor connects as the daemon does, unless by a
    DSN of its own.
    """
    settings = UNLIMITED | {"DATABASE_URL": dsn} | settings
    async with (
        open_receiver(HANDLERS) as receiver,
        daemon_process(home, **settings) as daemon,
        AsyncExitStack() as joined,
    ):
        if dsn is None:
            dsn = await joined.enter_async_context(join_embedded(home / "data", owner=OWNER))
        database = await joined.enter_async_context(open_auditor(auditor_dsn or dsn))
        async with under_load(await daemon.api.register(), receiver, daemon.port) as load:
            scene = Scene(daemon, database, load)
            yield scene
        await load.settle(database)
        scene.restarts = sum(entry["restarts"] for entry in (await daemon.siblings()).values())
        scene.broken = await audit(database, receiver, load.ledger)
        scene.code = await daemon.stop()


async def some_time(most: float = 1.5) -> None:
    """A while in which the load goes on: what follows comes at a random moment."""
    await trio.sleep(random.uniform(0.2, most))
