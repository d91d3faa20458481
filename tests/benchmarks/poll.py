"""How much longer a poll takes where a million cues wait, than where a thousand do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import trio
from attrs import define, field

from cueapi.delivery.poller import LastPoll, Poller
from cueapi.metrics import Metrics
from cueapi.storage.clock import Clock
from cueapi.storage.postgres import Database
from supervisor import Channel, Periodic
from tests.benchmarks.crowd import add_crowd, open_storage
from tests.benchmarks.scene import PATIENCE
from tests.benchmarks.size import Size
from tests.benchmarks.table import Row, ratio
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
    """A poller that polls when it is told to, over *cues* cues of which *due* come due each time."""

    database: Database
    poller: Poller
    cues: int
    due: int
    _rounds: count = field(factory=count)

    async def poll(self) -> float:
        """Seconds that a poll takes, from its first statement to its last."""
        step, before = self.cues // self.due, self.poller.last.at
        await self.database.execute(MAKE_DUE, step, next(self._rounds) % step, self.due)
        self.poller.turns.wake()
        with trio.fail_after(PATIENCE):
            while self.poller.last.at == before:
                await trio.sleep(0.002)
        assert self.poller.last.cues == self.due
        return self.poller.last.duration


@asynccontextmanager
async def open_polls(server: OwnPostgres, cues: int, size: Size) -> AsyncIterator[Polls]:
    """Polls of a database of their own. What was fired goes nowhere."""
    async with open_storage(server) as database, trio.open_nursery() as nursery:
        await add_crowd(database, await add_user(database), cues)
        poller = Poller(
            database, Periodic(HOUR), Periodic(HOUR), Channel("retries", 1000), Clock(), Metrics(), LastPoll(),
            lambda _user: None, batch=500,
        )  # fmt: skip
        await nursery.start(poller.run)
        yield Polls(database, poller, cues, size.due)
        nursery.cancel_scope.cancel(reason="the block has ended")
