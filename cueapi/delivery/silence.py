"""What the rescue knows of time without asking a clock that may jump: who is silent, and how long to wait for signs."""

from collections.abc import Mapping

import trio
from attrs import define, field


@define
class Silence:
    """For how long each daemon has shown no new beat, by our own steady clock."""

    _seen: dict[int, tuple[int, float]] = field(init=False, factory=dict)

    def after(self, beats: Mapping[int, int], grace: float) -> set[int]:
        """Note how many *beats* each daemon has shown; those that have shown no new one for *grace* seconds."""
        now, known = trio.current_time(), self._seen
        self._seen = {
            number: known[number] if number in known and known[number][0] == count else (count, now)
            for number, count in beats.items()
        }
        return {number for number, (_, since) in self._seen.items() if now - since >= grace}


LONGEST_ROUND = 60.0
"""Seconds between two looks: after more, workers may have been unable to reach us meanwhile, or we PostgreSQL."""


@define
class WorkerGrace:
    """
    Workers have so many *seconds* to show themselves, from a start on.

    They have them again from each jump of the clock, and when we have stood still: what they sent to us was not read.
    """

    seconds: float
    jumps: int
    renewed: bool = False
    _since: float = field(init=False, factory=trio.current_time)
    _noted_at: float = field(init=False, factory=trio.current_time)

    def note(self, jumps: int) -> None:
        """So often has PostgreSQL's clock jumped by now; to be called each round."""
        now = trio.current_time()
        if jumps != self.jumps or now - self._noted_at > LONGEST_ROUND:
            self.jumps, self.renewed, self._since = jumps, True, now
        self._noted_at = now

    def is_over(self) -> bool:
        """Whether they have had their time."""
        return trio.current_time() - self._since >= self.seconds
