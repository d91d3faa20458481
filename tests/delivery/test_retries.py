"""The wheel wakes the dispatcher when a retry comes due: never early, and hardly late."""

import pytest
import trio
from trio.testing import MockClock

from cueapi.delivery.retries import Reminder, Retries
from supervisor import Channel, Wheel
from tests.delivery.siblings import alive, quiet_hub


def retries_with(capacity: int = 100) -> Retries:
    return Retries(Channel("retries", capacity), Wheel(), quiet_hub())


async def woken_at(retries: Retries, times: int) -> list[float]:
    """When the dispatcher is woken, counted from now."""
    begun, moments = trio.current_time(), []
    for _ in range(times):
        await retries.hub.dispatches.wait()
        moments.append(trio.current_time() - begun)
    return moments


@pytest.mark.parametrize("delay", [0.0, 0.001, 0.05, 0.33, 1.0, 59.99, 60.0, 119.0])
async def test_a_reminder_wakes_when_its_time_has_come_and_within_two_ticks(
    autojump_clock: MockClock, delay: float
) -> None:
    retries = retries_with()
    await retries.hub.dispatches.wait()

    async with alive(retries.run):
        retries.reminders.offer(Reminder(delay))
        (moment,) = await woken_at(retries, 1)

    assert delay <= moment <= delay + 2 * retries.wheel.tick + 1e-6
    assert len(retries.wheel) == 0


async def test_reminders_that_come_while_the_wheel_turns_ring_in_their_order(autojump_clock: MockClock) -> None:
    retries = retries_with()
    await retries.hub.dispatches.wait()

    async with alive(retries.run):
        retries.reminders.offer(Reminder(2.0))
        await trio.sleep(1.02)
        retries.reminders.offer(Reminder(0.5))
        moments = await woken_at(retries, 2)

    assert 0.5 <= moments[0] <= 0.61
    assert 0.97 <= moments[1] <= 1.09


async def test_those_of_one_moment_wake_once(autojump_clock: MockClock) -> None:
    retries = retries_with()
    await retries.hub.dispatches.wait()

    async with alive(retries.run):
        for _ in range(50):
            retries.reminders.offer(Reminder(1.0))
        await woken_at(retries, 1)
        with trio.move_on_after(30) as silence:
            await retries.hub.dispatches.wait()

    assert silence.cancelled_caught


async def test_what_is_armed_again_and_again_takes_no_room(autojump_clock: MockClock) -> None:
    retries = retries_with(capacity=1000)

    async with alive(retries.run):
        for poll in range(100):
            for number in range(20):
                retries.reminders.offer(Reminder(30.0 + number - poll * 0.1))
                retries.reminders.offer(Reminder(30.0 + number - poll * 0.1, user=1))
            await trio.sleep(0.1)
        armed = len(retries.wheel)

    assert 40 <= armed <= 2 * 40


async def test_an_empty_wheel_takes_the_next_reminder_after_a_long_rest(autojump_clock: MockClock) -> None:
    retries = retries_with()
    await retries.hub.dispatches.wait()

    async with alive(retries.run):
        await trio.sleep(1000.0)
        retries.reminders.offer(Reminder(0.2))
        (moment,) = await woken_at(retries, 1)

    assert 0.2 <= moment <= 0.31


async def test_a_reminder_for_workers_wakes_those_of_its_user_and_not_the_dispatcher(autojump_clock: MockClock) -> None:
    retries = Retries(Channel("retries", 10), Wheel(), quiet_hub())
    await retries.hub.dispatches.wait()

    async with alive(retries.run):
        for user in (7, 8, 7):
            retries.reminders.offer(Reminder(1.0, user))
        with trio.move_on_after(30) as silence:
            await retries.hub.dispatches.wait()

    assert sorted(retries.hub.long_poll.woken) == [7, 8]
    assert silence.cancelled_caught
