"""Holds one sibling alive under its policy."""

from collections.abc import Callable

import structlog
import trio
from attrs import define, field
from structlog.typing import FilteringBoundLogger

from supervisor import health
from supervisor.errors import RestartsExhausted, SiblingReturned, describe
from supervisor.health import HealthBoard, State
from supervisor.restart import FailureLog, GiveUp, Patience, RestartAfter
from supervisor.sibling import OnStop, Sibling

log: FilteringBoundLogger = structlog.get_logger("supervisor.keeper")


@define(eq=False, repr=False)
class Keeper:
    """
    Runs one sibling, again and again.

    A failure that is one of *waits_for*, or that *is_shortage* says is one, means that something the sibling depends on
    is away. *stop* stops the whole tree, and *stopping* says that it was called.
    """

    sibling: Sibling
    board: HealthBoard
    waits_for: tuple[type[Exception], ...]
    is_shortage: Callable[[BaseException], bool]
    stop: Callable[[str], None]
    stopping: trio.Event
    ended: trio.Event = field(init=False, factory=trio.Event)
    exhausted: RestartsExhausted | None = field(init=False, default=None)
    _life: trio.CancelScope = field(init=False, factory=trio.CancelScope)
    _up_since: float | None = field(init=False, default=None)
    _failures: FailureLog = field(init=False)
    _patience: Patience = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._failures = FailureLog(self.sibling.restart)
        self._patience = Patience(longest_pause=self.sibling.longest_wait)

    async def hold(self, *, task_status: trio.TaskStatus[Exception | None]) -> None:
        """
        Run the sibling, and run it again when it fails, until the tree stops or it has failed too often.

        Calls `started` once: with None when the sibling came up, with its error when it did not.
        """
        structlog.contextvars.bind_contextvars(sibling=self.sibling.name)
        health.on_beat(self._beaten)
        status = _Status(task_status, self._came_up)
        failure: Exception | None = None
        try:
            failure = await self._live_on(status)
        finally:
            self._change(State.STOPPED if failure is None else State.FAILED, failure)
        # Not in the `finally`: who is cancelled from outside of the tree has not ended, but was cut.
        self.ended.set()
        status.tell(failure)

    def cancel(self, reason: str) -> None:
        """Cancel the present run; after `stopping` there is no other."""
        self._life.cancel(reason=reason)

    def begin_end(self) -> None:
        """Cancel a source; leave a drainer alone to finish what its channels still hold."""
        if self.sibling.on_stop is OnStop.CANCEL:
            self.cancel("draining")
        if not self.ended.is_set():
            self._change(State.DRAINING)

    def is_overdue(self) -> bool:
        """Whether the sibling still runs, though the drain has asked it to end."""
        asked = self._life.cancel_called or self.sibling.on_stop is OnStop.FINISH
        return asked and not self.ended.is_set()

    def has_failed(self) -> bool:
        """Whether the sibling ended otherwise than it should."""
        return self.board.state(self.sibling.name) is State.FAILED

    async def _live_on(self, status: "_Status") -> Exception | None:
        """Run until stopped; the error of the last run, or None when it ended well."""
        failure: Exception | None = None
        while not self.stopping.is_set():
            failure = await self._live(status)
            if failure is None or not status.told:
                break
            # A sibling may block on an absent dependency before it fails; that time is not uptime.
            lived = 0.0 if self._up_since is None else trio.current_time() - self._up_since
            await self._recover(failure, lived=lived)
        return failure

    async def _live(self, status: "_Status") -> Exception | None:
        """Run once; its error, or None when it was asked to end and did."""
        self._life, self._up_since = trio.CancelScope(), None
        # The scope is inside, so that what a clean-up raises beside `Cancelled` is caught here as well.
        try:
            with self._life:
                await self.sibling.run(task_status=status)
        except Exception as error:
            return error
        return None if self.stopping.is_set() else SiblingReturned(self.sibling.name)

    async def _recover(self, failure: Exception, lived: float) -> None:
        """Pause before the next run; a stop ends the pause, and nothing runs after it."""
        if self.stopping.is_set():
            log.error("sibling_failed", error=describe(failure), exc_info=failure)
            return
        pause = self._wait(failure, lived) if self._is_wait(failure) else self._judge(failure)
        with trio.move_on_after(pause):
            await self.stopping.wait()

    def _is_wait(self, failure: Exception) -> bool:
        if isinstance(failure, ExceptionGroup):
            return all(map(self._is_wait, failure.exceptions))
        return isinstance(failure, self.waits_for) or self.is_shortage(failure)

    def _wait(self, failure: Exception, lived: float) -> float:
        wait = self._patience.record(lived)
        if wait.begun:
            log.warning("sibling_waiting", error=describe(failure))
        self._change(State.WAITING, failure)
        return wait.pause

    def _judge(self, failure: Exception) -> float:
        match self._failures.record(trio.current_time()):
            case RestartAfter(pause):
                log.error("sibling_failed", error=describe(failure), pause=pause, exc_info=failure)
                self._change(State.RESTARTING, failure)
                return pause
            case GiveUp(failures):
                window = self.sibling.restart.window
                self.exhausted = RestartsExhausted(self.sibling.name, failures, window, failure)
                log.critical("restarts_exhausted", error=str(self.exhausted), exc_info=failure)
                self.stop(str(self.exhausted))
                return 0.0

    def _came_up(self) -> None:
        # One that beats is back with its first beat: `started()` often comes before the first query.
        if self.sibling.silent_after is None or not self._waits():
            self._show_running()

    def _beaten(self) -> None:
        self.board.beat(self.sibling.name)
        if self._waits():
            self._show_running()

    def _waits(self) -> bool:
        return self.board.state(self.sibling.name) is State.WAITING

    def _show_running(self) -> None:
        if self._waits():
            log.info("sibling_resumed")
        self._up_since = trio.current_time()
        if not self.stopping.is_set():
            self._change(State.RUNNING)

    def _change(self, state: State, error: Exception | None = None) -> None:
        self.board.change(self.sibling.name, state, error)


@define(eq=False, repr=False)
class _Status:
    """Receives `started()` of every run of a sibling; passes the first one on to the tree, which may be told once."""

    tree: trio.TaskStatus[Exception | None]
    came_up: Callable[[], None]
    told: bool = False

    def started(self, _value: object = None) -> None:
        self.came_up()
        self.tell(None)

    def tell(self, failure: Exception | None) -> None:
        if not self.told:
            self.told = True
            self.tree.started(failure)
