"""What each peer's job does, and how its program ends."""

import hmac
import sys
import time
from datetime import UTC, datetime

import aiohttp
from attrs import define, field, frozen

AT_ONCE = 64
PAD = "x" * 200


@frozen
class Task:
    """What a program is to do, by its arguments."""

    dsn: str
    url: str
    count: int
    due: float

    @property
    def moment(self) -> datetime:
        return datetime.fromtimestamp(self.due, UTC)


def task() -> Task:
    """The task of this program."""
    dsn, url, count, due = sys.argv[1:]
    return Task(dsn, url, int(count), float(due))


def session() -> aiohttp.ClientSession:
    """The client that posts, with as many connections as there are jobs at once."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE))


@define
class Posts:
    """Signed POSTs, counted."""

    url: str
    client: aiohttp.ClientSession
    done: int = field(default=0)

    async def post(self, body: bytes) -> None:
        """Make one; raises where it is not answered with 2xx."""
        stamp = str(int(time.time()))
        signature = hmac.new(b"secret", f"{stamp}.".encode() + body, "sha256").hexdigest()
        headers = {"content-type": "application/json", "x-signature": signature}
        async with self.client.post(self.url, data=body, headers=headers) as answer:
            await answer.read()
            answer.raise_for_status()
        self.done += 1
