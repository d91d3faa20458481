"""How often an attempt is repeated, and after which pause."""

from attrs import frozen

DEFAULT_BACKOFF = (1, 5, 15)


@frozen
class Retry:
    """*max_attempts* is the number of attempts in all; pauses are minutes, the last one repeats."""

    max_attempts: int = len(DEFAULT_BACKOFF) + 1
    backoff_minutes: tuple[int, ...] = DEFAULT_BACKOFF

    def pause_after(self, attempt: int) -> float | None:
        """Seconds from the failed attempt to the next one; None when no attempt is left."""
        if attempt >= self.max_attempts or not self.backoff_minutes:
            return None
        position = min(max(attempt, 1), len(self.backoff_minutes)) - 1
        return self.backoff_minutes[position] * 60.0


DEFAULT_RETRY = Retry()

NO_RETRY = Retry(0)
"""No attempt follows, whichever it was."""
