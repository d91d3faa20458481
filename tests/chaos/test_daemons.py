"""Two and three daemons on one database: they share the work, one is killed, all are replaced one after the other."""

from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import trio

from cueapi.storage.database import Database
from tests.chaos.audit import audit
from tests.chaos.faults import in_flight
from tests.chaos.ledger import HANGING
from tests.chaos.load import HANDLERS, UNLIMITED, under_load
from tests.chaos.scene import some_time
from tests.process import HANG, DaemonProcess, daemon_process
from tests.receiver import open_receiver

TAKEN_OVER_WITHIN = 60.0
"""Seconds in which the others have done what a killed daemon held."""


def number_of(daemon: DaemonProcess) -> int:
    """The number under which it claims."""
    return int(daemon.log("daemon_registered")[-1]["daemon"])


async def test_of_three_daemons_under_load_one_is_killed_and_the_others_do_its_work(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    start = partial(daemon_process, tmp_path, DATABASE_URL=database_url, **UNLIMITED)

    with trio.fail_after(HANG):
        async with open_receiver(HANDLERS) as receiver, start() as killed, start() as second, start() as third:
            ports = [daemon.port for daemon in (killed, second, third)]
            async with under_load(await killed.api.register(), receiver, *ports) as load:
                await some_time(3)
                # It has just begun, and hangs: the last statement that was sent before the kill does not settle it.
                hung = partial(in_flight, database, number_of(killed), load.standing[HANGING])
                before = await hung()
                while not (begun := await hung() - before):
                    await trio.sleep(0.001)
                await killed.kill()
                load.ledger.faults.append(begun | await in_flight(database, number_of(killed)))
                load.ports.remove(killed.port)
                await some_time()
            await load.settle(database, TAKEN_OVER_WITHIN)
            codes = [await second.stop(), await third.stop()]

    done = [{line["event"] for line in daemon.log()} for daemon in (second, third)]
    assert await audit(database, receiver, load.ledger) == []
    assert codes == [0, 0]
    assert not load.ledger.refused
    assert all("attempt_settled" in events for events in done)
    assert "claims_recovered" in done[0] | done[1]


async def test_in_a_rolling_deploy_under_load_nothing_is_lost_or_repeated(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    start = partial(daemon_process, tmp_path, DATABASE_URL=database_url, **UNLIMITED)
    codes = []

    with trio.fail_after(HANG):
        async with open_receiver(HANDLERS) as receiver, AsyncExitStack() as lives:
            old = [await lives.enter_async_context(start()) for _ in range(2)]
            new = []
            async with under_load(await old[0].api.register(), receiver, *(daemon.port for daemon in old)) as load:
                for daemon in old:
                    new.append(await lives.enter_async_context(start()))
                    load.ports.append(new[-1].port)
                    await some_time()
                    codes.append(await daemon.stop())
                    load.ports.remove(daemon.port)
            await load.settle(database)
            codes += [await daemon.stop() for daemon in new]

    assert await audit(database, receiver, load.ledger) == []
    assert codes == [0] * 4
    assert not load.ledger.refused
