"""The health board: the state of each sibling, since when, how often it failed, with what, and its last beat."""

from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum

import trio
from attrs import define, evolve, field, frozen

from supervisor.errors import describe


class State(StrEnum):
    """What a sibling is doing."""

    STARTING = "starting"  # has not come up yet, for the first time
    RUNNING = "running"
    STALLED = "stalled"  # runs, but has been silent for longer than it promised
    WAITING = "waiting"  # something it depends on is away
    RESTARTING = "restarting"  # failed, and has not come up again yet
    DRAINING = "draining"  # runs dry
    STOPPED = "stopped"  # ended when it was asked to
    FAILED = "failed"  # ended otherwise, and will not run again


@frozen
class Entry:
    """One sibling at one moment; *last_beat* is in Trio's time."""

    state: State
    since: datetime
    restarts: int = 0
    last_error: str | None = None
    last_beat: float | None = None


@frozen
class _Sign:
    """When a sibling last beat, and how long it may be silent."""

    silent_after: float | None
    last_beat: float | None = None

    def is_missing(self, now: float) -> bool:
        if self.silent_after is None or self.last_beat is None:
            return False
        return now - self.last_beat > self.silent_after


def _utc_now() -> datetime:
    return datetime.now(UTC)


@define(eq=False)
class HealthBoard:
    """The health of all siblings, written by their keepers, read by anyone; *now* is its wall clock."""

    now: Callable[[], datetime] = _utc_now
    _entries: dict[str, Entry] = field(init=False, factory=dict)
    _signs: dict[str, _Sign] = field(init=False, factory=dict)

    def enter(self, name: str, silent_after: float | None = None) -> None:
        """Put *name* on the board; while it runs it promises a beat at least every *silent_after* seconds."""
        self._entries[name] = Entry(State.STARTING, self.now())
        self._signs[name] = _Sign(silent_after)

    def change(self, name: str, state: State, error: Exception | None = None) -> None:
        """Write down that *name* is now in *state*, and over which *error* it came there."""
        entry = self._entries[name]
        self._entries[name] = evolve(
            entry,
            state=state,
            since=entry.since if state is entry.state else self.now(),
            restarts=entry.restarts + (state is State.RESTARTING),
            last_error=entry.last_error if error is None else describe(error),
        )
        if state is State.RUNNING:
            self.beat(name)

    def beat(self, name: str) -> None:
        """Note a beat of *name*."""
        self._signs[name] = evolve(self._signs[name], last_beat=trio.current_time())

    def state(self, name: str) -> State:
        """The state of *name* as its keeper wrote it: a stalled sibling is `running`."""
        return self._entries[name].state

    def snapshot(self) -> dict[str, Entry]:
        """Everyone's entry as of now."""
        now = trio.current_time()
        return {name: self._seen(name, now) for name in self._entries}

    def all_up(self) -> bool:
        """Whether there are siblings and every one of them runs as it promised."""
        entries = self.snapshot().values()
        return bool(entries) and all(entry.state is State.RUNNING for entry in entries)

    def _seen(self, name: str, now: float) -> Entry:
        entry, sign = self._entries[name], self._signs[name]
        stalled = entry.state is State.RUNNING and sign.is_missing(now)
        return evolve(entry, state=State.STALLED if stalled else entry.state, last_beat=sign.last_beat)


def _do_nothing() -> None:
    """Default callback: do nothing."""


_listener: ContextVar[Callable[[], None]] = ContextVar("listener", default=_do_nothing)


def beat() -> None:
    """Beat for the sibling that this task belongs to: call it *after* a turn that went well."""
    _listener.get()()


def on_beat(listener: Callable[[], None]) -> None:
    """Have *listener* called at each beat of this task and of the tasks it will start."""
    _listener.set(listener)
