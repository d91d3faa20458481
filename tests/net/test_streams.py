"""Bytes over a connected socket, against the other end of a pair."""

import socket
from collections.abc import Iterator

import pytest
import trio

from cueapi.net.streams import DirectStream

MEGABYTE = bytes(range(256)) * 4096


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        yield ours, theirs


async def test_what_is_longer_than_a_buffer_arrives_whole_and_both_ways_at_once(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = (DirectStream(each) for each in pair)
    came = bytearray()

    async def echo() -> None:
        while data := await theirs.receive_some(10_000):
            await theirs.send_all(data)

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo)
            nursery.start_soon(ours.send_all, MEGABYTE)
            while len(came) < len(MEGABYTE):
                came += await ours.receive_some(65_536)
            nursery.cancel_scope.cancel()

    assert bytes(came) == MEGABYTE


async def test_nothing_is_sent_after_the_deadline(pair: tuple[socket.socket, socket.socket]) -> None:
    with trio.move_on_after(0) as scope:
        await DirectStream(pair[0]).send_all(b"late")

    assert scope.cancelled_caught
    with pytest.raises(BlockingIOError):
        pair[1].recv(1)


async def test_the_end_of_the_other_side_is_no_bytes_and_sending_to_it_an_error(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    pair[1].close()

    with trio.fail_after(10):
        assert await DirectStream(pair[0]).receive_some(10) == b""
        with pytest.raises(trio.BrokenResourceError) as broken:
            await DirectStream(pair[0]).send_all(b"x")

    assert isinstance(broken.value.__cause__, BrokenPipeError)


async def test_a_wait_ends_where_it_is_cancelled(pair: tuple[socket.socket, socket.socket]) -> None:
    with trio.move_on_after(0.01) as receiving:
        await DirectStream(pair[0]).receive_some(10)
    with trio.move_on_after(0.01) as sending:
        await DirectStream(pair[0]).send_all(MEGABYTE)

    assert (receiving.cancelled_caught, sending.cancelled_caught) == (True, True)
