"""The last resort of a full pool: an attempt is interrupted where an account without a slot has waited for seconds."""

import structlog
import trio
from attrs import define, field

from cueapi.delivery.capacity import Capacity
from cueapi.delivery.shares import to_interrupt
from cueapi.storage.clock import steady
from cueapi.storage.database import Database
from cueapi.storage.outbox import waiting_accounts
from cueapi.wakeups.hub import WakeupHub

PATIENCE = 2.0
"""Seconds for which an account without a slot waits for one to come free by itself."""

LOOK_INTERVAL = 0.5
"""Seconds between two looks while the pool is full."""

log = structlog.get_logger("cueapi.delivery.preemption")


@define(eq=False)
class Preemption:
    """Looks after the accounts that hold no slot while all are taken."""

    database: Database
    capacity: Capacity
    hub: WakeupHub
    _next_look: float = field(init=False, default=0.0)

    async def look(self) -> None:
        """Interrupt as many attempts as accounts have waited for too long; at most twice a second."""
        now = trio.current_time()
        if now >= self._next_look:
            self._next_look = now + LOOK_INTERVAL
            headroom = self.capacity.headroom()
            waiting = await waiting_accounts(self.database, headroom, PATIENCE)
            claims = to_interrupt(self.capacity.held(), size=self.capacity.size, waiting=waiting, now=steady())
            self.capacity.interrupt(claims)
            if claims:
                log.warning("attempts_interrupted", attempts=len(claims), accounts_waiting=waiting)

    def look_again(self) -> None:
        """Have the dispatcher look as soon as it may."""
        self.hub.dispatches.wake_at(self._next_look)
