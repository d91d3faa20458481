"""The clients that are connected: bounds in all and by address, who makes room, and what a refused client is told."""

import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState, LifespanState
from quart_trio import QuartTrio
from structlog.testing import capture_logs
from trio.testing import MockClock

from cueapi.api.http.connections import SETTLED, Connections
from cueapi.api.http.idle_timer import FIRST_BYTE_WITHIN, KEPT_ALIVE
from cueapi.api.http.server import ConnectionHandler
from cueapi.settings import Settings
from tests.conftest import RunningDaemon, running
from tests.delivery.siblings import until
from tests.scarcity import no_file_left

ASK = b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n"


@asynccontextmanager
async def dialling() -> AsyncIterator[trio.MemoryReceiveChannel[trio.SocketStream]]:
    """Accepted streams, each of a client of its own at 127.0.0.1 or 127.0.0.2 in turn."""
    listener = trio.socket.socket()
    await listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    address = listener.getsockname()
    clients = []
    sending, receiving = trio.open_memory_channel[trio.SocketStream](64)
    for number in range(32):
        client = socket.socket()
        client.bind((f"127.0.0.{number % 2 + 1}", 0))
        client.connect(address)
        clients.append(client)
        accepted, _ = await listener.accept()
        sending.send_nowait(trio.SocketStream(accepted))
    try:
        yield receiving
    finally:
        for client in clients:
            client.close()
        listener.close()
        sending.close()
        while receiving.statistics().current_buffer_used:
            receiving.receive_nowait().socket.close()


async def test_there_is_no_room_beyond_the_bounds_and_room_again_when_one_has_left() -> None:
    connections = Connections(most=3, most_per_address=2)
    async with dialling() as streams:
        one, two, other, another, more = [await streams.receive() for _ in range(5)]

        admitted = [connections.admit(stream) for stream in (one, other, more, two, another)]
        connections.leave(one)
        connections.leave(one)
        after = [connections.admit(stream) for stream in (more, another)]
        for stream in (one, two, other, another, more):
            stream.socket.close()

    assert admitted == [True, True, False, True, False]
    assert after == [True, False]
    assert len(connections) == 3


async def test_the_connection_that_has_been_idle_longest_makes_room_and_a_busy_one_never(
    autojump_clock: MockClock,
) -> None:
    connections = Connections(most=3, most_per_address=3)
    async with dialling() as streams:
        busy, older, newer, new, last = [await streams.receive() for _ in range(5)]
        for stream in (busy, older, newer):
            connections.admit(stream)
            connections.mark(stream, True)
            await trio.sleep(0.3)
        connections.mark(busy, False)
        early = connections.admit(new)
        await trio.sleep(SETTLED)
        late = connections.admit(new), connections.admit(last)
        open_now = [stream.socket.fileno() >= 0 for stream in (busy, older, newer)]
        for stream in (busy, new, last):
            stream.socket.close()

    assert (early, late) == (False, (True, True))
    assert open_now == [True, False, False]


async def test_an_address_that_is_full_closes_connections_of_its_own_and_a_proxy_is_never_full(
    autojump_clock: MockClock,
) -> None:
    bounded = Connections(most=8, most_per_address=1)
    proxied = Connections(most=8, most_per_address=1, proxies=(ip_network("127.0.0.2/32"),))
    async with dialling() as streams:
        mine, theirs, again, also = [await streams.receive() for _ in range(4)]
        for stream in (theirs, mine):
            bounded.admit(stream)
            bounded.mark(stream, True)
        await trio.sleep(2 * SETTLED)

        admitted = bounded.admit(again)
        open_now = [stream.socket.fileno() >= 0 for stream in (mine, theirs)]
        through_proxy = [proxied.admit(stream) for stream in (theirs, also)]
        for stream in (theirs, again, also):
            stream.socket.close()

    assert (admitted, open_now) == (True, [False, True])
    assert through_proxy == [True, True]


@asynccontextmanager
async def crowd(daemon: RunningDaemon, size: int) -> AsyncIterator[list[trio.SocketStream]]:
    """As many connections that say nothing."""
    port = daemon.resources.listener.getsockname()[1]
    silent = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(size)]
    try:
        yield silent
    finally:
        for stream in silent:
            stream.socket.close()


async def answer(stream: trio.SocketStream) -> bytes:
    """All that the server says until it hangs up."""
    told = b""
    while data := await stream.receive_some():
        told += data
    return told


