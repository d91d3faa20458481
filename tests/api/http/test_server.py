"""The server: idle connections end in time, nothing outlives its connection, and bytes that are no HTTP harm none."""

import json
import socket
import struct
from contextlib import suppress
from functools import partial

import pytest
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState, LifespanState
from quart_trio import QuartTrio
from structlog.testing import capture_logs
from trio.testing import MockClock

from cueapi.api.http.idle_timer import KEPT_ALIVE, IdleTimer
from cueapi.api.http.server import SLICE, ConnectionHandler
from cueapi.settings import Settings
from tests.conftest import RunningDaemon, running
from tests.delivery.siblings import until

ASK = b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def test_head_and_body_of_an_answer_leave_together(daemon: RunningDaemon) -> None:
    port = daemon.resources.listener.getsockname()[1]

    with trio.fail_after(10):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            answers = []
            for _ in range(5):
                await stream.send_all(ASK)
                answers.append(await stream.receive_some())

    assert all(one.startswith(b"HTTP/1.1 200") and one.endswith(b"}") for one in answers)


async def test_requests_that_come_at_once_are_answered_in_their_order(daemon: RunningDaemon) -> None:
    port = daemon.resources.listener.getsockname()[1]
    asked = b"".join(ASK.replace(b"Host", b"X-Request-Id: r%d\r\nHost" % number) for number in range(20))

    with trio.fail_after(10):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(asked)
            told = b""
            while told.count(b"HTTP/1.1 200") < 20 or not told.endswith(b"}"):
                told += await stream.receive_some()

    ids = [line.partition(b": ")[2] for line in told.split(b"\r\n") if line.lower().startswith(b"x-request-id")]
    assert ids == [b"r%d" % number for number in range(20)]


async def test_a_connection_that_its_client_closes_leaves_no_task_behind(daemon: RunningDaemon) -> None:
    port = daemon.resources.listener.getsockname()[1]
    tasks = partial(lambda: trio.lowlevel.current_statistics().tasks_living)
    before = tasks()

    with trio.fail_after(20):
        for _ in range(20):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(ASK)
                await stream.receive_some()
        await until(lambda: tasks() <= before)


async def test_a_connection_is_closed_when_it_was_idle_for_long_and_never_while_it_is_busy(
    autojump_clock: MockClock,
) -> None:
    closed: list[float] = []

    async def close() -> None:
        closed.append(trio.current_time())

    begun = trio.current_time()
    idle = IdleTimer(WorkerContext(None), close)
    async with TaskGroup() as group:
        await idle.restart(group, None)
        await trio.sleep(KEPT_ALIVE - 1)
        await idle.stop()
        await trio.sleep(3 * KEPT_ALIVE)
        await idle.restart(group, None)

    assert [moment - begun for moment in closed] == [5 * KEPT_ALIVE - 1]


async def test_when_the_server_ends_idle_connections_close_at_once_and_busy_ones_after_their_answer(
    autojump_clock: MockClock,
) -> None:
    closed: list[str] = []

    async def close(name: str) -> None:
        closed.append(name)

    context = WorkerContext(None)
    resting, working = IdleTimer(context, partial(close, "resting")), IdleTimer(context, partial(close, "working"))
    async with TaskGroup() as group:
        await resting.restart(group, None)
        await working.restart(group, None)
        await working.stop()
        await trio.sleep(1)
        await context.terminated.set()
        await trio.sleep(1)
        early = list(closed)
        await working.restart(group, None)

    assert early == ["resting"]
    assert closed == ["resting", "working"]


W = (
    b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
BYTES = {
    "a websocket that goes on": W + b"\r\n\x81\x85abc",
    "a websocket with a body": W + b"Content-Length: 5\r\n\r\nhello",
    "a websocket with an extension that is no ASCII": W + b"Sec-WebSocket-Extensions: x; y=\xff\r\n\r\n",
    "an upgrade to HTTP/2": b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\n"
    b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAM\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(40),
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "two lengths": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "a length and a coding": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an endless header": b"GET / HTTP/1.1\r\nX: " + b"x" * 200_000,
    "an unknown coding": b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: odd\r\n\r\n",
    "a query and no path": b"GET ?x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "half an address": b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "half an address in disguise": b"GET http://%5B/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("sent", BYTES.values(), ids=BYTES.keys())
async def test_whatever_bytes_come_other_connections_are_served(daemon: RunningDaemon, sent: bytes) -> None:
    port = daemon.resources.listener.getsockname()[1]

    with trio.fail_after(30):
        for _ in range(8):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            with suppress(trio.BrokenResourceError):
                await stream.send_all(sent)
                await stream.send_eof()
                while await stream.receive_some():
                    pass
            await stream.aclose()
        health = await daemon.api.get("/health")

    assert health["siblings"]["api"]["state"] == "running"
    assert health["siblings"]["api"]["restarts"] == 0


REFUSED = ["two lengths", "a query and no path", "half an address", "half an address in disguise"]


@pytest.mark.parametrize("sent", [BYTES[name] for name in REFUSED], ids=REFUSED)
async def test_a_malformed_request_is_refused_in_the_form_of_every_refusal(daemon: RunningDaemon, sent: bytes) -> None:
    port = daemon.resources.listener.getsockname()[1]

    with trio.fail_after(10):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(sent)
            told = b""
            while data := await stream.receive_some():
                told += data

    head, _, body = told.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b"x-request-id: " in head
    assert b"x-content-type-options: nosniff" in head
    error = {"code": "bad_request", "message": "Malformed HTTP request.", "status": 400}
    assert json.loads(body) == {"error": error, "detail": {"error": error}}


async def test_a_request_for_a_websocket_is_answered_as_any_other(daemon: RunningDaemon) -> None:
    port = daemon.resources.listener.getsockname()[1]

    with trio.fail_after(10):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(W + b"\r\n")
            answered = await stream.receive_some()

    assert answered.startswith(b"HTTP/1.1 200")


async def test_a_client_that_never_reads_its_answers_does_not_delay_the_end(settings: Settings) -> None:
    with trio.fail_after(30):
        async with running(settings) as daemon:
            stream = await trio.open_tcp_stream("127.0.0.1", daemon.resources.listener.getsockname()[1])
            with trio.move_on_after(5):
                await stream.send_all(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 300)
            await trio.sleep(0.5)
            await daemon.api.get("/health")
        await stream.aclose()


async def test_a_connection_whose_client_reads_nothing_is_closed(autojump_clock: MockClock) -> None:
    ours, theirs = [trio.SocketStream(trio.socket.from_stdlib_socket(one)) for one in socket.socketpair()]
    line = ConnectionHandler(
        ASGIWrapper(QuartTrio("never asked")), Config(), WorkerContext(None), ConnectionState(LifespanState()), ours
    )

    taken = await line._write(bytes(64 * SLICE))

    assert not taken
    with pytest.raises(trio.ClosedResourceError):
        await ours.send_all(b"more")
    await theirs.aclose()


async def test_a_probe_that_resets_its_connection_leaves_no_line_in_the_log(daemon: RunningDaemon) -> None:
    port = daemon.resources.listener.getsockname()[1]
    at_once = struct.pack("ii", 1, 0)

    with trio.fail_after(10), capture_logs() as lines:
        for _ in range(5):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            stream.socket.close()
        await daemon.api.get("/health")

    assert [line for line in lines if line["event"] == "connection_failed"] == []
