"""For the length of a block this process has no descriptor, or no thread, left."""

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import trio

MOST_THREADS = 1_000
TOO_LARGE = 1 << 46
"""Bytes of a stack that no machine has."""


@contextmanager
def no_file_left() -> Iterator[None]:
    """No file and no socket can be opened: the limit is the lowest number that is free. What is open stays open."""
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def no_thread_left() -> Iterator[None]:
    """No thread can be started, and those that Trio keeps are busy."""
    done = threading.Event()
    usual = threading.stack_size(TOO_LARGE)
    try:
        with suppress(RuntimeError):
            for _ in range(MOST_THREADS):
                trio.lowlevel.start_thread_soon(done.wait, lambda _: None)
        yield
    finally:
        done.set()
        threading.stack_size(usual)
