"""SIGKILL at random moments of an operation: none is skipped, none is done twice, and the sums are exact."""

import random
from itertools import count
from pathlib import Path

import trio

from cueapi.domain.bulk import Kind
from cueapi.storage.database import Database
from tests.cradle import Order, cradle
from tests.delivery.test_operations import add_dead, begin, find
from tests.process import LOOK, environment
from tests.storage.rows import add_user

KILLS = 20
_numbers = count()


async def live(home: Path, dsn: str, seconds: float | None) -> None:
    """One life of the process, which is killed after *seconds*; with None, when the caller's scope ends."""
    said = home / f"said-{next(_numbers)}"
    process = await cradle().fork(Order(home, environment(home), said, said, (dsn,), "tests.chaos.operating"))
    try:
        while "up" not in said.read_text():
            assert process.poll() is None, said.read_text()
            await trio.sleep(LOOK)
        await trio.sleep_forever() if seconds is None else await trio.sleep(seconds)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def test_killed_twenty_times_an_operation_has_replayed_each_once(
    database_url: str, database: Database, tmp_path: Path, rounds: int
) -> None:
    dead, chance = 3 * min(400 * rounds, 3_333), random.Random()
    with trio.fail_after(300):
        user = await add_user(database)
        await add_dead(database, user, dead)
        operation = await begin(database, user, Kind.REPLAY, dead)
        for _ in range(KILLS):
            await live(tmp_path, database_url, chance.uniform(0.0, 0.3))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(live, tmp_path, database_url, None)
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
