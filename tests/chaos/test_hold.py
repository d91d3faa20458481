"""A hold under load, on two daemons of which one is killed meanwhile."""

from functools import partial
from pathlib import Path

import trio

from cueapi.storage.database import Database
from tests.chaos.load import HANDLERS, UNLIMITED
from tests.conftest import Api, cue
from tests.ports import free_port
from tests.process import HANG, daemon_process
from tests.receiver import open_receiver

ONE_TIME, RECURRING = 60, 20

# Some are due before the hold, most while it lasts; each by its own time.
SPREAD = """
update cues
   set next_run = now() + n * interval '0.1 seconds', schedule_at = now() + n * interval '0.1 seconds'
  from (select id, row_number() over (order by id) as n from cues where schedule_type = 'once') o
 where cues.id = o.id
"""

DUE_AGAIN = "update cues set next_run = now() where schedule_type = 'recurring' and status = 'active'"

# What was made or begun later than a second after the hold, and before its release.
BEGUN = """
select count(*) as begun
  from executions e
  join holds h on h.user_id = e.user_id
 where greatest(e.created_at, e.last_attempt_at) between h.since + interval '1 second' and coalesce(h.ended_at, now())
"""

PARKED = "select count(*) as parked from cues where parked_run is not null"
ENDED = "select status, fired_count from cues where schedule_type = 'once'"


async def number(database: Database, statement: str) -> int:
    row = await database.fetch_one(statement)
    return int(row[0])


async def keep_due(database: Database) -> None:
    """Have the recurring cues come due five times a second."""
    while True:
        await database.execute(DUE_AGAIN)
        await trio.sleep(0.2)


async def add_cues(api: Api, url: str) -> None:
    once = {"type": "once", "at": "2100-01-01T00:00:00Z"}
    for _ in range(ONE_TIME):
        await api.post("/v1/cues", cue(url, schedule=once))
    for _ in range(RECURRING):
        await api.post("/v1/cues", cue(url))


async def look(database: Database) -> tuple[int, bool]:
    """How many began under the hold, and whether any is parked, after three seconds in which much was due."""
    while not await number(database, PARKED):
        await trio.sleep(0.05)
    await trio.sleep(3)
    return await number(database, BEGUN), await number(database, PARKED) > 0


async def test_under_a_hold_nothing_begins_on_any_daemon_and_after_the_release_nothing_is_lost(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    start = partial(daemon_process, tmp_path, DATABASE_URL=database_url, POLLER_INTERVAL_SECONDS=1, **UNLIMITED)
    port = free_port()
    with trio.fail_after(HANG):
        async with (
            open_receiver(HANDLERS) as receiver,
            start(port=port) as killed,
            start() as other,
            trio.open_nursery() as load,
        ):
            api = await other.api.register()
            await add_cues(api, receiver.url("/done"))
            load.start_soon(keep_due, database)
            await database.execute(SPREAD)
            await receiver.wait_for(10)
            held = await api.ask("PUT", "/v1/hold", {"mode": "everything"})
            await killed.kill()
            async with start(port=port):
                seen = await look(database)
                released = await api.ask("DELETE", "/v1/hold")
                while {row["status"] for row in await database.fetch(ENDED)} != {"completed"}:
                    await trio.sleep(0.05)
            load.cancel_scope.cancel()

    assert (held.status_code, released.status_code) == (200, 204)
    assert seen == (0, True)
    assert {row["fired_count"] for row in await database.fetch(ENDED)} == {1}
    assert await number(database, "select count(*) from executions where late") > 0
    assert await number(database, "select sum(held_count)::bigint from cues") > 0
