"""Streams of server-sent events, as a client reads them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import trio
from attrs import define, field

from tests.conftest import Api


@define(eq=False)
class Followed:
    """A stream that is read in the background: its status, what came, and whether it has ended."""

    response: httpx.Response
    heard: list[str] = field(factory=list)
    over: trio.Event = field(factory=trio.Event)

    @property
    def topics(self) -> list[str]:
        """The topics of all hints."""
        lines = [line for part in self.heard for line in part.splitlines() if line.startswith("data: ")]
        return [topic for line in lines for topic in httpx.Response(200, text=line[len("data: ") :]).json()["topics"]]

    async def read(self) -> None:
        """Until it ends."""
        async for part in self.response.aiter_text():
            self.heard.append(part)
        self.over.set()

    async def until_told(self, topic: str) -> None:
        """Return when *topic* was hinted at; the caller sets the deadline."""
        while topic not in self.topics:
            await trio.sleep(0.01)


async def ten_requests(api: Api) -> float:
    """Seconds that ten requests take: what the machine may add to a time that is stated."""
    begun = trio.current_time()
    for _ in range(10):
        await api.get("/v1/auth/me")
    return trio.current_time() - begun


@asynccontextmanager
async def follow(client: httpx.AsyncClient, path: str, **headers: str) -> AsyncIterator[Followed]:
    """A stream, open for the length of the block."""
    async with client.stream("GET", path, headers=headers) as response, trio.open_nursery() as nursery:
        followed = Followed(response)
        nursery.start_soon(followed.read)
        yield followed
        nursery.cancel_scope.cancel()
