"""
Calls that wait for work. They are woken one after the other, the oldest first, as long as there is work for them.

A poke sends a token down the line of a user's callers: whoever has it looks, and hands it on. So that one piece of
work costs one or two looks, however many wait, and none is spent on a kind of work that has just run out.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from math import inf
from typing import TypeAlias

import trio
from attrs import define, field, frozen

from cueapi.storage.database import Row

MOST, MOST_OF_USER = 1_000, 100
"""Callers of a daemon, and of one user, that wait at once; one more is answered at once."""

ANYTHING: Hashable = None
"""The kind of those that take any work: where they find none there is none for anybody."""


@frozen
class Found:
    """What a look found, and for how many more callers of the same kind there may be something."""

    rows: list[Row]
    others: float = 0.0


Look: TypeAlias = Callable[[], Awaitable[Found]]


@define(eq=False)
class _Caller:
    kind: Hashable
    woken: trio.Event = field(factory=trio.Event)


@define(eq=False)
class _Line:
    """One user's callers, the oldest first, and where the token is."""

    callers: dict[_Caller, None] = field(factory=dict)
    to_ask: deque[_Caller] = field(factory=deque)
    left: dict[Hashable, float] = field(factory=dict)
    holder: _Caller | None = None
    again: bool = False

    def poke(self) -> None:
        """There is something: send the token from the front, again if it is under way."""
        if self.holder is not None:
            self.again = True
            return
        self.to_ask, self.left = deque(self.callers), {}
        self.hand_on()

    def hand_on(self) -> None:
        """To the next caller who may find something."""
        self.holder = None
        while self.to_ask:
            caller = self.to_ask.popleft()
            if caller in self.callers and self._may_find(caller.kind):
                self.holder = caller
                caller.woken.set()
                return
        if self.again:
            self.again = False
            self.poke()

    def looked(self, caller: _Caller, found: Found) -> None:
        """What the holder of the token has found. One that found something hands it on when it leaves."""
        before = self.left.get(caller.kind, inf)
        self.left[caller.kind] = min(before - 1, found.others) if found.rows else 0
        if not found.rows:
            self.hand_on()

    def leave(self, caller: _Caller) -> None:
        del self.callers[caller]
        if self.holder is caller:
            self.hand_on()

    def _may_find(self, kind: Hashable) -> bool:
        return self.left.get(kind, inf) > 0 and self.left.get(ANYTHING, inf) > 0


@define(eq=False)
class WaitingRoom:
    """Where callers wait; a sibling whose end sends them all away."""

    _lines: dict[int, _Line] = field(init=False, factory=dict)
    _waiting: int = field(init=False, default=0)
    _closed: bool = field(init=False, default=False)

    def __len__(self) -> int:
        """How many calls wait."""
        return self._waiting

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Be open until it is cancelled; then whoever waits is answered with nothing, at once."""
        self._closed = False
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self._closed = True
            for line in self._lines.values():
                for caller in line.callers:
                    caller.woken.set()

    def poke(self, user: int) -> None:
        """Something of *user* can be claimed."""
        if (line := self._lines.get(user)) is not None:
            line.poke()

    async def find(self, user: int, kind: Hashable, look: Look, *, patience: float) -> list[Row]:
        """What *look* finds, within *patience* seconds, which never cut it. Callers of one *kind* find the same."""
        if patience <= 0 or self._closed or self._is_full(user):
            return (await look()).rows
        deadline = trio.current_time() + patience
        line = self._lines.setdefault(user, _Line())
        caller = _Caller(kind)
        line.callers[caller] = None
        self._waiting += 1
        try:
            return await self._look_on(line, caller, look, deadline)
        finally:
            self._waiting -= 1
            line.leave(caller)
            if not line.callers:
                self._lines.pop(user, None)

    async def _look_on(self, line: _Line, caller: _Caller, look: Look, deadline: float) -> list[Row]:
        """Look now, and each time that it is this caller's turn."""
        while True:
            # A look that began before the token came may have missed what it tells of.
            in_turn = line.holder is caller
            found = await look()
            if in_turn:
                line.looked(caller, found)
            if found.rows:
                return found.rows
            with trio.move_on_at(deadline):
                await caller.woken.wait()
            if self._closed or not caller.woken.is_set():
                return []
            caller.woken = trio.Event()

    def _is_full(self, user: int) -> bool:
        line = self._lines.get(user)
        return self._waiting >= MOST or (line is not None and len(line.callers) >= MOST_OF_USER)
