"""A steady beat with early wake-ups."""

import pytest
import trio
from trio.testing import MockClock

from supervisor import Periodic


async def turns_until(end: float, turns: Periodic, lengths: dict[int, float] | None = None) -> list[float]:
    """When the turns begin that come before *end*; turn number n takes *lengths[n]* seconds, else none."""
    began: list[float] = []
    start = trio.current_time()
    with trio.move_on_at(start + end):
        while True:
            await turns.wait()
            began.append(trio.current_time() - start)
            await trio.sleep((lengths or {}).get(len(began) - 1, 0.0))
    return began


async def call_at(moment: float, turns: Periodic, wake_at: float | None = None) -> None:
    start = trio.current_time()
    await trio.sleep(moment)
    if wake_at is None:
        turns.wake()
    else:
        turns.wake_at(start + wake_at)


async def test_the_first_turn_begins_at_once_and_the_others_follow_steadily(
    autojump_clock: MockClock,
) -> None:
    assert await turns_until(25, Periodic(10)) == [0, 10, 20]


async def test_the_interval_counts_from_the_beginning_of_a_turn(autojump_clock: MockClock) -> None:
    assert await turns_until(25, Periodic(10), {0: 4.0, 1: 9.0}) == [0, 10, 20]


async def test_a_turn_that_overruns_is_followed_at_once_and_missed_beats_do_not_pile_up(
    autojump_clock: MockClock,
) -> None:
    assert await turns_until(60, Periodic(10), {0: 35.0}) == [0, 35, 45, 55]


async def test_a_wake_begins_the_next_turn_at_once(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    turns = Periodic(10)
    nursery.start_soon(call_at, 3, turns)

    assert await turns_until(25, turns) == [0, 3, 13, 23]


async def test_a_wake_during_a_turn_is_not_lost(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    turns = Periodic(10)
    nursery.start_soon(call_at, 3, turns)

    assert await turns_until(20, turns, {0: 5.0}) == [0, 5, 15]


async def test_many_wakes_are_one_turn(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    turns = Periodic(10)
    for moment in (2, 3, 4):
        nursery.start_soon(call_at, moment, turns)

    assert await turns_until(14, turns, {0: 5.0}) == [0, 5]


@pytest.mark.parametrize(
    ("wakes", "began"),
    [
        pytest.param([7], [0, 7, 17], id="before the beat"),
        pytest.param([8, 7], [0, 7, 17], id="the earliest counts"),
        pytest.param([7, 8], [0, 7, 17], id="in any order"),
        pytest.param([10], [0, 10], id="at the beat"),
        pytest.param([14], [0, 10, 14], id="after the beat it is remembered"),
    ],
)
async def test_a_turn_begins_at_the_moment_it_is_woken_for(
    autojump_clock: MockClock, nursery: trio.Nursery, wakes: list[float], began: list[float]
) -> None:
    turns = Periodic(10)
    for moment in wakes:
        nursery.start_soon(call_at, 1, turns, moment)

    assert await turns_until(19, turns) == began


async def test_a_cancelled_wait_forgets_no_wake(autojump_clock: MockClock) -> None:
    turns = Periodic(10)
    await turns.wait()
    turns.wake_at(trio.current_time() + 5)
    with trio.move_on_after(2):
        await turns.wait()
    with trio.fail_after(4):
        await turns.wait()


async def test_waiting_is_a_checkpoint_even_when_every_turn_overruns(autojump_clock: MockClock) -> None:
    turns = Periodic(0)
    with trio.fail_after(1), trio.CancelScope() as scope:
        scope.cancel()
        while True:
            await turns.wait()
