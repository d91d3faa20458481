"""What the tree knows of a child."""

from enum import Enum, auto
from typing import Protocol

import trio
from attrs import field, frozen

from supervisor.restart import Policy


class OnStop(Enum):
    """How a sibling ends."""

    CANCEL = auto()  # a source: cancelled when the drain begins
    FINISH = auto()  # a drainer: runs dry when its channels end
    LAST = auto()  # serves until every source and drainer has ended, then is cancelled


class Run(Protocol):
    """Claims its channel ends, calls `started()` after all that can fail, and loops until its end comes."""

    async def __call__(self, *, task_status: trio.TaskStatus[None]) -> None: ...


@frozen
class Sibling:
    """
    A child of the tree; one that beats promises not to be silent for more than *silent_after* seconds.

    While something it depends on is away it is run again after a second, doubling to *longest_wait* seconds.
    """

    name: str
    run: Run
    on_stop: OnStop
    restart: Policy = field(factory=Policy)
    silent_after: float | None = None
    longest_wait: float = 15.0
