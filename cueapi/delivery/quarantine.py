"""
What makes a statement fail is set aside alone, and its user is told. The schema refuses most of it; what passes its
checks is, say, a zone that has left tzdata, or a counter at its end.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from uuid import UUID

import structlog
from attrs import frozen

from cueapi.domain.execution import AlertType, Transition, attempt_failed
from cueapi.domain.retry import NO_RETRY
from cueapi.storage.database import Database, Unstorable
from cueapi.storage.quarantine import QuarantineResult, quarantine_cue, quarantine_execution
from cueapi.storage.transitions import Written, apply_transitions

NOT_STORED = "The result could not be stored."

log = structlog.get_logger("cueapi.delivery.quarantine")

T = TypeVar("T")
R = TypeVar("R")


async def run_isolating(
    batch: Sequence[T], run: Callable[[Sequence[T]], Awaitable[R]], quarantine: Callable[[T, Unstorable], Awaitable[R]]
) -> list[R]:
    """
    Run the batch; where it cannot be stored run it one by one, and quarantine the one. What each run returned.

    A batch of one is run again, too: what failed because of a race is stored then.
    """
    try:
        return [await run(batch)]
    except Unstorable:
        return [await _run_alone(one, run, quarantine) for one in batch]


async def _run_alone(
    one: T, run: Callable[[Sequence[T]], Awaitable[R]], quarantine: Callable[[T, Unstorable], Awaitable[R]]
) -> R:
    try:
        return await run([one])
    except Unstorable as error:
        return await quarantine(one, error)


def _tell_no_one(_: Sequence[str] = ()) -> None:
    """Default callback: do nothing."""


@frozen
class Quarantine:
    """Ends single cues and executions; *on_alert* is told the types of the alerts that this has raised."""

    database: Database
    on_alert: Callable[[Sequence[str]], None] = _tell_no_one

    async def apply_transitions(self, transitions: Sequence[Transition]) -> Written:
        """Apply *transitions*; one that cannot be stored ends its execution, and no other."""
        results = await run_isolating(transitions, self._apply, self.fail_unstorable)
        written = Written((execution, result) for part in results for execution, result in part.items())
        written.alerts = tuple(alert for part in results for alert in part.alerts)
        return written

    async def _apply(self, transitions: Sequence[Transition]) -> Written:
        return await apply_transitions(self.database, transitions)

    async def fail_unstorable(self, transition: Transition, error: Unstorable) -> Written:
        """End an execution whose result, or whose row, cannot be worked with."""
        log.warning("result_unstorable", execution_id=str(transition.fence.execution_id), reason=str(error))
        try:
            return await self._apply([attempt_failed(transition.fence, NO_RETRY, error=NOT_STORED)])
        except Unstorable:
            await self.execution(transition.fence.execution_id, NOT_STORED)
            return Written()

    async def execution(self, execution: UUID, reason: str) -> None:
        """End an execution, without touching its cue's counters."""
        result = await quarantine_execution(self.database, execution, reason=reason)
        named = {"cue_id": result.cue_id, "cue": result.cue_name, "execution_id": str(execution)}
        log.warning("execution_quarantined", **named, reason=reason)
        if result.has_paused:
            log.warning("cue_paused", **named, reason=reason)
        self._tell(result)

    async def cue(self, cue_id: str, revision: int, reason: str) -> None:
        """End a cue that cannot be fired."""
        result = await quarantine_cue(self.database, cue_id=cue_id, revision=revision, reason=reason)
        log.warning("cue_quarantined", cue_id=cue_id, cue=result.cue_name, reason=reason)
        self._tell(result)

    def _tell(self, result: QuarantineResult) -> None:
        if result.alerts or result.notices:
            self.on_alert([AlertType.EXECUTION_FAILED] * result.alerts)
