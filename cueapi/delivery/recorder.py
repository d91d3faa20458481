"""The recorder: one task that writes results, a batch a statement. Keeps each result until it was written."""

from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

import structlog
import trio
from attrs import define, field

from cueapi.delivery.capacity import Capacity
from cueapi.delivery.quarantine import Quarantine, run_isolating
from cueapi.delivery.retries import Reminder
from cueapi.domain.execution import Transition
from cueapi.metrics import Metrics
from cueapi.storage.database import Database, StorageUnavailable, Unstorable
from cueapi.storage.transitions import TransitionResult, Written, apply_transitions, find_applied, has_alerts
from cueapi.wakeups.hub import WakeupHub
from supervisor import Channel, beat

BATCH = 200
"""Results a statement: it costs about a millisecond before the first of them. More gain little."""

GATHERING = 0.02
"""Seconds between the beginnings of two writes in which a batch gathers. After a pause nothing is waited for."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 15.0
"""Seconds between attempts to write while PostgreSQL is away."""

log = structlog.get_logger("cueapi.delivery.recorder")


@define(eq=False)
class Recorder:
    """
    Drainer of `[results]`.

    What may be claimed at once is announced: what a drain releases is for the other daemons. *horizon* is the number
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
    _sent: set[UUID] = field(init=False, factory=set)
    """Executions whose transitions were sent to PostgreSQL, which has not answered: they may be written."""

    _begun_at: float = field(init=False, default=float("-inf"))
    """When the last write has begun."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Write results until the channel has ended and is empty; those kept before a restart come first."""
        with self.results.receiver() as results:
            task_status.started()
            await self._record()
            async for transition in results:
                self._kept.append(transition)
                await self._gather(results)
                await self._record()
                beat()

    async def _gather(self, results: trio.MemoryReceiveChannel[Transition]) -> None:
        """Keep what has come already, and what comes while the last write is young."""
        with trio.move_on_at(self._begun_at + GATHERING), suppress(trio.EndOfChannel):
            while len(self._kept) < BATCH:
                try:
                    self._kept.append(results.receive_nowait())
                except trio.WouldBlock:
                    self._kept.append(await results.receive())

    async def _record(self) -> None:
        """Write what is kept. While PostgreSQL is away it waits here, and the pool behind it."""
        pause = FIRST_PAUSE
        quarantine = Quarantine(self.database, self.hub.notice_ready)

        async def fail(transition: Transition, error: Unstorable) -> None:
            self._written([transition], await quarantine.fail_unstorable(transition, error))

        while self._kept:
            try:
                await run_isolating(self._kept[:BATCH], self._write, fail)
            except StorageUnavailable as away:
                log.warning("results_waited", results=len(self._kept), reason=str(away), seconds=pause)
                await trio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    async def _write(self, transitions: Sequence[Transition]) -> None:
        again = [transition for transition in transitions if transition.fence.execution_id in self._sent]
        self._sent |= {transition.fence.execution_id for transition in transitions}
        self._begun_at = trio.current_time()
        written = await apply_transitions(self.database, transitions)
        if again:
            written.update(await self._find_applied(again, written))
        self._written(transitions, written)

    async def _find_applied(self, again: Sequence[Transition], written: Written) -> Written:
        """Of those that are sent again and were not *written* now, what was written before, and its answer lost."""
        missing = [transition for transition in again if transition.fence.execution_id not in written]
        applied = await find_applied(self.database, missing)
        if len(applied) < len(missing):
            # They have moved on, or another write took their place, whose answer may be lost, too.
            self.hub.delivery_ready()
            self.hub.notice_ready()
        return applied

    def _written(self, transitions: Sequence[Transition], written: Written) -> None:
        """Forget *transitions*, the first of those that are kept, and pass on what follows from them."""
        del self._kept[: len(transitions)]
        self._sent -= {transition.fence.execution_id for transition in transitions}
        if has_alerts(written):
            self.hub.notice_ready(written.alerts)
        for transition in transitions:
            self._follow(transition, written.get(transition.fence.execution_id))

    def _follow(self, transition: Transition, row: TransitionResult | None) -> None:
        """Count what was written, and arm the retry."""
        fence = transition.fence
        if fence.claim is not None:
            self.capacity.recorded(fence.claim)
        if row is None:
            log.info("result_dropped", execution_id=str(fence.execution_id), attempt=fence.attempts)
            return
        self.metrics.settled(transition)
        self.hub.changed(row.user_id, "executions", "cues", *(["alerts"] if row.is_told else []))
        if not transition.ends and (transition.pause is not None or transition.released):
            self._remind(transition.pause or 0.0)

    def _remind(self, pause: float) -> None:
        if pause <= 0:
            self.hub.delivery_ready()
        elif pause <= self.horizon:
            # Where the channel is full, the next poll finds the row by its time.
            self.retries.offer(Reminder(pause))
