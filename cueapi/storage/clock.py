"""Wall time: PostgreSQL's clock, as far as the process knows it. The only place that reads the machine's clocks."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from attrs import define, field, frozen

from cueapi.domain.errors import Refusal
from cueapi.storage.database import Executor, Row

TOLERANCE = timedelta(seconds=5)
"""A machine whose clock is further off PostgreSQL's says so; a clock that moves further at once has jumped."""

STEP = 1.0
"""Seconds by which the machine's wall clock must have been set before PostgreSQL is asked again."""

T = TypeVar("T")


def steady() -> float:
    """Seconds that run on evenly whatever is set; on Linux also while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@frozen
class MachineClocks:
    """Seconds by the machine: *wall* time since the epoch, which may be set, and *steady* time, which is not."""

    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = steady


@frozen
class _Measurement:
    """What PostgreSQL *told*, when by the steady clock, and how far the machine's wall clock led that then."""

    told: datetime
    at: float
    lead: float


class PresentMoment(Row):
    """PostgreSQL's clock."""

    now: datetime


PRESENT = "select clock_timestamp() as now"


@define(eq=False)
class Clock:
    """
    PostgreSQL's wall time: what it last told, carried on by a steady clock. The machine's may be set.

    Until it was measured it is the machine's own. *jumps* counts how often PostgreSQL's clock was found to have moved
    by more than the tolerance.
    """

    machine: MachineClocks = field(factory=MachineClocks)
    jumps: int = field(init=False, default=0)
    _last: _Measurement | None = field(init=False, default=None)

    def now(self) -> datetime:
        """The moment by PostgreSQL's clock, give or take a round trip."""
        if self._last is None:
            return self._wall()
        return self._last.told + timedelta(seconds=self.machine.steady() - self._last.at)

    def timestamp(self) -> float:
        """As `now`, in seconds since the epoch."""
        return self.now().timestamp()

    @property
    def offset(self) -> timedelta:
        """How far PostgreSQL's clock is ahead of the machine's."""
        return self.now() - self._wall()

    async def present(self, db: Executor) -> datetime:
        """As `now`, but asks PostgreSQL first where the machine's clock was set since: both may run on one machine."""
        if self._last is None or abs(self._lead() - self._last.lead) > STEP:
            await self.ask(db)
        return self.now()

    async def ask(self, db: Executor) -> datetime:
        """The moment as PostgreSQL tells it now."""
        begun = self.machine.steady()
        row = await db.fetch_one(PRESENT, row=PresentMoment)
        assert row is not None
        self.measure(row.now, begun)
        return self.now()

    async def decide(self, db: Executor, decision: Callable[[datetime], T]) -> T:
        """What *decision* makes of the present moment; PostgreSQL is asked before it refuses anything."""
        try:
            return decision(await self.present(db))
        except Refusal:
            return decision(await self.ask(db))

    def measure(self, told: datetime, begun: float) -> bool:
        """
        Take *told* for a moment since *begun* by the steady clock, when PostgreSQL was asked.

        True where the machine's clock has just been found to be off.
        """
        ended = self.machine.steady()
        was_off = self._last is not None and self._is_off()
        latest = told + timedelta(seconds=ended - begun)
        error = max(told - self.now(), self.now() - latest, timedelta(0))
        self.jumps += self._last is not None and error > TOLERANCE
        # A moment that the answer allows stays: a slow answer knows less than the quick one before it.
        if self._last is None or error > timedelta(0):
            told, at = told + (latest - told) / 2, ended
        else:
            told, at = self.now(), self.machine.steady()
        self._last = _Measurement(told, at, self._lead())
        return self._is_off() and not was_off

    def _is_off(self) -> bool:
        return abs(self.offset) > TOLERANCE

    def _lead(self) -> float:
        return self.machine.wall() - self.machine.steady()

    def _wall(self) -> datetime:
        return datetime.fromtimestamp(self.machine.wall(), UTC)
