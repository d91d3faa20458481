"""SIGKILL at each step of an incident's life, and amid thousands of them: none is lost, none is told of twice."""

import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import trio
from attrs import define, field

from cueapi.domain.notification import channel_message_id
from cueapi.storage.database import Database
from tests.chaos.due import Due, number_of
from tests.chaos.load import UNLIMITED
from tests.conftest import Api, cue
from tests.ports import free_port
from tests.process import HANG, DaemonProcess, daemon_process
from tests.receiver import Received, Receiver, open_receiver
from tests.storage.rows import ago

Start: TypeAlias = Callable[[], AbstractAsyncContextManager[DaemonProcess]]

THRESHOLDS = {"failure_threshold": 3, "recovery_threshold": 2}
NO_INCIDENT = "lock table incidents in share mode"
NO_REMOVAL = "lock table notifications in share mode"
# Who admits the first message of a channel writes this row.
NO_ADMISSION = "insert into channel_gates select id, 'opened', '{}' from channels"
WAITS = "select from pg_stat_activity where wait_event_type = 'Lock' and query like '%' || $1 || '%'"
BLOCKED = "select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock'"

# Held until its messages have been counted by the test, not for the minutes that lie between two digests.
HURRY = "update notifications set ready_at = now() where event = 'digest' and claim is null"
CLAIMED = "select id, channel_id, content::text as content from notifications where claim is not null"
WAITING = "select count(*) as n from notifications"

OPENED = """
select count(*) as n, count(distinct subject) as cues, min(events) as least, max(events) as most from incidents
 where kind = 'failing'
"""


@define(eq=False)
class Told:
    """What channels have heard: each message by its id, and which were under way at a SIGKILL."""

    receiver: Receiver
    paths: tuple[str, ...]
    """One channel each."""

    under_way: Counter[str] = field(factory=Counter)

    @property
    def messages(self) -> list[Received]:
        """What has come."""
        return [one for one in self.receiver.requests if one.path in self.paths]

    def count(self) -> Counter[str]:
        """How often each message came."""
        return Counter(str(one.header("webhook-id")) for one in self.messages)

    def events(self) -> Counter[str]:
        """How many messages, of which each may have come more than once, there were of each event."""
        return Counter(event for event, _ in {(one["event"], identity) for identity, one in self._bodies()})

    def opened(self) -> int:
        """Of how many incidents it was told that they have opened, one by one and in digests."""
        bodies = dict(self._bodies()).values()
        return sum(one.get("opened", 0) if one["event"] == "incident.digest" else 1 for one in bodies)

    def _bodies(self) -> list[tuple[str, dict[str, Any]]]:
        return [(str(one.header("webhook-id")), json.loads(one.body)) for one in self.messages]

    async def note(self, database: Database) -> None:
        """Note what a daemon that was killed had under way: it may come once more, under the same id."""
        for row in await database.fetch(CLAIMED):
            content = json.loads(row["content"])
            self.under_way[channel_message_id(content, row["channel_id"], row["id"])] += 1

    def repeated(self) -> dict[str, int]:
        """What came more often than it may have."""
        return {one: times for one, times in self.count().items() if times > 1 + self.under_way[one]}


class Undone(Exception):
    """A transaction that was only to be in the way."""


@asynccontextmanager
async def blocked(database: Database, statement: str) -> AsyncIterator[None]:
    """
    For the length of the block a transaction that has done *statement* is in the way of others, then it is undone.

    What waits for it is cut off then, or goes on although nobody hears of it any more: as chance will have it.
    """
    with suppress(Undone):
        async with database.transaction() as tx:
            await tx.execute(statement)
            yield
            if random.random() < 0.5:
                await database.fetch(BLOCKED)
            raise Undone


@define(eq=False)
class Life:
    """An account's life over several daemons, of which each is killed."""

    database: Database
    start: Start
    told: Told
    handler: Receiver
    answered: trio.Event = field(factory=trio.Event)
    """Lets the receiver of the second channel answer its first message."""

    cue_id: str = ""
    key: str = ""

    async def begin(self, daemon: DaemonProcess) -> None:
        """Register, and make the channels and the cue."""
        api = await daemon.api.register()
        self.key = api.key
        for path in self.told.paths:
            url = self.told.receiver.url(path)
            await api.post("/v1/channels", {"kind": "webhook", "name": "hook", "url": url})
        made = await api.post("/v1/cues", cue(self.handler.url(), retry={"max_attempts": 1}, alerts=THRESHOLDS))
        self.cue_id = made["id"]

    async def fire(self, daemon: DaemonProcess, times: int) -> None:
        """Have the cue fail, or do well, so many times."""
        api = Api(daemon.client, self.key)
        for _ in range(times):
            fired = await api.post(f"/v1/cues/{self.cue_id}/fire")
            await api.execution(fired["id"])

    async def ask(self, daemon: DaemonProcess) -> None:
        """Fire, and wait for nothing."""
        await Api(daemon.client, self.key).post(f"/v1/cues/{self.cue_id}/fire")

    async def incidents(self) -> list[Any]:
        """All of them."""
        return await self.database.fetch("select * from incidents")

    async def killed_at(self, words: str, daemon: DaemonProcess) -> None:
        """Kill *daemon* as soon as a statement with these *words* in its begin waits for a lock."""
        while not await self.database.fetch(WAITS, words):
            await trio.sleep(0.01)
        await daemon.kill()
        await self.told.note(self.database)

    async def ends(self, fact: Callable[[], bool]) -> None:
        """Return when *fact* holds, and no message waits any more."""
        while not fact() or await number_of(self.database, WAITING):
            await trio.sleep(0.02)


