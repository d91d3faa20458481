"""The operations: many replayed, dismissed, paused, resumed, deleted or backfilled, a batch a transaction."""

from collections.abc import Awaitable, Mapping
from typing import Any, Protocol
from uuid import UUID

import structlog
import trio
from attrs import evolve, frozen

from cueapi.delivery.bulk import AccountHeld, Chosen, Worked
from cueapi.domain.bulk import (
    HELD_PAUSE,
    Kind,
    OperationStatus,
    Progress,
    SkipReason,
    Step,
    advanced,
    batch_size,
    rest_skipped,
)
from cueapi.metrics import Metrics
from cueapi.storage import operations
from cueapi.storage.database import Database, Duplicate, Executor, TransactionRolledBack, Unstorable
from cueapi.storage.operations import LockedOperation
from cueapi.wakeups.hub import WakeupHub
from supervisor import beat

BUSY_PAUSE = 0.1
"""Seconds after which what other daemons are at is looked at again."""

ENDING_INCIDENTS = {Kind.PAUSE, Kind.DELETE}
"""What ends the incidents of a cue, of which its user is told."""

log = structlog.get_logger("cueapi.delivery.operations")


class BulkWork(Protocol):
    """How one kind of operation works."""

    def choose(self, db: Executor, operation: LockedOperation, size: int, /) -> Awaitable[Chosen[Any]]:
        """What comes next."""
        ...

    def apply(self, db: Executor, operation: LockedOperation, chosen: Chosen[Any], /) -> Awaitable[Worked]:
        """Do it."""
        ...


@frozen
class Operations:
    """
    Moves on what may be moved on, the operation first that has waited longest. Ends when it is cancelled.

    Every daemon has this sibling, and any may do the next batch of an operation: the lock of its row decides.
    """

    database: Database
    hub: WakeupHub
    works: Mapping[Kind, BulkWork]
    metrics: Metrics

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Work at each wake-up, and when the next batch is due."""
        self.hub.operations.wake()
        task_status.started()
        while True:
            await self.hub.operations.wait()
            pause = await self._work_off()
            if pause is not None:
                self.hub.operations.wake_at(trio.current_time() + pause)
            beat()

    async def _work_off(self) -> float | None:
        """Do every batch that is due; in how many seconds to look again, None where nothing is to come."""
        while due := await operations.due(self.database):
            moved = False
            for operation in due:
                moved |= await self._turn(operation)
                beat()
            if not moved:
                return BUSY_PAUSE
        return await operations.ahead(self.database)

    async def _turn(self, operation: UUID) -> bool:
        """Do the next batch; where it cannot be stored one alone, and where that cannot, count it as failed."""
        try:
            return await self._batch(operation)
        except AccountHeld:
            await operations.put_off(self.database, operation, HELD_PAUSE)
            return False
        except TransactionRolledBack:
            return False
        except (Unstorable, Duplicate) as error:
            log.warning("operation_batch_failed", operation=str(operation), reason=str(error))
        try:
            return await self._batch(operation, most=1)
        except TransactionRolledBack:
            return False
        except (Unstorable, Duplicate):
            return await self._batch(operation, most=1, works=False)

    async def _batch(self, operation: UUID, *, most: int | None = None, works: bool = True) -> bool:
        """One transaction: the work of a batch and the cursor behind it. False where another daemon is at it."""
        async with self.database.transaction() as tx:
            row = await operations.lock(tx, operation)
            if row is None:
                return False
            if row.status == OperationStatus.QUEUED and not await operations.begin(tx, row.id, user=row.user_id):
                return False
            if row.is_revoked:
                worked, ended, progress = await self._end_revoked(tx, row)
            else:
                worked, ended, progress = await self._advance(tx, row, most or batch_size(row.rate), works=works)
        self._tell(row, worked, ended, progress)
        return True

    async def _end_revoked(self, tx: Executor, row: LockedOperation) -> tuple[Worked, OperationStatus | None, Progress]:
        """Do nothing more for an account that was revoked."""
        progress = rest_skipped(row.progress, SkipReason.CANCELLED)
        await operations.finish(tx, row, OperationStatus.CANCELLED, progress)
        return Worked(0, {}), OperationStatus.CANCELLED, progress

    async def _advance(
        self, tx: Executor, row: LockedOperation, size: int, *, works: bool
    ) -> tuple[Worked, OperationStatus | None, Progress]:
        """Work, and write down how far it has come."""
        kind = Kind(row.kind)
        work = self.works[kind]
        try:
            chosen = await work.choose(tx, row, size)
        except (KeyError, TypeError, ValueError) as unreadable:
            log.warning("operation_unreadable", operation=str(row.id), reason=type(unreadable).__name__)
            progress = evolve(row.progress, failed=row.progress.failed + row.progress.left)
            await operations.finish(tx, row, OperationStatus.FAILED, progress)
            return Worked(0, {}), OperationStatus.FAILED, progress
        worked = await work.apply(tx, row, chosen) if works else Worked(0, {}, failed=len(chosen.items))
        step = Step(chosen.cursor, chosen.ends, worked.done, worked.failed, worked.skipped)
        progress = advanced(row.progress, step, kind)
        if chosen.ends:
            await operations.finish(tx, row, OperationStatus.DONE, progress)
            return worked, OperationStatus.DONE, progress
        await operations.advance(tx, row.id, cursor=step.cursor, progress=progress, pause=step.size / row.rate)
        return worked, None, progress

    def _tell(self, row: LockedOperation, worked: Worked, ended: OperationStatus | None, progress: Progress) -> None:
        """Wake what takes the work that was made, those who watch, and count."""
        if any(one.transport == "webhook" for one in worked.made):
            self.hub.delivery_ready()
        if any(one.transport == "worker" for one in worked.made):
            self.hub.work_ready(row.user_id)
        alerts = [alert for one in worked.made for alert in one.alerts]
        if alerts or (worked.done and row.kind in ENDING_INCIDENTS):
            self.hub.notice_ready(alerts)
        self.hub.cue_written(worked.next_run)
        self.hub.changed(row.user_id, "executions", "cues")
        self.metrics.operated(row.kind, done=worked.done, skipped=sum(worked.skipped.values()), failed=worked.failed)
        if ended is not None:
            numbers = {"done": progress.done, "skipped": dict(progress.skipped), "failed": progress.failed}
            log.info("operation_ended", operation=str(row.id), kind=row.kind, status=str(ended), **numbers)
