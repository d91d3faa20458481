"""
Our own shortage: no descriptor, memory or thread is left to this process or machine.

It is never the other side's fault. What meets it is put off and done later; it counts as no failed attempt and as no
crash.
"""

import errno
import os
from collections.abc import Callable
from math import inf
from socket import gaierror

import structlog
import trio
from attrs import define, field

SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
NO_THREAD = "can't start new thread"
"""The message of a RuntimeError of Python's: the system gives us no further thread."""

SAID_EVERY = 60.0
"""Seconds between two lines of the log about a shortage."""

log = structlog.get_logger("cueapi.net")


class OwnShortage(Exception):
    """Something could not be done for want of our own resources; the message says of which."""


def shortage_in(error: BaseException | None) -> str | None:
    """What we are short of, where *error* or what it was raised from says so; of a group, each of its errors."""
    while error is not None:
        if isinstance(error, BaseExceptionGroup):
            reasons = [shortage_in(each) for each in error.exceptions]
            if all(reasons):
                return reasons[0]
        elif (reason := _stated(error)) is not None:
            return reason
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


def is_own_shortage(error: BaseException | None) -> bool:
    """True where *error* tells of our own shortage, and of nothing that another side has done."""
    return shortage_in(error) is not None


def shortage_now() -> str | None:
    """What keeps this process from opening two files at this moment: a failed look-up of a name does not say."""
    try:
        for descriptor in os.pipe():
            os.close(descriptor)
    except OSError as error:
        return shortage_in(error)
    return None


def _stated(error: BaseException) -> str | None:
    match error:
        case OwnShortage():
            return str(error)
        case MemoryError():
            return os.strerror(errno.ENOMEM).lower()
        case RuntimeError() if NO_THREAD in str(error):
            return "no thread can be started"
        # The numbers of a failed look-up are others.
        case OSError() if error.errno in SHORTAGES and not isinstance(error, gaierror):
            return os.strerror(error.errno).lower()
        case _:
            return None


def _do_nothing() -> None:
    """Default callback: do nothing."""


@define(eq=False)
class Shortages:
    """
    What follows from each shortage: *relieve* gives up what can be spared, and the log tells.

    It tells at once, then at most once a minute, with how many there have been since.
    """

    relieve: Callable[[], None] = _do_nothing
    clock: Callable[[], float] = trio.current_time
    _said_at: float = field(init=False, default=-inf)
    _met: int = field(init=False, default=0)

    def note(self, reason: str) -> None:
        """Something was put off for this *reason*."""
        self.relieve()
        self._met += 1
        now = self.clock()
        if now - self._said_at >= SAID_EVERY:
            log.warning("daemon_ran_short", reason=reason, times=self._met)
            self._said_at, self._met = now, 0
