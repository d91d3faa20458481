"""One statement for what several requests ask at the same time."""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

import trio
from attrs import define, field

from cueapi.storage.database import StorageUnavailable, Unstorable

Item = TypeVar("Item")
Result = TypeVar("Result")

GROUP = 100
"""The most items of one statement."""


@define(eq=False)
class _Call(Generic[Item, Result]):
    """What one request asks; *woken* when it has its result, or is to lead the next group."""

    item: Item
    woken: trio.Event = field(factory=trio.Event)
    results: Sequence[Result] = ()
    error: Exception | None = None
    is_answered: bool = False

    def answer(self, *results: Result, error: Exception | None = None) -> None:
        self.results, self.error, self.is_answered = results, error, True
        self.woken.set()


@define(eq=False)
class Grouped(Generic[Item, Result]):
    """
    Calls *run* with the items of many callers, one group after another.

    Nothing waits for others to come: what arrives while a group is under way goes with the next one. No two items of a
    group have the same *key*. *run* returns a result for each item in their order. What it raises is raised to each
    caller of the group, but for Unstorable: which item it is about is found by running each alone.
    """

    run: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]
    key: Callable[[Item], Hashable]
    _waiting: list[_Call[Item, Result]] = field(init=False, factory=list)
    _is_led: bool = field(init=False, default=False)

    async def __call__(self, item: Item) -> Result:
        """The result for *item*. A caller that is cancelled before its group begins has asked for nothing."""
        call = _Call[Item, Result](item)
        self._waiting.append(call)
        if self._is_led:
            try:
                await call.woken.wait()
            except trio.Cancelled:
                self._withdraw(call)
                raise
        try:
            if not call.is_answered:
                await self._lead()
            if call.error is not None:
                raise call.error
            return call.results[0]
        except Unstorable:
            (result,) = await self.run([item])
            return result

    async def _lead(self) -> None:
        """Run the group that the first caller is in, then hand over to the first that waits."""
        self._is_led = True
        group = self._next_group()
        try:
            # Others' requests do not end with this one. How long a statement may take is the database's to say.
            with trio.CancelScope(shield=True):
                results = await self.run([call.item for call in group])
            for call, result in zip(group, results, strict=True):
                call.answer(result)
        except Exception as error:
            _refuse(group, error)
            raise
        finally:
            _refuse(group, StorageUnavailable("the statement was interrupted"))
            self._hand_over()

    def _hand_over(self) -> None:
        """Have the first that waits lead the next group."""
        self._is_led = bool(self._waiting)
        if self._waiting:
            self._waiting[0].woken.set()

    def _withdraw(self, call: _Call[Item, Result]) -> None:
        """What has not begun is not asked for; one that was to lead, and is cancelled in that moment, hands over."""
        if call in self._waiting:
            self._waiting.remove(call)
            if call.woken.is_set():
                self._hand_over()

    def _next_group(self) -> list[_Call[Item, Result]]:
        """The first that wait, as long as no two have the same key."""
        group: dict[Hashable, _Call[Item, Result]] = {}
        for call in self._waiting[:GROUP]:
            group.setdefault(self.key(call.item), call)
        taken = set(group.values())
        self._waiting = [call for call in self._waiting if call not in taken]
        return list(group.values())


def _refuse(group: Sequence[_Call[Item, Result]], error: Exception) -> None:
    """Tell *error* to each caller that has no answer."""
    for call in group:
        if not call.is_answered:
            call.answer(error=error)
