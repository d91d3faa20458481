"""Work that grows with the size of a request's body, which is that of the request that is being answered."""

from collections.abc import Callable
from typing import TypeVar

from cueapi import off_loop as any_size
from cueapi.api.http.incoming import incoming

R = TypeVar("R")


async def off_loop(work: Callable[..., R], *arguments: object, size: int | None = None) -> R:
    """As `cueapi.off_loop`; where *size* is not given, it is that of the request's body."""
    return await any_size.off_loop(work, *arguments, size=incoming().arrived if size is None else size)
