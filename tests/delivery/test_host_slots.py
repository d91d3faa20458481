"""How many requests one host gets at once, and how many deliveries are claimed ahead of them."""

from collections import Counter
from functools import partial

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from cueapi.delivery.host_slots import AHEAD, PATIENCE, HostSlots

HOST = "a:80"


async def use(slots: HostSlots, log: list[int], number: int, seconds: float, host: str = HOST) -> None:
    """Hold a slot for so long."""
    if await slots.acquire(host):
        log.append(number)
        try:
            await trio.sleep(seconds)
        finally:
            slots.release(host)


async def test_a_host_has_its_slots_and_the_first_that_waits_is_the_first_that_is_served(
    autojump_clock: MockClock,
) -> None:
    slots, log = HostSlots(2), list[int]()
    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(use, slots, log, number, PATIENCE / 4)
            await wait_all_tasks_blocked()
        before = list(log)

    # Two that are served at one moment may begin in any order.
    assert [set(log[at : at + 2]) for at in (0, 2, 4)] == [{0, 1}, {2, 3}, {4, 5}]
    assert before == [0, 1]
    assert trio.current_time() == 3 * PATIENCE / 4


async def test_another_host_is_not_waited_for(autojump_clock: MockClock) -> None:
    slots, log = HostSlots(1), list[int]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(use, slots, log, 1, 1.0)
        nursery.start_soon(use, slots, log, 2, 1.0, "b:80")

    assert trio.current_time() == 1.0


async def test_who_finds_no_slot_for_seconds_goes_without(autojump_clock: MockClock) -> None:
    slots, log = HostSlots(1), list[int]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(use, slots, log, 1, 3 * PATIENCE)
        await wait_all_tasks_blocked()
        with_slot = await slots.acquire(HOST)
        waited = trio.current_time()

    assert (with_slot, waited) == (False, PATIENCE)
    assert await slots.acquire(HOST)


async def test_once_open_everything_passes(autojump_clock: MockClock) -> None:
    slots, log = HostSlots(1), list[int]()
    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(use, slots, log, number, 1.0)
        await wait_all_tasks_blocked()
        slots.open()
        await use(slots, log, 4, 0.0)

    assert sorted(log) == [0, 1, 2, 3, 4]
    assert trio.current_time() == 1.0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a:80", "b:80"]),
            st.floats(0, 2),
            st.floats(0, 2),
            st.none() | st.floats(0, 3),
        ),
        max_size=25,
    ),
    st.integers(1, 3),
)
def test_no_host_has_more_than_its_slots_whoever_is_cancelled_and_none_is_lost(
    requests: list[tuple[str, float, float, float | None]], per_host: int
) -> None:
    async def request(
        slots: HostSlots, busy: Counter[str], begins: float, host: str, seconds: float, until: float | None
    ) -> None:
        await trio.sleep(begins)
        with trio.move_on_after(float("inf") if until is None else until):
            if await slots.acquire(host):
                busy[host] += 1
                try:
                    assert busy[host] <= per_host
                    await trio.sleep(seconds)
                finally:
                    busy[host] -= 1
                    slots.release(host)

    async def play() -> None:
        slots, busy = HostSlots(per_host), Counter[str]()
        async with trio.open_nursery() as nursery:
            for host, begins, seconds, until in requests:
                nursery.start_soon(request, slots, busy, begins, host, seconds, until)
        begun = trio.current_time()
        async with trio.open_nursery() as nursery:
            for host in ("a:80", "b:80"):
                for number in range(per_host):
                    nursery.start_soon(partial(use, slots, [], number, 0.0, host))
        assert trio.current_time() == begun

    trio.run(play, clock=MockClock(autojump_threshold=0))


async def test_as_many_are_claimed_ahead_as_the_host_ended_in_the_last_moments(autojump_clock: MockClock) -> None:
    slots, log = HostSlots(3), list[int]()
    before = slots.ahead()
    for number in range(2):
        await use(slots, log, number, AHEAD / 4)
    some = slots.ahead()
    for number in range(20):
        await use(slots, log, number, AHEAD / 100)
    many = slots.ahead()
    await trio.sleep(2 * AHEAD)

    assert (before, some, many, slots.ahead()) == ({}, {HOST: 2}, {HOST: 3}, {})
