"""A daemon that may open few files: it serves and lives, and what it has no descriptor for is done later."""

import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from tests.conftest import Api, cue
from tests.process import HANG, DaemonProcess, daemon_process, embedded_home
from tests.receiver import open_receiver

SPARE = 12
"""Descriptors for all deliveries."""


@asynccontextmanager
async def crowd(daemon: DaemonProcess, size: int) -> AsyncIterator[None]:
    """As many connections that say nothing."""
    silent = [await trio.open_tcp_stream("127.0.0.1", daemon.port) for _ in range(size)]
    try:
        yield
    finally:
        for stream in silent:
            stream.socket.close()


def leave_few(daemon: DaemonProcess) -> None:
    """From now on the daemon may open SPARE files more than it has open."""
    open_now = [int(path.name) for path in Path(f"/proc/{daemon.process.pid}/fd").iterdir()]
    _, hard = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (max(open_now) + SPARE, hard))


async def fire(api: Api, cue_id: str, times: int) -> list[str]:
    return [(await api.post(f"/v1/cues/{cue_id}/fire"))["id"] for _ in range(times)]


async def firing(api: Api, cue_id: str, times: int, *, task_status: trio.TaskStatus[list[str]]) -> None:
    """Fire beside whoever has started it, who gets the list that they come into."""
    fired: list[str] = []
    task_status.started(fired)
    for _ in range(times):
        fired += await fire(api, cue_id, 1)


async def test_a_crowd_of_silent_connections_stops_neither_the_api_nor_a_delivery(
    tmp_path: Path, database_url: str
) -> None:
    few = {"DATABASE_URL": database_url, "DISPATCH_CONCURRENCY": 8, "DATABASE_POOL_SIZE": 4}
    with trio.fail_after(HANG):
        async with open_receiver() as receiver, daemon_process(tmp_path, files=128, **few) as daemon:
            api = await daemon.api.register()
            made = await api.post("/v1/cues", cue(receiver.url()))
            async with crowd(daemon, 200):
                await trio.sleep(1.5)
                (fired,) = await fire(api, made["id"], 1)
                shown = await api.execution(fired)
                siblings = await daemon.siblings()
            code = await daemon.stop()

    assert (shown["status"], shown["attempts"]) == ("success", 1)
    assert {one["restarts"] for one in siblings.values()} == {0}
    assert code == 0


async def test_attempts_beyond_what_can_be_opened_are_made_later_and_nothing_counts_as_failed() -> None:
    ran_short = trio.Event()
    with trio.fail_after(HANG), embedded_home() as home:
        async with open_receiver([ran_short]) as receiver, daemon_process(home, DISPATCH_CONCURRENCY=64) as daemon:
            api = await daemon.api.register()
            made = await api.post("/v1/cues", cue(receiver.url()))
            leave_few(daemon)
            async with trio.open_nursery() as nursery:
                fired = await nursery.start(firing, api, made["id"], 30)
                await daemon.logs("daemon_ran_short")
                ran_short.set()
            shown = [await api.execution(one) for one in fired]
            siblings = await daemon.siblings()
            events = [entry["event"] for entry in daemon.log()]
            code = await daemon.stop()

    assert {(one["status"], one["attempts"], one["error_message"]) for one in shown} == {("success", 1, None)}
    assert 1 <= events.count("daemon_ran_short") <= 2
    assert {"database_lost", "sibling_failed"} & set(events) == set()
    assert {one["restarts"] for one in siblings.values()} == {0}
    assert code == 0
