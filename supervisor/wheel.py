"""A hashed timing wheel: any number of timers, each for the price of one, and no clock of its own."""

from collections.abc import Hashable
from math import ceil
from typing import Generic, TypeVar

from attrs import define, field

T = TypeVar("T", bound=Hashable)


@define(eq=False)
class Wheel(Generic[T]):
    """
    Its owner calls `turn` once every *tick* seconds, and once for each tick that it missed.

    An item rings never early, and less than two ticks late: its delay is rounded up to whole ticks, and the
    tick in progress, of which an unknown part is spent, is not counted. Equal items of one tick ring once, so
    that what is scheduled again and again takes no memory. While the wheel is empty it need not be turned.
    """

    tick: float = 0.05
    slots: int = 1024
    _turns: int = field(init=False, default=0)
    _size: int = field(init=False, default=0)
    # Each a set that keeps its order.
    _buckets: list[dict[tuple[int, T], None]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._buckets = [{} for _ in range(self.slots)]

    def __len__(self) -> int:
        """How many items have not rung yet."""
        return self._size

    def schedule(self, item: T, delay: float) -> None:
        """Make *item* due once *delay* seconds are certain to have passed."""
        # One turn more than the delay is long: the present tick is partly used up.
        due = self._turns + ceil(max(delay, 0.0) / self.tick) + 1
        bucket = self._buckets[due % self.slots]
        self._size += (due, item) not in bucket
        bucket[due, item] = None

    def turn(self) -> list[T]:
        """Go on by one tick; what is due now, in the order it was scheduled."""
        self._turns += 1
        slot = self._turns % self.slots
        bucket = self._buckets[slot]
        ringing = [item for due, item in bucket if due == self._turns]
        if ringing:
            # The rest share the slot, and are due in a later round.
            self._buckets[slot] = {entry: None for entry in bucket if entry[0] != self._turns}
            self._size -= len(ringing)
        return ringing
