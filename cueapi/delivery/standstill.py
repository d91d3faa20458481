"""When this process did not run: it was stopped, its machine was paused, or something held the event loop."""

from math import inf
from typing import NoReturn

import structlog
import trio
from attrs import define, field

BEAT = 0.5
"""Seconds between two looks at the clock."""

NOTICED = 2.0
"""Seconds of standing still that are more than a busy machine."""

log = structlog.get_logger("cueapi.delivery.standstill")


def stood_still(*, lost: float, deadline: float, now: float) -> bool:
    """
    Whether it may be due to us, not to the handler, that an attempt has failed, at its *deadline* or before.

    It may where so much of its time was *lost*, or where we come to it so long after the deadline.
    """
    return lost >= NOTICED or now - deadline >= NOTICED


@define(eq=False)
class Standstills:
    """How many seconds were lost, by a beat that came late."""

    _due: float = field(init=False, default=inf)
    _before: float = field(init=False, default=0.0)

    async def watch(self) -> NoReturn:
        """Beat until it is cancelled."""
        while True:
            self._due = trio.current_time() + BEAT
            await trio.sleep_until(self._due)
            if (late := trio.current_time() - self._due) >= NOTICED:
                self._before += late
                log.warning("standstill_noticed", seconds=round(late, 1))

    def lost(self) -> float:
        """All seconds that were lost so far, the present standstill among them."""
        late = trio.current_time() - self._due
        return self._before + (late if late >= NOTICED else 0.0)
