"""Channels are bounded, outlive their siblings, and end from the sending side."""

from math import inf

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from supervisor import Channel


@pytest.mark.parametrize("capacity", [inf, -1, None, 2.0])
def test_a_channel_without_a_bound_is_refused(capacity: int) -> None:
    with pytest.raises(ValueError, match="channel 'results' needs a bound"):
        Channel[int]("results", capacity)


def test_a_channel_tells_its_depth() -> None:
    channel = Channel[int]("results", 3)
    channel.offer(1)

    assert channel.depth == 1
    assert repr(channel) == "<Channel results: 1 of 3>"


def test_an_offer_is_declined_when_the_channel_is_full() -> None:
    channel = Channel[int]("retries", 1)

    assert channel.offer(1)
    assert not channel.offer(2)


def test_an_offer_is_declined_when_the_channel_has_ended() -> None:
    channel = Channel[int]("retries", 1)
    channel.end()

    assert not channel.offer(1)


async def test_a_receiver_that_goes_away_breaks_nobodys_sending() -> None:
    channel = Channel[int]("deliveries", 1)
    with channel.receiver():
        pass
    with trio.fail_after(1), channel.sender() as sender:
        await sender.send(1)

    assert channel.depth == 1


async def test_what_lies_in_an_ended_channel_is_still_received() -> None:
    channel = Channel[int]("results", 2)
    with channel.sender() as sender:
        channel.offer(1)
        channel.end()
        sender.send_nowait(2)
    with trio.fail_after(1), channel.receiver() as receiver:
        received = [item async for item in receiver]

    assert received == [1, 2]


async def test_a_send_after_the_end_meets_a_full_pipe_and_not_a_broken_one(autojump_clock: MockClock) -> None:
    channel = Channel[int]("results", 1)
    with channel.sender() as sender:
        channel.end()
        with channel.receiver():
            pass
        with trio.move_on_after(5) as waiting:
            await sender.send(1)
            await sender.send(2)

    assert waiting.cancelled_caught
    assert channel.depth == 1


async def test_a_cycle_of_full_channels_goes_on_because_one_edge_is_offered(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    forth, back = Channel[int]("forth", 1), Channel[int]("back", 1)
    passed = []

    async def feed() -> None:
        with forth.sender() as sender:
            for number in range(100):
                await sender.send(number)

    async def bounce() -> None:
        with forth.receiver() as receiver:
            async for number in receiver:
                back.offer(number)
                passed.append(number)

    async def again() -> None:
        with back.receiver() as receiver, forth.sender() as sender:
            async for number in receiver:
                if number < 100:
                    await sender.send(number + 100)

    nursery.start_soon(bounce)
    nursery.start_soon(again)
    with trio.fail_after(1):
        await feed()
        await wait_all_tasks_blocked()

    assert [number for number in passed if number < 100] == list(range(100))
    nursery.cancel_scope.cancel()
