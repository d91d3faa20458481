"""A timing wheel rings never early, hardly late, each item once, at the same cost for any number of them."""

import sys
from collections.abc import Callable
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor import Wheel

TICK = 0.5

delays = st.floats(min_value=0, max_value=200, allow_nan=False)


def ring_all(wheel: Wheel[int]) -> dict[int, float]:
    """Turn *wheel* until it is empty; when each item rang, counted from now on."""
    rang: dict[int, float] = {}
    turns = 0
    while wheel:
        turns += 1
        for item in wheel.turn():
            assert item not in rang
            rang[item] = turns * wheel.tick
    return rang


@given(
    plan=st.lists(delays, max_size=50),
    turned=st.integers(0, 40),
    spent=st.floats(0, 0.999),
    slots=st.integers(1, 64),
)
def test_every_item_rings_once_never_early_and_less_than_two_ticks_late(
    plan: list[float], turned: int, spent: float, slots: int
) -> None:
    wheel = Wheel[int](tick=TICK, slots=slots)
    for _ in range(turned):
        wheel.turn()
    # Of the tick in progress *spent* is over; turns come at the ticks' ends.
    for item, delay in enumerate(plan):
        wheel.schedule(item, delay)
    rang = ring_all(wheel)

    assert sorted(rang) == list(range(len(plan)))
    assert all(rang[item] - spent * TICK >= delay for item, delay in enumerate(plan))
    assert all(rang[item] - spent * TICK - delay <= 2 * TICK for item, delay in enumerate(plan))


def test_items_due_at_the_same_turn_ring_in_the_order_they_were_scheduled() -> None:
    wheel = Wheel[str](tick=1.0)
    for item in "abc":
        wheel.schedule(item, 0.5)
    wheel.turn()

    assert wheel.turn() == ["a", "b", "c"]


def test_a_delay_that_is_over_rings_at_the_next_turn() -> None:
    wheel = Wheel[str](tick=1.0)
    wheel.schedule("late", -3.0)

    assert wheel.turn() == ["late"]


def test_a_wheel_knows_how_many_items_have_not_rung() -> None:
    wheel = Wheel[str](tick=1.0, slots=4)
    wheel.schedule("soon", 0.0)
    wheel.schedule("a round later", 4.0)
    before = len(wheel)
    wheel.turn()

    assert (before, len(wheel)) == (2, 1)


def instructions(action: Callable[[], object]) -> int:
    """How many instructions of the interpreter *action* takes."""
    count = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Callable[..., object]:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("others", [0, 100_000])
def test_a_timer_costs_the_same_however_many_others_there_are(others: int) -> None:
    wheel = Wheel[int](tick=1.0, slots=1000)
    for number in range(others):
        # All slots but those that the two turns below touch.
        wheel.schedule(number, 10.0 + number % 900)

    assert instructions(lambda: wheel.schedule(-1, 0.0)) < 100
    assert instructions(wheel.turn) < 100
    assert instructions(wheel.turn) < 100


def test_a_hundred_thousand_timers_ring_exactly_once_each() -> None:
    wheel = Wheel[int](tick=0.05, slots=512)
    for number in range(100_000):
        wheel.schedule(number, number % 600 / 10)
    rang = ring_all(wheel)

    assert len(rang) == 100_000
    assert all(0 <= moment - number % 600 / 10 <= 0.1 + 1e-9 for number, moment in rang.items())
