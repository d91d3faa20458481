"""SIGKILL at random moments of an operation: none is skipped, none is done twice, and the sums are exact."""

import random
import sys
from subprocess import PIPE

import trio

from cueapi.domain.bulk import Kind
from cueapi.storage.database import Database
from tests.delivery.test_operations import add_dead, begin, find
from tests.process import ROOT
from tests.storage.rows import add_user

KILLS = 20


async def live(dsn: str, seconds: float | None) -> None:
    """One life of the process, which is killed after *seconds*; with None, when the caller's scope ends."""
    command = [sys.executable, "-m", "tests.chaos.operating", dsn]
    process = await trio.lowlevel.open_process(command, stdout=PIPE, cwd=ROOT)
    try:
        assert process.stdout is not None
        await process.stdout.receive_some(3)
        await trio.sleep_forever() if seconds is None else await trio.sleep(seconds)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def test_killed_twenty_times_an_operation_has_replayed_each_once(
    database_url: str, database: Database, rounds: int
) -> None:
    dead, chance = 3 * min(400 * rounds, 3_333), random.Random()
    with trio.fail_after(300):
        user = await add_user(database)
        await add_dead(database, user, dead)
        operation = await begin(database, user, Kind.REPLAY, dead)
        for _ in range(KILLS):
            await live(database_url, chance.uniform(0.0, 0.3))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(live, database_url, None)
            while (row := await find(database, user, operation)).finished_at is None:
                await trio.sleep(0.1)
            nursery.cancel_scope.cancel()
        made = await database.fetch(
            "select count(*) as made, count(distinct replayed_from) as origins,"
            " (select sum(fired_count)::bigint from cues) as fired, (select count(*) from outbox) as waiting"
            "  from executions where triggered_by = 'replay'"
        )

    assert (row.status, row.matched, row.done, row.progress.skipped, row.failed) == ("done", dead, dead, {}, 0)
    assert [*made[0]] == [dead, dead, dead, dead]
