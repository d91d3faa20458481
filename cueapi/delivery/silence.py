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


@define
class WorkerGrace:
    """Workers have so many *seconds* to show themselves, from a start on and again from each jump of the clock."""

    seconds: float
    jumps: int
    jumped: bool = False
    _since: float = field(init=False, factory=trio.current_time)

    def note(self, jumps: int) -> None:
        """So often has PostgreSQL's clock jumped by now."""
        if jumps != self.jumps:
            self.jumps, self.jumped, self._since = jumps, True, trio.current_time()

    def is_over(self) -> bool:
        """Whether they have had their time."""
        return trio.current_time() - self._since >= self.seconds
