"""Hosts without a free slot: an account that holds none anywhere has the next one, before what waits in front of it."""

from collections import Counter
from collections.abc import Iterator

import structlog
import trio
from attrs import define, field

from cueapi.delivery.capacity import Capacity
from cueapi.delivery.shares import to_interrupt_at_host
from cueapi.storage.database import Database
from cueapi.storage.outbox import KeptWaiting, kept_waiting
from cueapi.wakeups.hub import WakeupHub

PATIENCE = 1.0
"""Seconds after which the turn of an account has come whatever waits in front of it."""

LAST_PATIENCE = 2.0
"""Seconds after which an attempt is interrupted for it."""

LOOK_INTERVAL, LONGEST_INTERVAL = 0.5, 1.5
"""Seconds between two looks while a host is full."""

MOST_LOOKING = 0.05
"""The share of the time that may be spent on looks before they become seldom: where much waits they are slow."""

log = structlog.get_logger("cueapi.delivery.full_hosts")


def interval_after(took: float) -> float:
    """Seconds between a look that *took* so long and the next one."""
    return min(max(LOOK_INTERVAL, took / MOST_LOOKING), LONGEST_INTERVAL)


@define(eq=False)
class FullHosts:
    """Finds accounts that hold no slot, and whose deliveries are for hosts that are full."""

    database: Database
    capacity: Capacity
    hub: WakeupHub
    next_look: float = field(init=False, default=0.0)
    """From when on it looks again, on Trio's clock."""

    _waiting: list[KeptWaiting] = field(init=False, factory=list)

    async def look(self) -> None:
        """Note whose turn it is. Who has waited for too long gets a slot of an account that has more than its share."""
        headroom = self.capacity.headroom()
        if not headroom.full_hosts():
            return
        begun = trio.current_time()
        if begun >= self.next_look:
            self._waiting = await kept_waiting(self.database, headroom, PATIENCE)
            self.next_look = begun + interval_after(trio.current_time() - begun)
            self._interrupt()
        self.hub.dispatches.wake_at(self.next_look)

    def turns(self) -> Iterator[KeptWaiting]:
        """What is to be claimed before anything else: each once, when its host has a free slot."""
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if one.host in self.capacity.headroom().full_hosts():
                self._waiting.append(one)
            else:
                yield one

    def _interrupt(self) -> None:
        late = Counter(one.host for one in self._waiting if one.waited >= LAST_PATIENCE)
        for host, waiting in late.items():
            held = [one for one in self.capacity.held() if one.host == host]
            claims = to_interrupt_at_host(held, size=self.capacity.per_host, waiting=waiting)
            self.capacity.interrupt(claims)
            if claims:
                log.warning("attempts_interrupted", host=host, attempts=len(claims), accounts_waiting=waiting)
