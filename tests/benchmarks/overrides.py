"""
What an override of Hypercorn or Quart gains: requests a second and processor time, in turns with and without it.

`python -m tests.benchmarks.overrides [ROUNDS [NAME …]]`, on a quiet machine. One daemon in this process, one load
program beside it; an override is taken away between two loads.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import trio
from attrs import asdict, frozen
from hypercorn.events import Closed, Event, RawData
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import TrioSingleTask
from pydantic import SecretStr
from quart_trio.asgi import TrioASGIHTTPConnection

from cueapi import logs
from cueapi.api.http import quart_app, server
from cueapi.settings import Settings
from tests.benchmarks.load import Ask
from tests.benchmarks.scene import RATE_LIMIT, open_database, result_of, scratch
from tests.conftest import RunningDaemon, cue, running
from tests.storage.own_postgres import OwnPostgres, own_postgres

CONNECTIONS = 8
SECONDS = 1.0


@contextmanager
def replaced(where: Any, **values: object) -> Iterator[None]:
    """*where* with other attributes, for the length of the block."""
    before = {name: vars(where)[name] for name in values}
    for name, value in values.items():
        setattr(where, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(where, name, value)


class HypercornsTimer:
    """Hypercorn's own: a task for each request. Ends with its connection, as ours does."""

    def __init__(self, line: TCPServer) -> None:
        self._line, self._task = line, TrioSingleTask()

    async def restart(self, group: Any, _action: object) -> None:
        await self._task.restart(group, self._line._idle_timeout)

    async def stop(self) -> None:
        await self._task.stop()

    def end(self) -> None:
        if self._task._handle is not None:
            self._task._handle.cancel()


class WithoutIdleTimer(server.ConnectionHandler):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.idle = self.idle_task = HypercornsTimer(self)


async def send_head_and_body_apart(line: server.ConnectionHandler, event: Event) -> None:
    if not isinstance(event, RawData):
        await TCPServer.protocol_send(line, event)
    elif event.data and not await line._write(event.data):
        await line.protocol.handle(Closed())


@contextmanager
def without_whole_answer() -> Iterator[None]:
    """Answers in pieces: three messages from Quart, and head and body in two writes."""
    with (
        replaced(quart_app.OneRequest, _send_response=TrioASGIHTTPConnection._send_response),
        replaced(server.ConnectionHandler, protocol_send=send_head_and_body_apart),
    ):
        yield


WITHOUT: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "idle_timer": lambda: replaced(server, ConnectionHandler=WithoutIdleTimer),
    "whole_answer": without_whole_answer,
}
"""Overrides that are there for speed, too; another line for each that is to be judged."""


@frozen
class Cost:
    """Answers a second, and microseconds of this process's processor time for each."""

    rate: float
    cpu: float


async def measure(home: Path, ask: Ask) -> Cost:
    begun = time.process_time()
    rate = await result_of(home, "-m", "tests.benchmarks.load", json.dumps(asdict(ask)))
    return Cost(rate, (time.process_time() - begun) / (rate * ask.seconds) * 1e6)


async def compare(home: Path, ask: Ask, rounds: int, names: list[str]) -> None:
    pairs: dict[str, list[tuple[Cost, Cost]]] = {name: [] for name in names}
    await measure(home, ask)
    for _ in range(rounds):
        for name in names:
            ours = await measure(home, ask)
            with WITHOUT[name]():
                pairs[name].append((ours, await measure(home, ask)))
    for name, measured in pairs.items():
        rate = median(plain.rate / ours.rate for ours, plain in measured)
        cpu = median(plain.cpu / ours.cpu for ours, plain in measured)
        sys.stdout.write(f"{ask.path:28} without {name:20} answers x{rate:.3f}  processor time x{cpu:.3f}\n")
        sys.stdout.flush()


async def main(own: OwnPostgres, rounds: int, names: list[str]) -> None:
    async with open_database(own) as url:
        with scratch() as home:
            async with running(_settings(url, home)) as daemon:
                for path, key in await _asked(daemon):
                    port = daemon.resources.listener.getsockname()[1]
                    ask = Ask(port, path, key=key, connections=CONNECTIONS, seconds=SECONDS)
                    await compare(home, ask, rounds, names)


async def _asked(daemon: RunningDaemon) -> list[tuple[str, str]]:
    api = await daemon.api.register()
    made = await api.post("/v1/cues", cue("http://127.0.0.1:9/"))
    return [("/status", ""), (f"/v1/cues/{made['id']}", api.key)]


def _settings(url: str, home: Path) -> Settings:
    return Settings(
        _env_file=None, database_url=url, data_dir=home, port=0, session_secret=SecretStr("x" * 64),
        callback_allow="127.0.0.1",
        log_level="warning", rate_limit_per_minute=RATE_LIMIT,
    )  # fmt: skip


if __name__ == "__main__":
    logs.set_up(None, "warning")
    with own_postgres() as postgres:
        trio.run(main, postgres, int((sys.argv[1:] or ["25"])[0]), sys.argv[2:] or list(WITHOUT))
