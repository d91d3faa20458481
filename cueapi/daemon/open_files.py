"""Open files: the limit of this process, and how many of them clients may take. Each connection is one."""

import resource
from contextlib import suppress

from cueapi.daemon.resources import ENGINE_CONNECTIONS
from cueapi.delivery.notifier import PLACES
from cueapi.net import redis, smtp
from cueapi.net.http_client import IDLE_LIMIT
from cueapi.settings import Settings

FILES_KEPT = 64
"""Descriptors for all else: standard streams, locks, zones, the log, clients that are told why they are refused."""

MOST = 10_000
"""Clients, where open files would allow more: each also takes memory."""


def raise_file_limit() -> None:
    """Allow as many open files as the system allows. The usual soft limit is 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Where the hard limit cannot be had (macOS names one that it refuses), the soft one stays.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def open_files() -> int | None:
    """How many files this process may have open; None: any number."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def delivery_limit(settings: Settings, files: int | None) -> int:
    """How many deliveries there may be at once: DISPATCH_CONCURRENCY, but of *files* no more than a third."""
    return settings.dispatch_concurrency if files is None else max(min(settings.dispatch_concurrency, files // 3), 1)


def connection_limit(settings: Settings, files: int | None) -> int:
    """
    How many clients may be connected: MAX_CONNECTIONS, within what *files* leave beside our own.

    Where our own would take more than three quarters, clients get a quarter all the same: idle connections to handlers
    can be spared, and what else is short of a descriptor waits.
    """
    wanted = settings.max_connections or MOST
    if files is None:
        return wanted
    return max(min(wanted, max(files - reserve(settings, files), files // 4)), 1)


def reserve(settings: Settings, files: int | None) -> int:
    """Of *files*, those for ourselves: to PostgreSQL, to handlers, busy and idle, to mail servers and Redis."""
    database = settings.database_pool_size + ENGINE_CONNECTIONS + 2  # one listens, one may cancel a statement
    outgoing = delivery_limit(settings, files) + IDLE_LIMIT + PLACES + smtp.THREADS + redis.THREADS
    return FILES_KEPT + database + outgoing


def limit_per_address(settings: Settings, limit: int) -> int:
    """How many of *limit* connections may come from one address: MAX_CONNECTIONS_PER_ADDRESS, else half."""
    return settings.max_connections_per_address or max(limit // 2, 1)
