"""
Daemons that are killed and started often: forked where the imports are done already, ended by their id.

    async with open_daemons(tmp_path, 2, DATABASE_URL=…) as daemons:
        await daemons[0].ask(key, Question("GET", "/v1/cues"))
        code = await daemons[0].end(signal.SIGKILL)
"""

import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import trio
from attrs import define, field, frozen

from tests.conftest import NO_TLS, Api
from tests.cradle import Forked, Order, cradle
from tests.ports import free_port
from tests.process import END_PATIENCE, LOOK, UP_PATIENCE, environment

PATIENCE = 120.0
"""Seconds in which whatever must happen has happened."""


@frozen
class Question:
    """A request; header names are written with underscores."""

    method: str
    path: str
    body: Any = None
    headers: dict[str, str] = field(factory=dict)

    def __str__(self) -> str:
        parts = (self.method, self.path, self.body, self.headers)
        return " ".join(str(part) for part in parts if part)


@frozen
class Answer:
    """What a request was answered."""

    status: int
    body: dict[str, Any]
    replayed: bool

    @property
    def code(self) -> str:
        """The code of a refusal."""
        return str(self.body.get("error", {}).get("code", ""))

    def __str__(self) -> str:
        told = ("id", "status", "next_run", "execution_id", "outcome_state", "will_retry", "reason", "executions")
        return f"{self.status} {self.code or {name: self.body[name] for name in told if name in self.body}}"


@define(eq=False)
class Daemon:
    """One life after the other on one port; *living* is the id of the present one's process."""

    home: Path
    environment: dict[str, str]
    client: httpx.AsyncClient
    living: Forked | None = None

    async def ask(self, key: str, question: Question) -> Answer:
        """Ask as the user of *key*. Whatever is asked, it is no error of the server's."""
        with trio.fail_after(PATIENCE):
            api = Api(self.client, key)
            response = await api.ask(question.method, question.path, question.body, **question.headers)
        assert response.status_code < 500, f"{question}: {response.status_code} {response.text}"
        content = response.json() if response.content else {}
        return Answer(response.status_code, content, response.headers.get("Idempotent-Replayed") == "true")

    async def ask_in_vain(self, key: str, question: Question) -> None:
        """Ask, though there may be no answer."""
        # In a thread: a request that breaks off leaves an asynchronous generator behind, of which Trio warns.
        headers = {name.replace("_", "-"): value for name, value in question.headers.items()}
        headers |= {"Authorization": f"Bearer {key}"}
        url = self.client.base_url.join(question.path)
        ask = partial(httpx.request, question.method, url, json=question.body, headers=headers, trust_env=False)
        with suppress(httpx.TransportError):
            await trio.to_thread.run_sync(ask)

    async def start(self) -> None:
        """A new life; returns when it is up."""
        with trio.fail_after(UP_PATIENCE):
            self.living = await cradle().fork(Order(self.home, self.environment, self._logged, self._logged))
            while not await self._is_up():
                await trio.sleep(LOOK)

    async def _is_up(self) -> bool:
        try:
            return (await self.client.get("/status")).status_code == 200
        except httpx.TransportError:
            return False

    async def end(self, sign: signal.Signals) -> int:
        """Send *sign*; the exit code, once it has ended."""
        assert self.living is not None
        self.living.send_signal(sign)
        with trio.fail_after(END_PATIENCE):
            code = await self.living.wait()
        self.living = None
        return code

    def log(self, *events: str) -> list[dict[str, Any]]:
        """What all its lives have logged of *events*."""
        entries = [json.loads(line) for line in self._logged.read_text().splitlines() if line.startswith("{")]
        return [entry for entry in entries if entry["event"] in events]

    @property
    def _logged(self) -> Path:
        return self.home / f"logged-{self.environment['PORT']}"


@asynccontextmanager
async def open_daemons(home: Path, number: int, **settings: object) -> AsyncIterator[list[Daemon]]:
    """So many daemons with *settings*, all up; none is left at the end of the block."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(_life_after_life(home, settings)) for _ in range(number)]


@asynccontextmanager
async def _life_after_life(home: Path, settings: dict[str, object]) -> AsyncIterator[Daemon]:
    port = free_port()
    # No connection is kept: a server that ends waits a while for its clients to hang up.
    limits = httpx.Limits(max_keepalive_connections=0)
    address = f"http://127.0.0.1:{port}"
    options = {"timeout": PATIENCE, "trust_env": False, "limits": limits, "verify": NO_TLS}
    async with httpx.AsyncClient(base_url=address, **options) as client:
        daemon = Daemon(home, environment(home, PORT=port, **settings), client)
        try:
            await daemon.start()
            yield daemon
        finally:
            with trio.CancelScope(shield=True):
                if daemon.living is not None:
                    await daemon.end(signal.SIGKILL)
