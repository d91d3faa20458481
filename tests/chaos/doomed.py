"""A daemon in this process whose siblings fall when they are told to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import trio
from attrs import define, evolve, field

from cueapi.daemon.resources import Resources
from cueapi.daemon.run import build_tree, release_claims
from supervisor import Sibling
from supervisor.health import HealthBoard, State
from tests.conftest import Api
from tests.process import HANG


class Bug(Exception):
    """One of ours."""


@define(eq=False)
class Doomed:
    """A sibling that falls when it is told to, wherever it is just then."""

    sibling: Sibling
    _told: trio.Event = field(factory=trio.Event)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Be the sibling, until the bug shows."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fall)
            await self.sibling.run(task_status=task_status)
            nursery.cancel_scope.cancel()

    def show(self) -> None:
        """Let the bug show."""
        self._told.set()
        self._told = trio.Event()

    async def _fall(self) -> None:
        await self._told.wait()
        raise Bug(self.sibling.name)


@define(eq=False)
class Patient:
    """The daemon."""

    port: int
    board: HealthBoard
    doomed: dict[str, Doomed]

    async def register(self) -> Api:
        """A new user; the client sends nothing more."""
        address = f"http://127.0.0.1:{self.port}"
        async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=HANG) as client:
            return await Api(client).register()

    async def falls(self, name: str) -> None:
        """Have one fall; returns as soon as it has."""
        before = self.restarts()[name]
        self.doomed[name].show()
        while self.restarts()[name] == before:
            await trio.sleep(0.001)

    async def is_back(self, name: str) -> None:
        """Return when it runs again."""
        while self.board.state(name) is not State.RUNNING:
            await trio.sleep(0.01)

    def restarts(self) -> dict[str, int]:
        """How often each has fallen."""
        return {name: entry.restarts for name, entry in self.board.snapshot().items()}


@asynccontextmanager
async def open_patient(resources: Resources) -> AsyncIterator[Patient]:
    """A daemon on *ground*, drained at the end of the block."""
    tree = build_tree(resources)
    doomed = {sibling.name: Doomed(sibling) for sibling in tree.siblings}
    tree.siblings = [evolve(one.sibling, run=one.run) for one in doomed.values()]
    async with trio.open_nursery() as nursery:
        await nursery.start(tree.run)
        yield Patient(resources.listener.getsockname()[1], tree.board, doomed)
        tree.stop("test over")
    await release_claims(resources)
