"""Ending well: who ends when, how long that may take, and who was left behind."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import structlog
import trio
from attrs import asdict, field, frozen
from structlog.typing import FilteringBoundLogger

from supervisor.channels import Channel
from supervisor.keeper import Keeper
from supervisor.sibling import OnStop

log: FilteringBoundLogger = structlog.get_logger("supervisor.drain")

# Any: the kernel never looks at what a channel carries.
Channels: TypeAlias = Sequence[Channel[Any]]


LAST_WORDS = 1.0
"""Seconds beyond the grace in which a drainer may take in what those left behind that were cut before it."""


@frozen
class Drained:
    """How a drain went."""

    reason: str
    seconds: float
    left: tuple[str, ...] = ()  # siblings that were cut, since the grace was over
    failed: tuple[str, ...] = ()  # siblings that failed instead of running dry, or had failed before
    channels: Mapping[str, int] = field(factory=dict)  # what still lay in each channel that was not dry

    def is_clean(self) -> bool:
        """Whether nothing was left behind."""
        return not (self.left or self.failed or self.channels)


async def drain(keepers: Sequence[Keeper], channels: Channels, grace: float, reason: str) -> Drained:
    """End sources, let drainers run dry, end the last; cancel and name those that still run after *grace* seconds."""
    begun = trio.current_time()
    log.info("drain_begun", reason=reason, grace=grace)
    try:
        with trio.move_on_after(grace):
            await _end_in_turn(keepers, channels)
        left = _names(await _cut_in_turn(keepers))
        cut(keepers)
        await _all_ended(keepers)
    except trio.Cancelled:
        alive = _names(keeper for keeper in keepers if not keeper.ended.is_set())
        log.warning("drain_cut", left=alive, channels=_undrained(channels))
        raise
    failed = _names(keeper for keeper in keepers if keeper.has_failed())
    drained = Drained(reason, trio.current_time() - begun, left, failed, _undrained(channels))
    (log.info if drained.is_clean() else log.warning)("drain_ended", **asdict(drained))
    return drained


def cut(keepers: Sequence[Keeper]) -> None:
    """Cancel those that still run."""
    for keeper in keepers:
        keeper.cancel("cut")


async def _end_in_turn(keepers: Sequence[Keeper], channels: Channels) -> None:
    last = [keeper for keeper in keepers if keeper.sibling.on_stop is OnStop.LAST]
    others = [keeper for keeper in keepers if keeper.sibling.on_stop is not OnStop.LAST]
    for keeper in others:
        keeper.begin_end()
    # The end flows downstream by itself: a drainer that has run dry closes its own sending clones.
    for channel in channels:
        channel.end()
    await _all_ended(others)
    for keeper in last:
        keeper.cancel("drained")
    await _all_ended(last)


async def _cut_in_turn(keepers: Sequence[Keeper]) -> list[Keeper]:
    """Cancel what outlasts the grace, upstream first, so that what it holds is still taken in; those cancelled."""
    left: list[Keeper] = []
    for keeper in reversed(keepers):
        if left and keeper.sibling.on_stop is OnStop.FINISH:
            with trio.move_on_after(LAST_WORDS):
                await keeper.ended.wait()
        if keeper.is_overdue():
            left.insert(0, keeper)
            keeper.cancel("cut")
            await keeper.ended.wait()
    return left


async def _all_ended(keepers: Sequence[Keeper]) -> None:
    for keeper in keepers:
        await keeper.ended.wait()


def _names(keepers: Iterable[Keeper]) -> tuple[str, ...]:
    return tuple(keeper.sibling.name for keeper in keepers)


def _undrained(channels: Channels) -> dict[str, int]:
    return {channel.name: channel.depth for channel in channels if channel.depth}
