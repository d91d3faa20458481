"""One nursery: brings its siblings up in order, waits, and drains."""

from collections.abc import Callable, Sequence

import trio
from attrs import define, field

from supervisor.drain import Channels, Drained, cut, drain
from supervisor.health import HealthBoard
from supervisor.keeper import Keeper
from supervisor.sibling import Sibling


def _never(_: BaseException) -> bool:
    """Default predicate: nothing is."""
    return False


@define(eq=False)
class Tree:
    """
    A program's siblings, in the order they start (downstream first), and the *channels* that join them.

    It runs once. A drain may take *grace* seconds. A sibling that fails with nothing but *waits_for*, or with what
    *is_shortage* takes for a shortage of the machine's, is waiting for it: it is run again for ever, and that never
    counts against its policy.
    """

    siblings: Sequence[Sibling]
    channels: Channels = ()
    grace: float = 30.0
    waits_for: tuple[type[Exception], ...] = ()
    is_shortage: Callable[[BaseException], bool] = _never
    board: HealthBoard = field(factory=HealthBoard)
    stopping: trio.Event = field(factory=trio.Event)
    _reason: str = field(init=False, default="")
    _starting: trio.CancelScope = field(init=False, factory=trio.CancelScope)

    def __attrs_post_init__(self) -> None:
        names = [sibling.name for sibling in self.siblings]
        if len(set(names)) < len(names):
            raise ValueError(f"two siblings have one name: {', '.join(names)}")
        for sibling in self.siblings:
            self.board.enter(sibling.name, sibling.silent_after)

    def stop(self, reason: str) -> None:
        """Begin the drain, also in the midst of the start; the first *reason* is the one that is logged."""
        if not self.stopping.is_set():
            self._reason = reason
            self.stopping.set()
            self._starting.cancel(reason=reason)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> Drained:
        """
        Keep the siblings running until `stop`, drain, and return how that went.

        `started()` is called when all are up, or when `stop` came before that. A sibling that does not come up
        fails the whole start with its own error; one that fails too often ends in `RestartsExhausted`, after
        the drain. When the surrounding scope is cancelled everything ends at once.
        """
        async with trio.open_nursery() as nursery:
            end = await self._live(nursery, task_status)
        if isinstance(end, Exception):
            raise end
        return end

    async def _live(self, nursery: trio.Nursery, task_status: trio.TaskStatus[None]) -> Drained | Exception:
        # Errors are carried out of the nursery as values: what is raised inside it comes out as a group.
        keepers: list[Keeper] = []
        failure = await self._start(nursery, keepers)
        if failure is not None:
            cut(keepers)
            return failure
        task_status.started()
        await self.stopping.wait()
        drained = await drain(keepers, self.channels, self.grace, self._reason)
        return next((keeper.exhausted for keeper in keepers if keeper.exhausted is not None), drained)

    async def _start(self, nursery: trio.Nursery, keepers: list[Keeper]) -> Exception | None:
        """Bring up one sibling after the other; the error of the first that did not come up."""
        with self._starting:  # A start that is called off leaves nothing of the sibling it was at.
            for sibling in self.siblings:
                keeper = Keeper(sibling, self.board, self.waits_for, self.is_shortage, self.stop, self.stopping)
                failure: Exception | None = await nursery.start(keeper.hold, name=sibling.name)
                if failure is not None:
                    self.stop(f"{sibling.name} did not start")
                    return failure
                keepers.append(keeper)
        return None
