"""The redis adapter: a blocking client in a worker thread."""

import redis
import trio

PATIENCE = 2.0
"""Seconds for a round trip."""


class RedisUnavailable(Exception):
    """Redis cannot be reached."""


async def ping(url: str) -> None:
    """Raises RedisUnavailable where no Redis answers at *url*."""

    def ask() -> None:
        with redis.Redis.from_url(url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE) as client:
            client.ping()

    try:
        await trio.to_thread.run_sync(ask, abandon_on_cancel=True)
    except (redis.RedisError, OSError, ValueError) as error:
        raise RedisUnavailable(str(error) or type(error).__name__) from error
