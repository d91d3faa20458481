"""What a claim has shown of an execution, kept for its report: it need not be read again."""

from collections import OrderedDict
from collections.abc import Iterable
from uuid import UUID

from attrs import define, field

from cueapi.domain.reporting import ExecutionState
from cueapi.storage.worker_claims import ClaimedWork, to_claimed_state

MOST = 10_000
"""The most states that are kept, some 10 MB; of the oldest the report reads again."""


@define(eq=False)
class ClaimedStates:
    """
    The executions that workers have claimed here and not reported on, by execution and user.

    A hint: what is decided upon it is written only while execution and cue are as the claim has left them.
    """

    most: int = MOST
    _states: OrderedDict[tuple[UUID, int], ExecutionState] = field(init=False, factory=OrderedDict)

    def keep(self, user: int, worker: str, rows: Iterable[ClaimedWork]) -> None:
        """Keep what *worker* has claimed; assertions may ask how long the attempt has taken, and need a look then."""
        for row in rows:
            if row.assertions is not None:
                continue
            self._states[row.id, user] = to_claimed_state(row, worker)
        while len(self._states) > self.most:
            self._states.popitem(last=False)

    def take(self, execution: UUID, user: int) -> ExecutionState | None:
        """What is kept of that execution, once; None where nothing is."""
        return self._states.pop((execution, user), None)
