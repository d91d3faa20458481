"""
What the kernel raises, and how an error is described in one line.

* SupervisorError
  x SiblingReturned      a sibling ended before anyone asked it to
  x RestartsExhausted    a sibling failed too often; the tree has drained and ended
"""

from collections.abc import Iterator


class SupervisorError(Exception):
    """Something the kernel itself has to say."""


class SiblingReturned(SupervisorError):
    """A sibling returned before the tree was stopped: silence must not look like health."""

    def __init__(self, name: str) -> None:
        super().__init__(f"sibling {name!r} returned before it was asked to stop")
        self.name = name


class RestartsExhausted(SupervisorError):
    """The sibling *name* failed *failures* times within *window* seconds, the last time with *last_error*."""

    def __init__(self, name: str, failures: int, window: float, last_error: Exception) -> None:
        super().__init__(
            f"sibling {name!r} failed {failures} times within {window:g} s, at last with {describe(last_error)}"
        )
        self.name = name
        self.failures = failures
        self.last_error = last_error
        self.__cause__ = last_error


def describe(error: BaseException) -> str:
    """*error* in one line; of a group the first that went wrong, and how many more there were."""
    first, *others = _leaves(error)
    text = next(iter(str(first).splitlines()), "")
    more = f" (and {len(others)} more)" if others else ""
    return f"{type(first).__name__}: {text}{more}" if text else f"{type(first).__name__}{more}"


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
