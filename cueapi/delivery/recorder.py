"""The recorder: one task that writes results down, a batch a statement. Keeps each until it was written."""

from uuid import UUID

import structlog
import trio
from attrs import define, field

from cueapi.delivery.capacity import Capacity
from cueapi.delivery.retries import Reminder
from cueapi.delivery.settling import fail_unstorable
from cueapi.domain.execution import Transition
from cueapi.metrics import Metrics
from cueapi.storage.database import Database, StorageUnavailable, Unstorable
from cueapi.storage.transitions import TransitionResult, apply_transitions, has_alerts
from cueapi.wakeups.hub import WakeupHub
from supervisor import Channel, beat

BATCH = 100
GATHERING = 0.02
"""Seconds in which a batch gathers."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 15.0
"""Seconds between tries while PostgreSQL is away."""

log = structlog.get_logger("cueapi.delivery.recorder")


@define(eq=False)
class Recorder:
    """
    Drainer of `[results]`.

    What may be claimed at once is announced: what a drain gives back is for the other daemons. *horizon* is the number
    of seconds within which a retry is armed in the wheel; the poll arms the rest.
    """

    database: Database
    results: Channel[Transition]
    retries: Channel[Reminder]
    hub: WakeupHub
    metrics: Metrics
    capacity: Capacity
    horizon: float
    _kept: list[Transition] = field(init=False, factory=list)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Write results until the channel has ended and is empty; a former life's first."""
        with self.results.receiver() as results:
            task_status.started()
            await self._record()
            async for step in results:
                self._kept.append(step)
                await self._gather(results)
                await self._record()
                beat()

    async def _gather(self, results: trio.MemoryReceiveChannel[Transition]) -> None:
        with trio.move_on_after(GATHERING):
            try:
                while len(self._kept) < BATCH:
                    self._kept.append(await results.receive())
            except trio.EndOfChannel:
                return

    async def _record(self) -> None:
        """Write what is kept down. While PostgreSQL is away it waits here, and the pool behind it."""
        pause, most = FIRST_PAUSE, BATCH
        while self._kept:
            steps = self._kept[:most]
            try:
                written = await self._write(steps)
            except StorageUnavailable as away:
                log.warning("results_waited", results=len(self._kept), reason=str(away), seconds=pause)
                await trio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            if written is None:
                most = len(steps) // 2
                continue
            del self._kept[: len(steps)]
            most = BATCH
            if has_alerts(written):
                self.hub.notice_ready()
            for step in steps:
                self._tell(step, written.get(step.fence.execution_id))

    async def _write(self, steps: list[Transition]) -> dict[UUID, TransitionResult] | None:
        """What was written; None where the statement falls over one of several: it is looked for by halves."""
        try:
            return await apply_transitions(self.database, steps)
        except Unstorable as error:
            return await fail_unstorable(self.database, steps[0].fence, error) if len(steps) == 1 else None

    def _tell(self, step: Transition, row: TransitionResult | None) -> None:
        """Log and count what was written, and arm the retry."""
        fence = step.fence
        if fence.claim is not None:
            self.capacity.recorded(fence.claim)
        if row is None:
            log.info("result_dropped", execution_id=str(fence.execution_id), attempt=fence.attempts)
            return
        self.metrics.settled(step)
        if not step.ends and step.pause is not None:
            self._remind(step.pause)
        log.info(
            "attempt_handed_back" if step.released else "attempt_settled",
            execution_id=str(fence.execution_id),
            attempt=fence.attempts,
            status=step.status,
            http_status=step.record and step.record.http_status,
            duration_ms=step.record and step.record.duration_ms,
            dropped=list(step.dropped) or None,
        )

    def _remind(self, pause: float) -> None:
        if pause <= 0:
            self.hub.delivery_ready()
        elif pause <= self.horizon:
            # Full? The row says when it is due, and the next poll finds it.
            self.retries.offer(Reminder(pause))