def starting(home: Path, url: str) -> Start:
    """Begins a life of the daemon, always at the same port."""
    settings = UNLIMITED | {"DATABASE_URL": url, "POLLER_INTERVAL_SECONDS": 1}
    return partial(daemon_process, home, port=free_port(), **settings)


async def open_it(life: Life) -> None:
    """Have the third failure open it, and one message tell of it: a daemon is killed at each step of that."""
    database = life.database
    async with life.start() as daemon:
        await life.begin(daemon)
        await life.fire(daemon, 2)
        assert await life.incidents() == []
        async with blocked(database, NO_INCIDENT):  # It decides.
            await life.ask(daemon)
            await life.killed_at("with failures as", daemon)
    async with blocked(database, NO_ADMISSION), life.start() as daemon:  # It admits the messages.
        await life.killed_at("admit_messages", daemon)
    async with life.start() as daemon:  # One message is under way; the other was sent, and its row is being removed.
        await life.told.receiver.wait_for(2)
        async with blocked(database, NO_REMOVAL):
            life.answered.set()
            await life.killed_at("delete from notifications", daemon)


async def end_it(life: Life) -> list[Any]:
    """Have the second of two good executions end it: a daemon is killed as it decides that. Returns what was open."""
    async with life.start() as daemon:
        await life.ends(lambda: True)
        await life.fire(daemon, 47)
        opened = await life.incidents()
        life.handler.script = (200,)
        await life.fire(daemon, 1)
        async with blocked(life.database, NO_INCIDENT):
            await life.ask(daemon)
            await life.killed_at("with transitions as", daemon)
    async with life.start() as daemon:
        await life.ends(lambda: life.told.events()["incident.resolved"] == 2)
        await life.fire(daemon, 1)
        assert await daemon.stop() == 0
    return opened


async def test_killed_at_each_step_an_incident_is_opened_once_ended_once_and_told_of_under_one_id(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    answered = trio.Event()
    with trio.fail_after(HANG):
        async with (
            open_receiver([500]) as handler,
            open_receiver({"/told/1": ["hang", 200], "/told/2": [answered, 200]}) as receiver,
        ):
            told = Told(receiver, ("/told/1", "/told/2"))
            life = Life(database, starting(tmp_path, database_url), told, handler, answered)
            await open_it(life)
            opened = await end_it(life)
            (ended,) = await life.incidents()

    assert [(one["id"], one["events"], one["resolved_at"]) for one in opened] == [(ended["id"], 48, None)]
    assert ended["resolved_at"] is not None
    assert life.told.events() == {"incident.opened": 2, "incident.resolved": 2}
    assert life.told.repeated() == {}


async def fail_all(life: Life, number: int, kills: int) -> None:
    """Have so many cues fail at once, and so many daemons be killed; returns when a channel was told of all."""

    async def have_failed(share: float) -> None:
        while (await number_of(life.database, OPENED)) < share * number:
            await trio.sleep(0.02)

    async with life.start() as daemon:
        await life.begin(daemon)
        begun = trio.current_time()
        await Due(number, life.handler, ago(seconds=number / 1000)).write(life.database)
        await have_failed(random.uniform(0, 1 / kills))
        await daemon.kill()
        await life.told.note(life.database)
    for kill in range(1, kills):
        async with life.start() as daemon:
            await have_failed(random.uniform(kill, kill + 1) / kills)
            await daemon.kill()
            await life.told.note(life.database)
    async with life.start() as daemon:
        await have_failed(1.0)
        lasted = trio.current_time() - begun
        # The first is due after 20 s, each other one 5 minutes after the one before, whatever is killed and begun anew.
        assert life.told.events()["incident.digest"] <= (0 if lasted < 20 else 1 + lasted // 300)
        while life.told.opened() < number or await number_of(life.database, WAITING):
            await life.database.execute(HURRY)
            await trio.sleep(0.05)
        assert await daemon.stop() == 0


async def test_of_thousands_of_cues_that_fail_at_once_each_has_its_incident_and_few_messages_tell_of_all(
    database_url: str, database: Database, tmp_path: Path, rounds: int
) -> None:
    number = min(300 * rounds, 10_000)
    with trio.fail_after(HANG + 10 * rounds):
        async with open_receiver([500]) as handler, open_receiver() as receiver:
            told = Told(receiver, ("/told",))
            await fail_all(Life(database, starting(tmp_path, database_url), told, handler), number, max(rounds // 3, 1))
        (incidents,) = await database.fetch(OPENED)

    assert [*incidents] == [number, number, 1, 1]
    assert told.opened() == number
    assert told.events()["incident.opened"] == 20
    assert sum(told.events().values()) <= 25
    assert told.repeated() == {}
