"""Redis: a blocking client in worker threads, and sliding windows that are counted by one script."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import redis
import trio
from attrs import field, frozen
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.retry import Retry

from cueapi.net.shortage import is_own_shortage

T = TypeVar("T")

PATIENCE = 1.0
"""Seconds for a round trip and its connection: a request waits for it."""

CHECK_PATIENCE = 2.0
"""The same for a command of the operator, where no request waits."""

THREADS = 16
"""Concurrent round trips."""

# One atomic round trip, by the clock of Redis. KEYS[1] is the window: a list of moments in microseconds, oldest first.
# ARGV: its length in microseconds, the limit, and 1 for a request that is never refused. Returns how many it holds,
# whether this request was refused, and after how many microseconds a slot becomes free.
#
# It never holds more than the limit: requests that are never refused still count, and replace the oldest hit. A moment
# in the future stems from a clock that was set back. A window expires with its last hit.
COUNT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local key, window, limit = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local oldest = tonumber(redis.call('LINDEX', key, 0))
while oldest and (oldest <= now - window or oldest > now) do
    redis.call('LPOP', key)
    oldest = tonumber(redis.call('LINDEX', key, 0))
end
local used = redis.call('LLEN', key)
local refused = used >= limit and ARGV[3] ~= '1'
if not refused then
    redis.call('RPUSH', key, string.format('%.0f', now))
    used = used + 1
    while used > limit do
        redis.call('LPOP', key)
        used = used - 1
    end
    redis.call('PEXPIRE', key, math.ceil(window / 1000))
    oldest = tonumber(redis.call('LINDEX', key, 0))
end
return {used, refused and 1 or 0, (oldest or now) + window - now}
"""


class RedisUnavailable(Exception):
    """Redis cannot be reached, or did not answer in time."""


class RedisMisnamed(RedisUnavailable):
    """The URL cannot be read."""


@frozen
class Counted:
    """The state of a window: hits that it holds, whether this request is refused, seconds until a slot becomes free."""

    used: int
    refused: bool
    reset: float


@frozen(eq=False)
class Redis:
    """A Redis server. Every key begins with *prefix*: other programs may use it, too."""

    client: redis.Redis
    prefix: str
    patience: float
    _count: Script = field(init=False)
    _threads: trio.CapacityLimiter = field(init=False, factory=lambda: trio.CapacityLimiter(THREADS))

    @_count.default
    def _register(self) -> Script:
        return self.client.register_script(COUNT)

    async def count(self, key: str, limit: int, window: float, *, never_refuse: bool = False) -> Counted:
        """Count a request of *key*, unless *limit* in *window* seconds are reached. Raises RedisUnavailable."""
        arguments = [round(window * 1_000_000), limit, int(never_refuse)]
        used, refused, reset = await self._run(lambda: self._count([self.prefix + key], arguments))
        return Counted(used, refused == 1, reset / 1_000_000)

    async def release(self, key: str) -> None:
        """Take back the newest request of *key*. Raises RedisUnavailable."""
        await self._run(lambda: self.client.rpop(self.prefix + key))

    async def ping(self) -> None:
        """Raises RedisUnavailable if Redis does not answer."""
        await self._run(self.client.ping)

    async def _run(self, command: Callable[[], T]) -> T:
        try:
            # The client's own timeouts cover neither the name look-up nor the wait for a thread.
            with trio.fail_after(self.patience):
                return await trio.to_thread.run_sync(command, abandon_on_cancel=True, limiter=self._threads)
        except trio.TooSlowError as error:
            raise RedisUnavailable(f"no answer within {self.patience:g} s") from error
        except (redis.RedisError, OSError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not is_own_shortage(error):
                raise
            raise RedisUnavailable(str(error) or type(error).__name__) from error


@contextmanager
def open_redis(url: str, *, prefix: str = "", patience: float | None = None) -> Iterator[Redis]:
    """
    The Redis at *url* for the length of the block; connects on first use. Raises RedisMisnamed.

    *patience* is PATIENCE where it is not given.
    """
    patience = PATIENCE if patience is None else patience
    try:
        client = redis.Redis.from_url(
            url,
            protocol=2,
            socket_timeout=patience,
            socket_connect_timeout=patience,
            # Without retries: a second attempt would take as long again, and the next request makes one anyway.
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError:
        # Without the original message: it quotes parts of the URL, which holds a password.
        raise RedisMisnamed("REDIS_URL cannot be read; it must look like redis://:password@host:6379/0") from None
    with client:
        yield Redis(client, f"cueapi:{prefix}:", patience)


async def ping(url: str) -> None:
    """Raises RedisUnavailable if no Redis answers at *url*."""
    with open_redis(url, patience=CHECK_PATIENCE) as server:
        await server.ping()
