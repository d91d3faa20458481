"""May a failed sibling run again, and when? Arithmetic; it waits for nothing and reads no clock."""

from typing import TypeAlias

from attrs import define, field, frozen


@frozen
class Policy:
    """A sibling runs again after each of *limit* failures within *window* seconds; one more ends the tree."""

    limit: int = 5
    window: float = 60.0
    first_pause: float = 1.0
    longest_pause: float = 30.0

    def pause(self, failures: int) -> float:
        """Seconds before the next run after *failures* within the window: doubling, up to the longest."""
        pause = self.first_pause
        for _ in range(failures - 1):
            pause = min(pause * 2, self.longest_pause)
        return min(pause, self.longest_pause)


@frozen
class RestartAfter:
    """Run it again after *pause* seconds."""

    pause: float


@frozen
class GiveUp:
    """It failed *failures* times within the window: more than its policy allows."""

    failures: int


Fate: TypeAlias = RestartAfter | GiveUp


@define
class FailureLog:
    """The recent failures of one sibling."""

    policy: Policy
    _moments: list[float] = field(init=False, factory=list)

    def record(self, now: float) -> Fate:
        """Note a failure at *now* and say what follows from it."""
        horizon = now - self.policy.window
        self._moments = [moment for moment in self._moments if moment > horizon]
        self._moments.append(now)
        failures = len(self._moments)
        if failures > self.policy.limit:
            return GiveUp(failures)
        return RestartAfter(self.policy.pause(failures))


@frozen
class Wait:
    """Run again after *pause* seconds; *begun* when this is the first wait of an episode."""

    pause: float
    begun: bool


@define
class Patience:
    """The pauses of a sibling while something it depends on is away: doubling, however often."""

    first_pause: float = 1.0
    longest_pause: float = 15.0
    _pause: float = field(init=False, default=0.0)

    def record(self, lived: float) -> Wait:
        """Note a run of *lived* seconds that ended for want of a dependency; after a long one a new episode begins."""
        begun = self._pause == 0.0 or lived > self.longest_pause
        self._pause = self.first_pause if begun else min(self._pause * 2, self.longest_pause)
        return Wait(self._pause, begun)
