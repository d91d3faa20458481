"""Several requests, one statement: each has its own answer, and none ends with another."""

from collections.abc import Sequence
from functools import partial
from operator import itemgetter

import pytest
import trio
import trio.testing
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from cueapi.storage.database import StorageUnavailable, Unstorable
from cueapi.storage.grouping import GROUP, Grouped

Item = tuple[str, int]


@define
class Statement:
    """Takes a second for each group, refuses what is below zero, and is away for what is 13."""

    groups: list[list[Item]] = field(factory=list)

    async def run(self, items: Sequence[Item]) -> list[int]:
        await trio.sleep(1)
        self.groups.append(list(items))
        if any(number == 13 for _, number in items):
            raise StorageUnavailable("away")
        if any(number < 0 for _, number in items):
            raise Unstorable("below zero")
        return [10 * number for _, number in items]


async def ask(grouped: Grouped[Item, int], item: Item, said: dict[Item, object], delay: float = 0.0) -> None:
    await trio.sleep(delay)
    try:
        said[item] = await grouped(item)
    except (Unstorable, StorageUnavailable) as error:
        said[item] = str(error)


async def test_what_comes_while_one_is_under_way_goes_together_with_the_next(autojump_clock: MockClock) -> None:
    statement, said = Statement(), dict[Item, object]()
    grouped = Grouped(statement.run, itemgetter(0))
    async with trio.open_nursery() as nursery:
        for number in range(100, 111 + GROUP):
            nursery.start_soon(ask, grouped, (str(number), number), said, 0.0 if number == 100 else 0.5)

    assert said == {(str(number), number): 10 * number for number in range(100, 111 + GROUP)}
    assert [len(group) for group in statement.groups] == [1, GROUP, 10]


async def test_two_of_one_key_are_never_in_one_group(autojump_clock: MockClock) -> None:
    statement, said = Statement(), dict[Item, object]()
    grouped = Grouped(statement.run, itemgetter(0))
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(ask, grouped, ("same", number), said)

    assert [len(group) for group in statement.groups] == [1] * 5
    assert len(said) == 5


async def test_what_cannot_be_stored_fails_alone(autojump_clock: MockClock) -> None:
    statement, said = Statement(), dict[Item, object]()
    grouped = Grouped(statement.run, itemgetter(0))
    async with trio.open_nursery() as nursery:
        for name, number in (("a", 1), ("b", -1), ("c", 3)):
            nursery.start_soon(ask, grouped, (name, number), said, 0.5 if name != "a" else 0.0)
        nursery.start_soon(ask, grouped, ("first", 0), said)

    assert said == {("first", 0): 0, ("a", 1): 10, ("b", -1): "below zero", ("c", 3): 30}


@pytest.mark.parametrize("who", ["leader", "follower"])
async def test_who_is_cancelled_ends_no_other(autojump_clock: MockClock, who: str) -> None:
    statement, said = Statement(), dict[Item, object]()
    grouped = Grouped(statement.run, itemgetter(0))
    async with trio.open_nursery() as nursery:
        cancelled = await nursery.start(_cancellable, grouped, ("leader", 1), said)
        if who == "follower":
            cancelled = await nursery.start(_cancellable, grouped, ("follower", 2), said)
        nursery.start_soon(ask, grouped, ("other", 3), said, 0.2)
        await trio.sleep(0.5)
        cancelled.cancel()

    assert said[("other", 3)] == 30
    # The leader's own statement was under way.
    assert statement.groups == [[("leader", 1)], [("other", 3)]]


async def test_one_that_is_cancelled_as_it_is_to_lead_hands_over(autojump_clock: MockClock) -> None:
    for _ in range(50):  # Trio runs those that wake at the same moment in any order.
        statement, said = Gate(), dict[Item, object]()
        grouped = Grouped(statement.run, itemgetter(0))
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                await nursery.start(_cancellable, grouped, ("leader", 1), said)
                await trio.testing.wait_all_tasks_blocked()
                cancelled = await nursery.start(_cancellable, grouped, ("next", 2), said)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(ask, grouped, ("last", 3), said)
                await trio.testing.wait_all_tasks_blocked()
                cancelled.cancel()
                statement.opened.set()

        assert said[("last", 3)] == 30


@define
class Gate:
    """A statement that ends once it is *opened*."""

    opened: trio.Event = field(factory=trio.Event)

    async def run(self, items: Sequence[Item]) -> list[int]:
        await self.opened.wait()
        return [10 * number for _, number in items]


async def _cancellable(
    grouped: Grouped[Item, int],
    item: Item,
    said: dict[Item, object],
    task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED,
) -> None:
    with trio.CancelScope() as scope:
        task_status.started(scope)
        await ask(grouped, item, said)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.integers(-1, 13), st.floats(0, 5), st.none() | st.floats(0, 4)),
        max_size=20,
    )
)
def test_everybody_is_answered_rightly_whoever_leaves(callers: list[tuple[str, int, float, float | None]]) -> None:
    async def call(
        grouped: Grouped[Item, int], said: list[object], caller: tuple[str, int, float, float | None]
    ) -> None:
        key, number, begins, patience = caller
        await trio.sleep(begins)
        with trio.move_on_after(float("inf") if patience is None else patience) as scope:
            try:
                assert await grouped((key, number)) == 10 * number >= 0
            except Unstorable:
                assert number == -1
            except StorageUnavailable:
                pass
        said.append(scope.cancelled_caught)

    async def play() -> None:
        grouped, said = Grouped(Statement().run, itemgetter(0)), list[object]()
        with trio.fail_after(100):
            async with trio.open_nursery() as nursery:
                for caller in callers:
                    nursery.start_soon(partial(call, grouped, said, caller))
            assert len(said) == len(callers)
            assert await grouped(("later", 1)) == 10

    trio.run(play, clock=MockClock(autojump_threshold=0))
