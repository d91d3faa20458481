"""When keys are used, gathered here and written later: a request waits for none of it."""

from contextlib import suppress

import trio
from attrs import define, field

from cueapi.storage import key_uses
from cueapi.storage.clock import Clock
from cueapi.storage.database import Database, StorageUnavailable
from cueapi.storage.key_uses import KeyUse

PAUSE = 1.0
"""Seconds in which uses gather before they are written, all by one statement."""


@define(eq=False)
class KeyUses:
    """Notes the first use of each key in a minute; a sibling that writes them. What is lost is seen a minute later."""

    database: Database
    clock: Clock
    _minute: float = field(init=False, default=0.0)
    _noted: set[str] = field(init=False, factory=set)
    _waiting: dict[str, KeyUse] = field(init=False, factory=dict)
    _any: trio.Event = field(init=False, factory=trio.Event)

    def note(self, key_id: str, address: str) -> None:
        """The key of that id was used from *address*."""
        minute = self.clock.timestamp() // 60
        if minute != self._minute:
            self._minute, self._noted = minute, set()
        if key_id in self._noted:
            return
        self._noted.add(key_id)
        self._waiting[key_id] = KeyUse(key_id, self.clock.now(), address)
        self._any.set()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Write what has gathered, until it is cancelled."""
        task_status.started()
        while True:
            await self._any.wait()
            await trio.sleep(PAUSE)
            uses, self._waiting, self._any = self._waiting, {}, trio.Event()
            with suppress(StorageUnavailable):
                await key_uses.touch(self.database, uses.values())
