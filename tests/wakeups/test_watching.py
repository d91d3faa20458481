"""Streams of hints: what is said, how seldom, when they end, and that nothing is said where no one watches."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from cueapi.storage.database import StorageUnavailable
from cueapi.wakeups.announcements import Announcements
from cueapi.wakeups.watching import LATER, MOST_OF_USER, OPENING, PING, EventStream, Watchers


async def serves() -> bool:
    return True


def hint(*topics: str) -> bytes:
    listed = ", ".join(f'"{topic}"' for topic in topics)
    return f'event: changed\ndata: {{"topics": [{listed}]}}\n\n'.encode()


def watchers(most: int = 200) -> Watchers:
    return Watchers(Announcements(), most)


@asynccontextmanager
async def opened(watched: Watchers, user: int = 1) -> AsyncIterator[EventStream]:
    """A stream of *user* that has begun."""
    async with EventStream(watched, user, serves) as stream:
        assert await anext(stream) == OPENING
        yield stream


async def rest(stream: EventStream) -> list[tuple[float, bytes]]:
    """All that comes until the stream ends, each part with its time."""
    return [(round(trio.current_time(), 1), part) async for part in stream]


async def test_hints_come_at_once_and_then_at_most_once_a_second(autojump_clock: MockClock) -> None:
    watched = watchers()
    heard = []
    async with opened(watched) as stream, trio.open_nursery() as nursery:

        async def listen() -> None:
            while True:
                part = await anext(stream)
                heard.append((round(trio.current_time(), 1), part))

        nursery.start_soon(listen)
        for _ in range(30):
            await trio.sleep(0.1)
            watched.changed(1, ("executions",))
            watched.changed(1, ("cues", "executions"))
            watched.changed(2, ("alerts",))
        await trio.sleep(2)
        nursery.cancel_scope.cancel()

    assert heard == [(moment, hint("executions", "cues")) for moment in (0.1, 1.1, 2.1, 3.1)]


async def test_a_silent_stream_pings_every_fifteen_seconds_and_ends_after_ten_minutes(
    autojump_clock: MockClock,
) -> None:
    async with opened(watchers()) as stream:
        heard = await rest(stream)

    assert heard == [(15.0 * number, PING) for number in range(1, 40)]
    assert trio.current_time() == pytest.approx(600)


async def test_the_end_of_the_sibling_ends_every_stream_at_once(autojump_clock: MockClock) -> None:
    watched = watchers()
    ends = []

    async def follow(user: int) -> None:
        async with opened(watched, user) as stream:
            ends.append(await rest(stream))

    async with trio.open_nursery() as streams, trio.open_nursery() as siblings:
        await siblings.start(watched.run)
        for number in range(50):
            streams.start_soon(follow, number)
        await trio.sleep(1.5)
        siblings.cancel_scope.cancel()

    assert ends == [[(1.5, LATER)]] * 50
    assert len(watched) == 0


@pytest.mark.parametrize("answer", ["no", "none in time", "away"])
async def test_a_stream_whose_session_has_ended_ends_within_a_second(autojump_clock: MockClock, answer: str) -> None:
    async def ended() -> bool:
        if answer == "away":
            raise StorageUnavailable("gone")
        if answer == "none in time":
            await trio.sleep_forever()
        return False

    watched = watchers()
    with trio.fail_after(600):
        async with EventStream(watched, 1, ended) as stream, trio.open_nursery() as nursery:
            assert await anext(stream) == OPENING
            nursery.start_soon(rest, stream)
            await trio.sleep(3)
            watched.doubt(2)
            await trio.sleep(3)
            watched.doubt(1)

    assert trio.current_time() <= 7


async def test_a_doubted_stream_that_serves_goes_on(autojump_clock: MockClock) -> None:
    watched = watchers()
    async with opened(watched) as stream:
        watched.doubt(1)
        watched.changed(1, ("alerts",))

        assert await anext(stream) == hint("alerts")


async def test_there_is_room_for_twenty_streams_of_an_account_and_so_many_in_all(autojump_clock: MockClock) -> None:
    watched = watchers(most=30)
    streams = [EventStream(watched, 1 + number // MOST_OF_USER, serves) for number in range(30)]
    for stream in streams:
        await stream.__aenter__()

    late = EventStream(watched, 3, serves)
    async with late:
        assert (watched.has_room(1), watched.has_room(3), len(watched)) == (False, False, 30)
        assert await rest(late) == []
    await streams[0].__aexit__()
    assert (watched.has_room(1), watched.has_room(2), watched.has_room(3)) == (True, True, True)
    for stream in streams[1:]:
        await stream.__aexit__()
    assert len(watched) == 0


async def test_other_daemons_are_told_while_someone_watches_and_no_longer(autojump_clock: MockClock) -> None:
    watched = watchers()
    said = []

    async def note() -> None:
        while True:
            await watched.announcements.wait()
            said.extend((round(trio.current_time()), topic) for topic in watched.announcements.take())

    async with trio.open_nursery() as nursery:
        await nursery.start(watched.run)
        nursery.start_soon(note)
        await trio.sleep(100)
        async with opened(watched, 7):
            await trio.sleep(4.5)
        await trio.sleep(100)
        watched.changed(7, ("executions",))
        await trio.sleep(1)
        nursery.cancel_scope.cancel()

    assert said == [(100, "watch:7"), (102, "watch:7"), (104, "watch:7")]


async def test_what_is_watched_elsewhere_is_announced_for_five_seconds(autojump_clock: MockClock) -> None:
    watched = watchers()
    watched.changed(7, ("cues",))
    watched.watched_elsewhere(7)
    watched.changed(7, ("cues", "alerts"))
    watched.changed(8, ("cues",))
    first = [*watched.announcements.take()]
    await trio.sleep(4.9)
    watched.changed(7, ("cues",))
    second = [*watched.announcements.take()]
    await trio.sleep(0.2)
    watched.changed(7, ("cues",))

    assert first == ["changed:7:cues", "changed:7:alerts"]
    assert second == ["changed:7:cues"]
    assert watched.announcements.take() == {}
