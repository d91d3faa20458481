"""Work that grows with what was sent, or with what is shown: in a thread where it would hold the event loop."""

from collections.abc import Callable
from typing import TypeVar

import trio

R = TypeVar("R")

AT_ONCE = 32 * 1024
"""Bytes whose parsing takes a few milliseconds at most, whatever they are: a thread would cost more."""

ONE_AT_A_TIME = trio.CapacityLimiter(1)
"""One thread for all requests: threads share the interpreter with the event loop."""


async def off_loop(work: Callable[..., R], *arguments: object, size: int) -> R:
    """
    What *work* returns. In a thread where *size* bytes are many.

    The loop then waits for single calls of the interpreter's C code only, each some tens of milliseconds at most.
    """
    if size <= AT_ONCE:
        return work(*arguments)
    return await trio.to_thread.run_sync(work, *arguments, limiter=ONE_AT_A_TIME)
