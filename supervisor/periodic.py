"""A steady beat, early wake-ups, and what happens when a turn overruns."""

from math import inf

import trio
from attrs import define, field


@define(eq=False)
class Periodic:
    """
    When to take the next turn: at the latest *interval* seconds after the last one began.

        while True:
            await turns.wait()
            await take_turn()

    Wakes may come at any time, also during a turn: then the next one follows at once. A turn that overruns
    the interval is followed by one turn, not by all that were missed.
    """

    interval: float
    _next_beat: float = field(init=False, default=-inf)
    _next_wake: float = field(init=False, default=inf)
    _woken: trio.Event = field(init=False, factory=trio.Event)

    def wake(self) -> None:
        """Have the next turn begin now; any number of wakes before it are one."""
        self.wake_at(-inf)

    def wake_at(self, moment: float) -> None:
        """Have a turn begin at *moment*, in Trio's time; of several moments the earliest is kept."""
        # Each turn looks anew at what comes after it, so the later moments need no memory here.
        if moment < self._next_wake:
            self._next_wake = moment
            self._woken.set()

    async def wait(self) -> None:
        """Return when the next turn should begin, the first time at once. A checkpoint in any case."""
        await trio.lowlevel.checkpoint()
        while (due := min(self._next_beat, self._next_wake)) > trio.current_time():
            self._woken = trio.Event()
            with trio.move_on_at(due):
                await self._woken.wait()
        self._begin(trio.current_time())

    def _begin(self, now: float) -> None:
        self._next_beat = now + self.interval
        if self._next_wake <= now:
            self._next_wake = inf
