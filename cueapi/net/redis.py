"""The redis adapter: a blocking client in worker threads, and sliding windows that one script counts."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import redis
import trio
from attrs import field, frozen
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.retry import Retry

T = TypeVar("T")

PATIENCE = 1.0
"""Seconds for a round trip, with the way there: who asks waits for it in the middle of a request."""

CHECK_PATIENCE = 2.0
"""The same for a command, behind which nobody waits."""

THREADS = 16
"""Round trips at once."""

# One round trip, atomic, by the clock of Redis. KEYS[1] the window: a list of moments in microseconds, the oldest
# first. ARGV: its length in microseconds, the limit, 1 where nothing is refused. Answers how many it holds, whether
# this one was one too many, and after how many microseconds a place gets free.
#
# It never holds more than the limit: whoever may go beyond drops the oldest, for it is the newest that decide. A moment
# in the future is of a clock that was set back. A window that nobody touches is gone when its last moment is.
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
    """Redis cannot be reached, or does not answer in time."""


class RedisMisnamed(RedisUnavailable):
    """No Redis can have such a URL."""


@frozen
class Counted:
    """What a window says: how many it holds, whether this one was one too many, seconds until a place gets free."""

    used: int
    refused: bool
    reset: float


@frozen(eq=False)
class Redis:
    """One Redis, as far as we need it. Every key begins with *prefix*: others may live there, too."""

    client: redis.Redis
    prefix: str
    patience: float
    _count: Script = field(init=False)
    _threads: trio.CapacityLimiter = field(init=False, factory=lambda: trio.CapacityLimiter(THREADS))

    @_count.default
    def _register(self) -> Script:
        return self.client.register_script(COUNT)

    async def count(self, key: str, limit: int, window: float, *, never_refuse: bool = False) -> Counted:
        """Count a request of *key* unless it is one too many in *window* seconds. Raises RedisUnavailable."""
        arguments = [round(window * 1_000_000), limit, int(never_refuse)]
        used, refused, reset = await self._ask(lambda: self._count([self.prefix + key], arguments))
        return Counted(used, refused == 1, reset / 1_000_000)

    async def ping(self) -> None:
        """Raises RedisUnavailable where Redis does not answer."""
        await self._ask(self.client.ping)

    async def _ask(self, question: Callable[[], T]) -> T:
        try:
            # The sockets' timeouts know nothing of the look-up of a name, nor of waiting for a thread.
            with trio.fail_after(self.patience):
                return await trio.to_thread.run_sync(question, abandon_on_cancel=True, limiter=self._threads)
        except trio.TooSlowError as error:
            raise RedisUnavailable(f"no answer within {self.patience:g} s") from error
        except (redis.RedisError, OSError) as error:
            raise RedisUnavailable(str(error) or type(error).__name__) from error


@contextmanager
def open_redis(url: str, *, prefix: str = "", patience: float = PATIENCE) -> Iterator[Redis]:
    """The Redis at *url* for the length of the block, connected to when it is first asked. Raises RedisMisnamed."""
    try:
        client = redis.Redis.from_url(
            url,
            protocol=2,
            socket_timeout=patience,
            socket_connect_timeout=patience,
            # Whoever asks next tries again: a second try would take as long again.
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError:
        # Without its words: they hold pieces of the URL, and it holds a password.
        raise RedisMisnamed("REDIS_URL cannot be read; it must look like redis://:password@host:6379/0") from None
    with client:
        yield Redis(client, f"cueapi:{prefix}:", patience)


async def ping(url: str) -> None:
    """Raises RedisUnavailable where no Redis answers at *url*."""
    with open_redis(url, patience=CHECK_PATIENCE) as asked:
        await asked.ping()
