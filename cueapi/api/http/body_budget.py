"""What the bodies that are being read may hold together: a bound on memory, and who makes room when it is reached."""

from collections.abc import Iterable
from typing import Protocol, TypeVar

import trio
from attrs import define, field

BUDGET = 64 * 1024 * 1024
"""Bytes of all bodies that are being read, in one daemon."""

SLOW_AFTER = 1.0
"""Seconds after which a body that is not whole yet counts as slow."""


class Arriving(Protocol):
    """A body that is being read."""

    @property
    def begun(self) -> float:
        """When its request came, on Trio's clock."""
        ...

    @property
    def held(self) -> int:
        """The bytes of it that are held."""
        ...

    @property
    def whole(self) -> bool:
        """Whether its last byte has come."""
        ...

    def end_slow(self) -> None:
        """Refuse it, and forget what has come of it."""
        ...


B = TypeVar("B", bound=Arriving)


def to_end(bodies: Iterable[B], needed: int, now: float) -> list[B]:
    """
    The slow bodies that end so that *needed* bytes are free: those that began first.

    None of them where all together do not hold so many: then the newcomer is refused.
    """
    ended: list[B] = []
    freed = 0
    for body in sorted(bodies, key=lambda one: one.begun):
        if freed < needed and not body.whole and now - body.begun >= SLOW_AFTER:
            ended.append(body)
            freed += body.held
    return ended if freed >= needed else []


@define(eq=False)
class BodyBudget:
    """The bodies that are being read, and the bytes that they hold."""

    most: int = BUDGET
    held: int = field(init=False, default=0)
    _bodies: dict[Arriving, None] = field(init=False, factory=dict)

    def take(self, body: Arriving, size: int) -> bool:
        """Whether *size* more bytes of *body* may be held. Slow bodies are ended where there is no room."""
        self._bodies.setdefault(body)
        if (needed := self.held + size - self.most) > 0:
            for slow in to_end(self._bodies, needed, trio.current_time()):
                slow.end_slow()
        # It may have been one of the slow ones itself.
        if body not in self._bodies or self.held + size > self.most:
            return False
        self.held += size
        return True

    def free(self, body: Arriving) -> None:
        """Nothing of *body* will be held any more; it still tells how much it was."""
        if body in self._bodies:
            del self._bodies[body]
            self.held -= body.held
