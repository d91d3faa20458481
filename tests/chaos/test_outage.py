"""A host that is down for ten minutes while thousands wait for it, and a daemon that is killed with the probe."""

from bisect import bisect
from functools import partial
from pathlib import Path

import trio
from attrs import define, field

from cueapi.storage.database import Database, Row
from tests.chaos.audit import audit, settled
from tests.chaos.due import Due, number_of
from tests.chaos.faults import in_flight
from tests.chaos.ledger import Kind, Ledger
from tests.chaos.load import SUCCESS, UNLIMITED
from tests.chaos.test_daemons import number_of as claims_as
from tests.delivery.target_scene import Host, open_host
from tests.process import HANG, DaemonProcess, daemon_process
from tests.storage.rows import ago

AT_ONCE = 8
"""HOST_CONCURRENCY."""

OUTAGE = 600.0
"""Seconds for which the host is down; the test does not wait for them: it sets the time of the next probe."""

OVERTAKEN = 100
"""By how many later ones a delivery may be overtaken on its way to the receiver; it does not begin after them."""

ONCE_IT_SERVES = Kind("once it serves", "success", frozenset(range(1, 12)))
TARGET = "select *, extract(epoch from next_probe_at - now())::float8 as due_in from targets"
PROBE_NOW = "update targets set next_probe_at = now() where state = 'open'"
MADE = "select count(*) from executions"
UNTRIED = "select count(*) from executions where attempts = 0"
HOLDS = "select count(*) from outbox where claimed_by = $1"
BEGUN = "select id, last_attempt_at from executions where attempts = 1 order by ready_at"


@define(eq=False)
class Outage:
    """What happens while the host is down."""

    database: Database
    host: Host
    number: int
    ledger: Ledger = field(factory=Ledger)
    probes: int = 0
    failed: int = 0
    """Of the probes those that were answered."""

    over: float = 0.0
    """Seconds of the outage that are over."""

    async def begins(self) -> None:
        """Have everything come due while the host answers 503; returns when it has opened, and everything waits."""
        due = Due(self.number, self.host, ago(seconds=self.number / 1000), max_attempts=11)
        await due.write(self.database)
        await due.promise(self.database, self.ledger, ONCE_IT_SERVES)
        await self._is("open")
        while await number_of(self.database, MADE) < self.number or await in_flight(self.database):
            await trio.sleep(0.02)

    async def kill_a_probe(self, *daemons: DaemonProcess) -> DaemonProcess:
        """Have the next probe hang, and kill its daemon: the other one probes instead. Returns which one that was."""
        before = len(self.host.requests)
        self.host.script = ("hang",)
        await self._probe()
        await self.host.wait_for(before + 1)
        # The other daemon looks at the targets every second.
        await trio.sleep(1.5)
        assert len(self.host.requests) == before + 1
        (killed,) = [one for one in daemons if await number_of(self.database, HOLDS, claims_as(one))]
        self.ledger.faults.append(await in_flight(self.database))
        self.host.script = (503,)
        await killed.kill()
        await self._fails()
        self.probes += 1
        return killed

    async def goes_on(self) -> None:
        """Pass from one probe to the next, until its time is over."""
        while self.over < OUTAGE:
            await self._probe()
            await self._fails()

    async def ends(self) -> None:
        """Have the host serve, and the last probe be made; returns when everything is done."""
        self.host.script, self.host.most = (SUCCESS,), 0
        await self._probe()
        await settled(self.database, self.ledger, HANG)

    async def _probe(self) -> None:
        row = await self._is("open")
        self.over += row["due_in"]
        self.probes += 1
        await self.database.execute(PROBE_NOW)

    async def _fails(self) -> None:
        self.failed += 1
        while (await self._is("open"))["opens"] <= self.failed:
            await trio.sleep(0.02)

    async def _is(self, state: str) -> Row:
        """The target, as soon as it is in that state."""
        while (row := await self.database.fetch_one(TARGET)) is None or row["state"] != state:
            await trio.sleep(0.02)
        return row


def most_overtaken(ranks: list[int]) -> int:
    """By how many later ones at most one of them was overtaken, in the order of their arrival."""
    arrived: list[int] = []
    most = 0
    for rank in ranks:
        place = bisect(arrived, rank)
        most = max(most, len(arrived) - place)
        arrived.insert(place, rank)
    return most


async def live_through(outage: Outage, *daemons: DaemonProcess) -> int:
    """From the begin of the outage to its end, and what was seen of it; the exit code of the daemon that was left."""
    host, database = outage.host, outage.database
    await outage.begins()
    asked, waited = len(host.requests), await number_of(database, UNTRIED)
    killed = await outage.kill_a_probe(*daemons)
    await outage.goes_on()
    known = len(host.requests)

    # Of each daemon ten that failed, and as many as were under way then.
    assert asked <= 2 * (10 + AT_ONCE)
    assert known - asked == outage.probes <= 15
    # Each probe is an attempt of the one that has waited longest, and of no other.
    assert await number_of(database, UNTRIED) >= waited - outage.probes
    hanging = host.under_way
    await outage.ends()
    assert host.most - hanging <= AT_ONCE
    begun = await database.fetch(BEGUN)
    assert len(begun) >= waited - outage.probes
    moments = [row["last_attempt_at"] for row in begun]
    assert moments == sorted(moments)
    ranks = {str(row["id"]): rank for rank, row in enumerate(begun)}
    arrived = [str(one.header("x-cueapi-execution-id")) for one in host.requests[known:]]
    assert most_overtaken([ranks[one] for one in arrived if one in ranks]) <= OVERTAKEN
    (left,) = [one for one in daemons if one is not killed]
    return await left.stop()


async def test_thousands_wait_for_a_host_that_is_down_for_ten_minutes_and_are_delivered_in_their_order(
    database_url: str, database: Database, tmp_path: Path, rounds: int
) -> None:
    settings = UNLIMITED | {"DATABASE_URL": database_url, "POLLER_INTERVAL_SECONDS": 1, "HOST_CONCURRENCY": AT_ONCE}
    start = partial(daemon_process, tmp_path, **settings)
    with trio.fail_after(2 * HANG):
        async with open_host(503) as host, start() as one, start() as other:
            await one.api.register()
            outage = Outage(database, host, min(300 * rounds, 5_000))
            code = await live_through(outage, one, other)
            broken = await audit(database, host, outage.ledger)

    assert broken == []
    assert code == 0
