"""At most so many requests at once to one host and port, and how many more may be claimed ahead of them."""

from collections import Counter, deque

import trio
from attrs import define, field

AHEAD = 0.25
"""Seconds: as many as a host ended in the last ones, it may end in the next, and so many are claimed ahead."""

PATIENCE = 1.0
"""
Seconds for which a delivery that was claimed ahead waits for its slot, before it is given back: while it waits, its
account counts as one that holds a place, and none is made free for it.
"""


@define(eq=False)
class HostSlots:
    """
    *per_host* slots for each host and port, first come, first served.

    A request that ends is followed at once by one that was claimed ahead, so that no host waits for a claim. How many
    these may be follows from the host's pace: one that answers slowly has none, and is left to other daemons.
    """

    per_host: int
    _busy: Counter[str] = field(init=False, factory=Counter)
    _waiting: dict[str, trio.lowlevel.ParkingLot] = field(init=False, factory=dict)
    _ended: dict[str, deque[float]] = field(init=False, factory=dict)
    _is_open: bool = field(init=False, default=False)

    def take(self, host: str) -> bool:
        """True where a request to *host* may be sent at once; `release` must follow."""
        if self._busy[host] < self.per_host or self._is_open:
            self._busy[host] += 1
            return True
        return False

    async def acquire(self, host: str) -> bool:
        """As `take`, when one has ended. False where none did for PATIENCE."""
        if self.take(host):
            return True
        waiting = self._waiting.setdefault(host, trio.lowlevel.ParkingLot())
        with trio.move_on_after(PATIENCE):
            # It is handed over by `release`, and stays counted.
            await waiting.park()
            return True
        return False

    def release(self, host: str) -> None:
        """The request has ended: the one that has waited longest takes its slot."""
        self._ended.setdefault(host, deque(maxlen=self.per_host)).append(trio.current_time())
        waiting = self._waiting.get(host)
        if waiting:
            waiting.unpark()
            return
        self._waiting.pop(host, None)
        self._busy[host] -= 1
        if not self._busy[host]:
            del self._busy[host]

    def open(self) -> None:
        """Let everything pass from now on: the drain releases what was claimed ahead."""
        self._is_open = True
        for host, waiting in self._waiting.items():
            self._busy[host] += len(waiting)
            waiting.unpark_all()
        self._waiting.clear()

    def ahead(self) -> dict[str, int]:
        """How many deliveries may be claimed beyond the slots, by host; at most *per_host*."""
        if not self._ended:
            return {}
        since = trio.current_time() - AHEAD
        for host, ended in list(self._ended.items()):
            while ended and ended[0] < since:
                ended.popleft()
            if not ended:
                del self._ended[host]
        return {host: len(ended) for host, ended in self._ended.items()}
