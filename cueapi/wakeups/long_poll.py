"""
Calls that wait for work.

On a wake-up, a user's waiting calls query one after another, oldest first, and stop when the work runs out: one job
costs one or two queries, however many calls wait, and none is spent on a kind of work that has just run out.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from math import inf
from typing import TypeAlias

import trio
from attrs import define, field, frozen

from cueapi.storage.worker_claims import Work

MOST, MOST_OF_USER = 1_000, 100
"""Calls of a daemon, and of one user, that wait at once; one more is answered at once."""

ANYTHING: Hashable = None
"""The kind of calls that take any work: where they find none, there is none for any call."""


@frozen
class Found:
    """What a query found, and for how many more calls of the same kind there may be something."""

    work: Sequence[Work]
    others: float = 0.0


Query: TypeAlias = Callable[[], Awaitable[Found]]

Recheck: TypeAlias = Callable[[], Awaitable[object]]


async def _still_may() -> None:
    """Default callback: nothing has changed."""


@define(eq=False)
class _Caller:
    kind: Hashable
    woken: trio.Event = field(factory=trio.Event)


@define(eq=False)
class _CallerQueue:
    """One user's calls, the oldest first, and whose turn it is to query."""

    callers: dict[_Caller, None] = field(factory=dict)
    to_ask: deque[_Caller] = field(factory=deque)
    left: dict[Hashable, float] = field(factory=dict)
    in_turn: _Caller | None = None
    again: bool = False

    def wake(self) -> None:
        """There is something: the calls take turns from the front, and once more if they are under way."""
        if self.in_turn is not None:
            self.again = True
            return
        self.to_ask, self.left = deque(self.callers), {}
        self.pass_turn()

    def pass_turn(self) -> None:
        """To the next call that may find something."""
        self.in_turn = None
        while self.to_ask:
            caller = self.to_ask.popleft()
            if caller in self.callers and self._may_find(caller.kind):
                self.in_turn = caller
                caller.woken.set()
                return
        if self.again:
            self.again = False
            self.wake()

    def queried(self, caller: _Caller, found: Found) -> None:
        """What the call in turn has found. One that found something passes the turn on when it leaves."""
        before = self.left.get(caller.kind, inf)
        self.left[caller.kind] = min(before - 1, found.others) if found.work else 0
        if not found.work:
            self.pass_turn()

    def leave(self, caller: _Caller) -> None:
        del self.callers[caller]
        if self.in_turn is caller:
            self.pass_turn()

    def _may_find(self, kind: Hashable) -> bool:
        return self.left.get(kind, inf) > 0 and self.left.get(ANYTHING, inf) > 0


@define(eq=False)
class LongPoll:
    """Where calls wait; a sibling whose end answers them all."""

    _queues: dict[int, _CallerQueue] = field(init=False, factory=dict)
    _waiting: int = field(init=False, default=0)
    _closed: bool = field(init=False, default=False)

    def __len__(self) -> int:
        """How many calls wait."""
        return self._waiting

    @property
    def is_closed(self) -> bool:
        """Whether it has ended: the daemon drains, and begins nothing new."""
        return self._closed

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Be open until it is cancelled; then every waiting call is answered with nothing, at once."""
        self._closed = False
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self._closed = True
            for queue in self._queues.values():
                for caller in queue.callers:
                    caller.woken.set()

    def wake(self, user: int) -> None:
        """Something of *user* can be claimed."""
        if (queue := self._queues.get(user)) is not None:
            queue.wake()

    async def find(
        self, user: int, kind: Hashable, query: Query, *, patience: float, recheck: Recheck = _still_may
    ) -> Sequence[Work]:
        """
        What *query* finds, within *patience* seconds, which never cut it. Calls of one *kind* find the same.

        *recheck* is called before it queries again: it raises where the call may not have anything any more.
        """
        if patience <= 0 or self._closed or self._is_full(user):
            return (await query()).work
        deadline = trio.current_time() + patience
        queue = self._queues.setdefault(user, _CallerQueue())
        caller = _Caller(kind)
        queue.callers[caller] = None
        self._waiting += 1
        try:
            return await self._query_in_turn(queue, caller, query, deadline, recheck)
        finally:
            self._waiting -= 1
            queue.leave(caller)
            if not queue.callers:
                self._queues.pop(user, None)

    async def _query_in_turn(
        self, queue: _CallerQueue, caller: _Caller, query: Query, deadline: float, recheck: Recheck
    ) -> Sequence[Work]:
        """Query now, and each time that it is this call's turn."""
        while True:
            # A query that began before the turn came may have missed what the wake-up was for.
            in_turn = queue.in_turn is caller
            found = await query()
            if in_turn:
                queue.queried(caller, found)
            if found.work:
                return found.work
            with trio.move_on_at(deadline):
                await caller.woken.wait()
            if self._closed or not caller.woken.is_set():
                return []
            caller.woken = trio.Event()
            await recheck()

    def _is_full(self, user: int) -> bool:
        queue = self._queues.get(user)
        return self._waiting >= MOST or (queue is not None and len(queue.callers) >= MOST_OF_USER)
