"""Bounded, named pipes that outlive the siblings they join."""

from typing import Generic, TypeVar

import trio
from attrs import define, field

T = TypeVar("T")


@define(eq=False, repr=False)
class Channel(Generic[T]):
    """
    A pipe that holds at most *capacity* items.

    It keeps an original of both ends, so that a sibling that fails does not break it for the others. A sibling takes
    clones at the top of its `run`, and uses them with `with`, not `async with`: closing with `async with` is
    a checkpoint, which in a cancelled scope turns the error inside into `Cancelled`.
    """

    name: str
    capacity: int
    _sending: trio.MemorySendChannel[T] = field(init=False)
    _receiving: trio.MemoryReceiveChannel[T] = field(init=False)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.capacity, int) or self.capacity < 0:
            raise ValueError(f"channel {self.name!r} needs a bound, not {self.capacity!r}")
        self._sending, self._receiving = trio.open_memory_channel[T](self.capacity)

    def __repr__(self) -> str:
        return f"<Channel {self.name}: {self.depth} of {self.capacity}>"

    def sender(self) -> trio.MemorySendChannel[T]:
        """Return a sending end of one's own; the channel has not ended before each of them is closed."""
        return self._sending.clone()

    def receiver(self) -> trio.MemoryReceiveChannel[T]:
        """Return a receiving end of one's own."""
        return self._receiving.clone()

    def offer(self, item: T) -> bool:
        """Put *item* in if there is room, never wait; False when it is full or has ended. For hints only."""
        try:
            self._sending.send_nowait(item)
        except (trio.WouldBlock, trio.ClosedResourceError):
            return False
        return True

    def end(self) -> None:
        """Close the sending original: the end is seen once all clones are closed and the channel is dry."""
        # The receiving original stays open, so that a late send meets a full pipe at worst, never a broken
        # one.
        self._sending.close()

    @property
    def depth(self) -> int:
        """How many items lie in it."""
        return self._receiving.statistics().current_buffer_used
