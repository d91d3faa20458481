"""SIGKILL at random moments under load, and a start on the same port: nothing is lost, and seldom is anything twice."""

import random
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import trio

from cueapi.storage.database import Database
from tests.chaos.audit import audit
from tests.chaos.faults import in_flight
from tests.chaos.load import HANDLERS, UNLIMITED, under_load
from tests.ports import free_port
from tests.process import HANG, daemon_process
from tests.receiver import open_receiver

LIFE = 3.0
"""Seconds that a daemon lives at most after it came up: killed in its first moments, too, when it takes things back."""


async def test_killed_again_and_again_under_load_it_loses_nothing_and_repeats_only_what_was_in_flight(
    database_url: str, database: Database, tmp_path: Path, rounds: int
) -> None:
    start = partial(daemon_process, tmp_path, port=free_port(), DATABASE_URL=database_url, **UNLIMITED)

    with trio.fail_after(HANG + 15 * rounds):
        async with open_receiver(HANDLERS) as receiver, AsyncExitStack() as lives:
            daemon = await lives.enter_async_context(start())
            async with under_load(await daemon.api.register(), receiver, daemon.port) as load:
                for _ in range(rounds):
                    await trio.sleep(random.uniform(0, LIFE))
                    await daemon.kill()
                    load.ledger.faults.append(await in_flight(database))
                    daemon = await lives.enter_async_context(start())
            await load.settle(database)
            code = await daemon.stop()

    assert await audit(database, receiver, load.ledger) == []
    assert code == 0
