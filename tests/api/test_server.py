"""The server: answers leave whole, idle connections end in time, and nothing of a connection outlives it."""

from functools import partial

import trio
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from trio.testing import MockClock

from cueapi.api.server import KEPT_ALIVE, Idle
from tests.conftest import RunningDaemon
from tests.delivery.siblings import until

ASK = b"GET /status HTTP/1.1\r\nHost: cueapi\r\n\r\n"


async def test_head_and_body_of_an_answer_leave_together(daemon: RunningDaemon) -> None:
    port = daemon.ground.listener.getsockname()[1]

    with trio.fail_after(10):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            answers = []
            for _ in range(5):
                await stream.send_all(ASK)
                answers.append(await stream.receive_some())

    assert all(one.startswith(b"HTTP/1.1 200") and one.endswith(b"}") for one in answers)


async def test_requests_that_come_at_once_are_answered_in_their_order(daemon: RunningDaemon) -> None:
    port = daemon.ground.listener.getsockname()[1]
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
    port = daemon.ground.listener.getsockname()[1]
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
    idle = Idle(WorkerContext(None), close)
    async with TaskGroup() as group:
        await idle.restart(group, None)
        await trio.sleep(KEPT_ALIVE - 1)
        await idle.stop()
        await trio.sleep(3 * KEPT_ALIVE)
        await idle.restart(group, None)

    assert [moment - begun for moment in closed] == [5 * KEPT_ALIVE - 1]


async def test_when_the_server_ends_idle_connections_close_at_once_and_busy_ones_when_they_are_done(
    autojump_clock: MockClock,
) -> None:
    closed: list[str] = []

    async def close(name: str) -> None:
        closed.append(name)

    context = WorkerContext(None)
    resting, working = Idle(context, partial(close, "resting")), Idle(context, partial(close, "working"))
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
