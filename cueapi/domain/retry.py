"""How often an attempt is repeated, and after which pause."""

from collections.abc import Iterable

from attrs import field, frozen

DEFAULT_BACKOFF = (1, 5, 15)


def _minutes(given: Iterable[int | None]) -> tuple[int, ...]:
    """What a hand has left of them."""
    return tuple(one for one in given if isinstance(one, int))


@frozen
class Retry:
    """*max_attempts* is the number of attempts in all; pauses are minutes, the last one repeats."""

    max_attempts: int = len(DEFAULT_BACKOFF) + 1
    backoff_minutes: tuple[int, ...] = field(default=DEFAULT_BACKOFF, converter=_minutes)

    def pause_after(self, attempt: int) -> float | None:
        """Seconds from the failed attempt to the next one; None when no attempt is left."""
        if attempt >= self.max_attempts or not self.backoff_minutes:
            return None
        position = min(max(attempt, 1), len(self.backoff_minutes)) - 1
        return self.backoff_minutes[position] * 60.0


DEFAULT_RETRY = Retry()

NO_RETRY = Retry(0)
"""No attempt follows, whichever it was."""
