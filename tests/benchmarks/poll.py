"""How much longer a poll takes where a million cues wait, than where a thousand do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import trio
from attrs import define, field

from cueapi.daemon.resources import open_resources
from cueapi.daemon.siblings import siblings
from cueapi.daemon.wiring import Wiring
from cueapi.settings import Settings
from cueapi.storage.database import Database
from tests.benchmarks.crowd import add_crowd
from tests.benchmarks.scene import PATIENCE, open_database, scratch
from tests.benchmarks.size import Size
from tests.benchmarks.table import Row, ratio
from tests.conftest import SECRET
from tests.storage.own_postgres import OwnPostgres
from tests.storage.rows import add_user

GOAL = 2
HOUR = 3600

# One of $1 cues each, from number $2 on; $3 how many.
MAKE_DUE = """
update cues
   set next_run = now() - interval '1 second'
 where id in (select 'cue_' || lpad(user_id::text, 3, '0') || lpad((each * $1::int + $2::int)::text, 9, '0')
                from generate_series(0, $3::int - 1) as each,
                     (select min(id) as user_id from users) u)
"""


async def measure(server: OwnPostgres, size: Size) -> list[Row]:
    """The product's poller over few cues and over many, in turns; as many are due, all over the table."""
    # The first ones are not counted: new connections, pages that nobody has read yet.
    few, many = [], []
    async with open_polls(server, size.few, size) as bare, open_polls(server, size.many, size) as ours:
        for _ in range(size.warm_up + size.polls):
            few.append(1000 * await bare.poll())
            many.append(1000 * await ours.poll())
    return [
        ratio(
            f"poll, {size.due} due of {size.many:,}", many[size.warm_up :], few[size.warm_up :],
            goal=GOAL, unit="ms", what=f"the same of {size.few:,}", at_most=True,
        )
    ]  # fmt: skip


@define(eq=False)
class Polls:
    """The daemon's poller, which polls when it is told to, over *cues* cues of which *due* come due each time."""

    database: Database
    wiring: Wiring
    cues: int
    due: int
    _rounds: count = field(factory=count)

    async def poll(self) -> float:
        """Seconds that a poll takes, from its first statement to its last."""
        step, last = self.cues // self.due, self.wiring.last_poll
        before = last.at
        await self.database.execute(MAKE_DUE, step, next(self._rounds) % step, self.due)
        self.wiring.hub.polls.wake()
        with trio.fail_after(PATIENCE):
            while last.at == before:
                await trio.sleep(0.002)
        assert last.cues == self.due
        return last.duration


@asynccontextmanager
async def open_polls(server: OwnPostgres, cues: int, size: Size) -> AsyncIterator[Polls]:
    """Polls of a database of their own. Of all siblings there is only the poller: what was fired goes nowhere."""
    with scratch() as home:
        async with open_database(server) as url, open_resources(_settings(url, home)) as resources:
            await add_crowd(resources.database, await add_user(resources.database), cues)
            wiring = Wiring.make(resources)
            (poller,) = [sibling for sibling in siblings(resources, wiring) if sibling.name == "poller"]
            async with trio.open_nursery() as nursery:
                await nursery.start(poller.run)
                with trio.fail_after(PATIENCE):
                    while wiring.last_poll.at is None:  # it polls once by itself
                        await trio.sleep(0.002)
                yield Polls(resources.database, wiring, cues, size.due)
                nursery.cancel_scope.cancel(reason="the block has ended")


def _settings(url: str, home: Path) -> Settings:
    return Settings(
        _env_file=None, database_url=url, data_dir=home, port=0, session_secret=SECRET, poller_interval_seconds=HOUR
    )
