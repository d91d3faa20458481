"""What counts as our own shortage, and how often the log tells of it."""

import errno
import os
from contextlib import suppress
from socket import EAI_AGAIN, gaierror

import httpx
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from cueapi.net.shortage import NO_THREAD, OwnShortage, Shortages, is_own_shortage, shortage_in, shortage_now
from tests.scarcity import no_file_left


def raised_from(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


def raised_while(error: BaseException, context: BaseException) -> BaseException:
    error.__context__ = context
    return error


FILES = OSError(errno.EMFILE, "x")
SHORT: dict[str, tuple[BaseException, str]] = {
    "EMFILE": (FILES, "too many open files"),
    "ENFILE": (OSError(errno.ENFILE, "x"), "too many open files in system"),
    "ENOBUFS": (OSError(errno.ENOBUFS, "x"), "no buffer space available"),
    "ENOMEM": (OSError(errno.ENOMEM, "x"), "cannot allocate memory"),
    "no memory": (MemoryError(), "cannot allocate memory"),
    "no thread": (RuntimeError(NO_THREAD), "no thread can be started"),
    "our own exception": (OwnShortage("too many open files"), "too many open files"),
    "raised from it": (raised_from(httpx.ConnectError("x"), FILES), "too many open files"),
    "raised while it was handled": (raised_while(ValueError("x"), FILES), "too many open files"),
    "each of a group": (ExceptionGroup("x", [FILES, MemoryError()]), "too many open files"),
    "raised from a group": (raised_from(OSError("all failed"), ExceptionGroup("x", [FILES])), "too many open files"),
}
NOT_SHORT: dict[str, BaseException] = {
    "a refused connection": ConnectionRefusedError(errno.ECONNREFUSED, "x"),
    "no address of ours": OSError(errno.EADDRNOTAVAIL, "x"),
    "an unknown name": gaierror(EAI_AGAIN, "x"),
    "a number of another kind": gaierror(errno.ENOMEM, "x"),
    "a bug": RuntimeError("x"),
    "one of a group": ExceptionGroup("x", [FILES, ValueError("x")]),
    "a timeout": trio.TooSlowError(),
}


@pytest.mark.parametrize(("error", "reason"), SHORT.values(), ids=SHORT)
def test_a_shortage_is_known_however_it_is_wrapped(error: BaseException, reason: str) -> None:
    assert (is_own_shortage(error), shortage_in(error)) == (True, reason)


@pytest.mark.parametrize("error", NOT_SHORT.values(), ids=NOT_SHORT)
def test_what_another_side_has_done_is_no_shortage(error: BaseException) -> None:
    assert (is_own_shortage(error), is_own_shortage(None)) == (False, False)


def test_an_error_that_hides_a_shortage_on_purpose_is_none() -> None:
    with suppress(OSError):
        raise FILES
    try:
        try:
            raise FILES
        except OSError:
            raise ValueError("x") from None
    except ValueError as hiding:
        error = hiding

    assert not is_own_shortage(error)


def test_a_probe_tells_whether_a_file_can_be_opened() -> None:
    before = shortage_now()
    with no_file_left():
        short = shortage_now()

    assert (before, short, shortage_now()) == (None, "too many open files", None)


async def test_each_shortage_gives_up_what_can_be_spared_and_the_log_tells_of_it_once_a_minute(
    autojump_clock: MockClock,
) -> None:
    given_up: list[float] = []
    shortages = Shortages(relieve=lambda: given_up.append(trio.current_time()))

    with capture_logs() as lines:
        for _ in range(130):
            shortages.note(os.strerror(errno.EMFILE))
            await trio.sleep(1)

    told = [(line["event"], line["log_level"], line["times"]) for line in lines]
    assert len(given_up) == 130
    assert told == [("daemon_ran_short", "warning", times) for times in (1, 60, 60)]
