"""Writing steps down where some row, or some result, may be one that the statement falls over."""

from collections.abc import Sequence
from uuid import UUID

import structlog

from cueapi.domain.execution import Fence, Transition, attempt_failed
from cueapi.domain.retry import NO_RETRY
from cueapi.storage.database import Database, Unstorable
from cueapi.storage.outbox import quarantine
from cueapi.storage.transitions import TransitionResult, apply_transitions

NOT_STORED = "The result could not be stored."

log = structlog.get_logger("cueapi.delivery.settling")


async def settle(database: Database, steps: Sequence[Transition]) -> dict[UUID, TransitionResult]:
    """Write *steps* down as `decide` does; one that makes the statement fall ends its execution, and no other's."""
    try:
        return await apply_transitions(database, steps)
    except Unstorable as error:
        if len(steps) > 1:
            return {key: row for step in steps for key, row in (await settle(database, [step])).items()}
        return await fail_unstorable(database, steps[0].fence, error)


async def fail_unstorable(database: Database, fence: Fence, error: Unstorable) -> dict[UUID, TransitionResult]:
    """End an execution whose result, or whose row, cannot be worked with."""
    log.warning("result_unstorable", execution_id=str(fence.execution_id), reason=str(error))
    try:
        return await apply_transitions(database, [attempt_failed(fence, NO_RETRY, error=NOT_STORED)])
    except Unstorable:
        await quarantine(database, fence.execution_id, NOT_STORED)
        return {}
