"""Work that grows with the size of a request's body: in a thread where it would hold the event loop."""

from collections.abc import Callable
from typing import TypeVar

import trio

from cueapi.api.http.incoming import incoming

R = TypeVar("R")

AT_ONCE = 32 * 1024
"""Bytes of a body whose parsing takes a few milliseconds at most, whatever they are: a thread would cost more."""

ONE_AT_A_TIME = trio.CapacityLimiter(1)
"""One thread for all requests: threads share the interpreter with the event loop."""


async def off_loop(work: Callable[..., R], *arguments: object, size: int | None = None) -> R:
    """
    What *work* returns. In a thread where *size* bytes, those of the request's body unless it is given, are many.

    The loop then waits for single calls of the interpreter's C code only, each some tens of milliseconds at most.
    """
    if (incoming().arrived if size is None else size) <= AT_ONCE:
        return work(*arguments)
    return await trio.to_thread.run_sync(work, *arguments, limiter=ONE_AT_A_TIME)
