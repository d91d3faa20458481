"""What operations have made: one replay of an execution each, and which executions of a backfill came to nothing."""

from collections.abc import Sequence
from uuid import UUID

from cueapi.storage.database import Executor

ADD_EXECUTIONS = """
insert into operation_executions (operation_id, execution_id, replayed_from, failed)
select $1, made.* from unnest($2::uuid[], $3::uuid[], $4::bool[]) made
"""


async def add(
    db: Executor, operation: UUID, *, made: Sequence[UUID], origins: Sequence[UUID | None], failed: Sequence[bool]
) -> None:
    """
    Note what *operation* has made, and of what. Raises Duplicate where it has replayed one of them before.

    *failed* are those of a backfill that have ended at once.
    """
    if made:
        await db.execute(ADD_EXECUTIONS, operation, list(made), list(origins), list(failed))


COUNT_FAILED = "update operation_executions set failed = true where execution_id = any ($1::uuid[])"


async def count_failed(db: Executor, executions: Sequence[UUID]) -> None:
    """Have the operations of these executions count them as failed."""
    await db.execute(COUNT_FAILED, list(executions))
