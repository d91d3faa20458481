"""The janitor: deleted cues, retention, and everything that expires; a small batch at a time."""

from collections.abc import Awaitable, Callable
from functools import partial

import structlog
import trio
from attrs import frozen

from cueapi.storage import janitor
from cueapi.storage.database import Database
from supervisor import Periodic, beat

PAUSE = 0.1
"""Seconds between two batches: housekeeping must not keep the disk busy."""

log = structlog.get_logger("cueapi.delivery.janitor")


@frozen
class Janitor:
    """
    Deletes expired rows, a batch at a time. Ends when it is cancelled.

    *retention_days* and *audit_days* are how long executions and the audit are kept; 0 keeps everything.
    """

    database: Database
    ticks: Periodic
    retention_days: int
    audit_days: int

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Tidy up at the start and each interval; without the first round the board would show `waiting` till then."""
        self.ticks.wake()
        task_status.started()
        while True:
            await self.ticks.wait()
            await self._until_done(janitor.delete_removed_cues)
            await self._until_done(janitor.delete_expired)
            await self._until_done(janitor.merge_tallies)
            if self.retention_days:
                await self._until_done(partial(janitor.apply_retention, days=self.retention_days))
            if self.audit_days:
                await self._until_done(partial(janitor.end_audit, days=self.audit_days))
            beat()

    async def _until_done(self, tidy: Callable[[Database], Awaitable[int]]) -> None:
        while gone := await tidy(self.database):
            log.info("rows_removed", rows=gone)
            beat()
            await trio.sleep(PAUSE)