async def test_a_client_beyond_the_bound_is_told_so_at_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However long the machine stands still meanwhile.
    monkeypatch.setattr("cueapi.api.http.connections.SETTLED", 60.0)
    monkeypatch.setattr("cueapi.api.http.listening.REFUSED_WITHIN", 30.0)
    bounded = settings.model_copy(update={"max_connections": 4, "max_connections_per_address": 4})
    with trio.fail_after(30):
        async with running(bounded) as daemon, crowd(daemon, 4), crowd(daemon, 1) as (refused,):
            await refused.send_all(ASK)
            told = await answer(refused)

    head, _, body = told.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: 5\r\n" in head
    assert b"\r\nx-content-type-options: nosniff" in head
    assert json.loads(body)["error"] == {
        "code": "overloaded",
        "message": "Too many connections. Try again in a few seconds.",
        "status": 503,
    }


async def test_a_crowd_of_silent_connections_keeps_no_client_out(settings: Settings) -> None:
    bounded = settings.model_copy(update={"max_connections": 8, "max_connections_per_address": 8})
    with trio.fail_after(30):
        async with running(bounded) as daemon, crowd(daemon, 8), crowd(daemon, 60):
            await trio.sleep(SETTLED + 0.1)
            answers = [(await daemon.api.ask("GET", "/status", Connection="close")).status_code for _ in range(6)]

    assert answers == [200] * 6


@pytest.mark.parametrize(("sent", "closed_after"), [(b"", FIRST_BYTE_WITHIN), (ASK[:1], KEPT_ALIVE)])
async def test_a_connection_that_says_nothing_is_closed_in_time_and_one_that_has_begun_is_not(
    autojump_clock: MockClock, sent: bytes, closed_after: float
) -> None:
    ours, theirs = [trio.SocketStream(trio.socket.from_stdlib_socket(one)) for one in socket.socketpair()]
    app, state = ASGIWrapper(QuartTrio("never asked")), ConnectionState(LifespanState())
    handler = ConnectionHandler(app, Config(), WorkerContext(None), state, ours)
    if sent:
        await theirs.send_all(sent)

    begun = trio.current_time()
    await handler.run()

    assert trio.current_time() - begun == pytest.approx(closed_after)
    assert await theirs.receive_some() == b""
    assert FIRST_BYTE_WITHIN == 10
    await theirs.aclose()


async def test_a_client_that_is_gone_before_it_was_accepted_harms_none(daemon: RunningDaemon) -> None:
    async with crowd(daemon, 20) as gone:
        for stream in gone:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stream.socket.close()
        health = await daemon.api.get("/health")

    assert health["siblings"]["api"]["restarts"] == 0


async def test_a_connection_that_has_ended_is_counted_no_longer(settings: Settings) -> None:
    bounded = settings.model_copy(update={"max_connections": 5, "max_connections_per_address": 5})
    with trio.fail_after(30):
        async with running(bounded) as daemon:
            for _ in range(5):
                async with crowd(daemon, 4) as streams:
                    for stream in streams:
                        await stream.send_all(ASK)
                        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
                    assert await gauge(daemon, "cueapi_client_connections") == 5
                await until(lambda: _is_alone(daemon))
            most = await gauge(daemon, "cueapi_client_connections_limit")

    assert most == 5


async def gauge(daemon: RunningDaemon, name: str) -> float:
    """What /metrics says to a client, which is one itself."""
    text = (await daemon.client.get("/metrics")).text
    (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


async def _is_alone(daemon: RunningDaemon) -> bool:
    return await gauge(daemon, "cueapi_client_connections") == 1


async def test_a_connection_that_no_descriptor_is_left_for_makes_an_idle_one_close(daemon: RunningDaemon) -> None:
    port = daemon.resources.listener.getsockname()[1]
    ours = socket.socket()
    ours.setblocking(False)
    with trio.fail_after(30), capture_logs() as lines:
        async with crowd(daemon, 2), trio.SocketStream(trio.socket.from_stdlib_socket(ours)) as late:
            await trio.sleep(SETTLED + 0.1)
            with no_file_left():
                await late.socket.connect(("127.0.0.1", port))
                await late.send_all(ASK)
                told = await late.receive_some()

    assert told.startswith(b"HTTP/1.1 200")
    assert [line["reason"] for line in lines if line["event"] == "daemon_ran_short"] == ["too many open files"]
