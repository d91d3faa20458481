"""Ports for servers of the tests: no two processes that run tests at the same time are given the same one."""

import random
import socket
from collections.abc import Iterator
from functools import cache
from itertools import cycle, islice

FIRST, LAST, PORTION = 20_000, 32_000, 100
"""Outgoing connections are not given these: nothing takes one between two lives of a server."""


@cache
def _own() -> tuple[socket.socket, Iterator[int]]:
    """The ports of this process; it holds the first one open for as long as it lives."""
    while True:
        first = random.SystemRandom().randrange(FIRST, LAST, PORTION)
        guard = socket.socket()
        try:
            guard.bind(("127.0.0.1", first))
        except OSError:
            guard.close()
            continue
        return guard, cycle(range(first + 1, first + PORTION))


def free_port() -> int:
    """A port of our own that nothing listens at: of 99 the one that was given longest ago."""
    _, ports = _own()
    for port in islice(ports, PORTION):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"none of {PORTION} ports is free")
