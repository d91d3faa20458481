"""The load: clients of one account that ask for much, at whichever daemon answers, until each is sure of its answer."""

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

import trio
from attrs import define, field

from cueapi.storage.database import Database
from tests.chaos.asking import NoAnswer, ask
from tests.chaos.audit import SETTLED_WITHIN, settled
from tests.chaos.ledger import DONE, FAILING, FLAKY, HANGING, SLOW, Kind, Ledger
from tests.conftest import Api, cue
from tests.receiver import Receiver, Script, Step

CLIENTS = 4
PAUSE = 0.06
"""Seconds, at most, between an answer and the client's next request."""

AGAIN_AFTER = 0.1
"""Seconds after which a request is repeated that nobody answered, or that was put off."""

SOON = (0.2, 2.5)
"""In how many seconds a one-time cue is due: from, to."""

UNLIMITED = {"RATE_LIMIT_PER_MINUTE": 100_000_000}
"""Settings of a daemon under load."""

SUCCESS: Step = (200, b'{"success": true}', {})
HANDLERS: Script = {
    "/done": [SUCCESS],
    "/slow": [0.4],
    "/failing": [500],
    "/hanging": ["hang"],
    **{f"/flaky/{number}": [500, SUCCESS] for number in range(10_000)},
}
PUT_OFF = "storage_unavailable"
STILL_RUNNING = "idempotency_key_in_use"
"""The request whose answer was lost is not done yet."""

TOO_LATE = "invalid_schedule"
"""A one-time cue was put off until its time had passed."""


@define(eq=False)
class Load:
    """What the clients share: *ports* are the daemons that may be asked, and change under way."""

    receiver: Receiver
    key: str
    ports: list[int]
    ledger: Ledger = field(factory=Ledger)
    ending: bool = False
    standing: dict[Kind, str] = field(factory=dict)
    _numbers: Iterator[int] = field(factory=count)

    async def begin(self) -> None:
        """Make the cues that are fired by hand, and one that fires by itself every minute."""
        for kind in (DONE, SLOW, FAILING, HANGING):
            made = await self._make(kind)
            assert made is not None
            self.standing[kind] = made["id"]
        made = await self._make(DONE, schedule={"type": "recurring", "cron": "* * * * *", "timezone": "UTC"})
        assert made is not None
        self.ledger.minutely[made["id"]] = datetime.fromisoformat(made["created_at"])

    async def go_on(self) -> None:
        """Be one client until the load ends; the last request is seen through."""
        while not self.ending:
            await (self._fire() if random.random() < 0.6 else self._schedule())
            await trio.sleep(random.uniform(0, PAUSE))

    async def settle(self, database: Database, within: float = SETTLED_WITHIN) -> None:
        """Return when everything has ended, and nothing fires any more."""
        await settled(database, self.ledger, within)
        for cue_id in self.ledger.minutely:
            await self._ask(f"/v1/cues/{cue_id}", {"status": "paused"}, "PATCH")
        await settled(database, self.ledger, within)

    async def _fire(self) -> None:
        (kind,) = random.choices([DONE, SLOW, FAILING, HANGING], [60, 25, 10, 5])
        if (fired := await self._ask(f"/v1/cues/{self.standing[kind]}/fire", {})) is not None:
            self.ledger.fires[fired["id"]] = self.standing[kind]

    async def _schedule(self) -> None:
        (kind,) = random.choices([DONE, FLAKY, FAILING], [60, 30, 10])
        at = datetime.now(UTC) + timedelta(seconds=random.uniform(*SOON))
        made = await self._make(kind, schedule={"type": "once", "at": at.isoformat()})
        if made is not None:
            self.ledger.once[made["id"]] = datetime.fromisoformat(made["schedule"]["at"])

    async def _make(self, kind: Kind, **fields: object) -> dict[str, Any] | None:
        path = f"/flaky/{next(self._numbers)}" if kind is FLAKY else f"/{kind.name}"
        made = await self._ask("/v1/cues", cue(self.receiver.url(path), **kind.fields, **fields))
        if made is not None:
            self.ledger.cues[made["id"]] = kind
        return made

    async def _ask(self, path: str, body: dict[str, Any], method: str = "POST") -> dict[str, Any] | None:
        """
        Ask until somebody answers; None where the answer is no.

        Who got no answer asks again under the same key, so that in the end it is known what has been done.
        """
        key = uuid4().hex
        while True:
            port = random.choice(self.ports)
            try:
                answer = await ask(
                    port, path, body, method=method, Authorization=f"Bearer {self.key}", Idempotency_Key=key
                )
            except NoAnswer:
                await trio.sleep(AGAIN_AFTER)
                continue
            if answer.status < 300:
                return answer.body
            if answer.code not in {STILL_RUNNING, TOO_LATE}:
                self.ledger.refused[answer.code] += 1
            if answer.code not in {STILL_RUNNING, PUT_OFF}:
                return None
            await trio.sleep(AGAIN_AFTER)


@asynccontextmanager
async def under_load(api: Api, receiver: Receiver, *ports: int) -> AsyncIterator[Load]:
    """Clients of a registered user ask for the length of the block; at its end each is sure of its answers."""
    load = Load(receiver, api.key, list(ports))
    await load.begin()
    async with trio.open_nursery() as nursery:
        for number in range(CLIENTS):
            nursery.start_soon(load.go_on, name=f"client {number}")
        yield load
        load.ending = True
    assert load.ledger.fires, "nothing was fired: there is nothing to be lost"
