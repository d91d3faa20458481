"""Looks after the targets that are down: when each is probed, what may go on, and what has waited for too long."""

from collections.abc import Sequence
from uuid import UUID

import structlog
import trio
from attrs import frozen

from cueapi.delivery.breaker import Breaker
from cueapi.delivery.quarantine import Quarantine, run_isolating
from cueapi.domain.breaker import DownTarget, waited_too_long
from cueapi.domain.execution import Fence, Status, Transition, attempt_failed
from cueapi.domain.retry import Retry
from cueapi.metrics import Metrics
from cueapi.storage import target_waits, targets
from cueapi.storage.database import Database, TransactionRolledBack, Unstorable
from cueapi.storage.target_waits import BegunAttempt
from cueapi.storage.transitions import Written, apply_transitions, has_alerts
from cueapi.wakeups.hub import WakeupHub
from supervisor import beat

FREED_AT_ONCE = 10_000
"""Deliveries that are freed by one statement."""

FAILED_AT_ONCE = 100
"""Attempts that fail in one transaction."""

CLOSED_AT_ONCE = 100
"""Targets that are closed by one statement."""

log = structlog.get_logger("cueapi.delivery.target_watch")


@frozen
class TargetWatch:
    """Source of wake-ups for the dispatcher. Ends when it is cancelled."""

    database: Database
    hub: WakeupHub
    breaker: Breaker
    metrics: Metrics

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Look at each wake-up, and when a pause is over."""
        self.hub.targets.wake()
        task_status.started()
        while True:
            await self.hub.targets.wait()
            await self._look()
            beat()

    async def _look(self) -> None:
        asked_at = trio.current_time()
        rows = await targets.held_targets(self.database)
        if not self.breaker.on and rows[0].user_id is not None:
            await targets.close_all(self.database)
            rows = await targets.held_targets(self.database)
        elif any(row.is_idle for row in rows):
            await self._close_abandoned()
        held, now = self.breaker.held, trio.current_time()
        for target in held.renew(rows, asked_at, now):
            self.breaker.restart(target)
        if rows[0].any_waits:
            await self._free()
            await self._fail_overdue()
            self.hub.delivery_ready(announce=False)
        self.hub.targets.wake_at(held.next_moment(now))

    async def _close_abandoned(self) -> None:
        """Close what nothing is sent to any more; the next look, which follows at once, finds it so."""
        more = True
        while more:
            closed = await targets.close_abandoned(self.database, CLOSED_AT_ONCE)
            for target in closed:
                log.info("target_closed", user_id=target.user, host=target.host, reason=targets.NOT_CALLED)
                self.breaker.announce(target)
            more = len(closed) == CLOSED_AT_ONCE

    async def _free(self) -> None:
        """Let go on what waits for targets that are no longer held."""
        while await target_waits.free_waiting(self.database, FREED_AT_ONCE) == FREED_AT_ONCE:
            self.hub.delivery_ready()

    async def _fail_overdue(self) -> None:
        while late := await target_waits.overdue(self.database, FAILED_AT_ONCE):
            if not sum(await run_isolating(late, self._fail, self._quarantine)):
                return

    async def _fail(self, executions: Sequence[UUID]) -> int:
        """Fail an attempt of each; how many there were."""
        try:
            async with self.database.transaction() as tx:
                begun = await target_waits.begin_overdue(tx, list(executions))
                transitions = [_failed(one) for one in begun]
                written = await apply_transitions(tx, transitions) if transitions else Written()
        except TransactionRolledBack:
            return 0
        self._follow(transitions, written)
        return len(written)

    def _follow(self, transitions: Sequence[Transition], written: Written) -> None:
        for transition in transitions:
            if (row := written.get(transition.fence.execution_id)) is not None:
                self.metrics.settled(transition)
                self.hub.changed(row.user_id, "executions", "cues", *(["alerts"] if row.is_told else []))
        if has_alerts(written):
            self.hub.notice_ready(written.alerts)
        if written:
            log.warning("waits_ended", executions=len(written))

    async def _quarantine(self, execution: UUID, error: Unstorable) -> int:
        await Quarantine(self.database, self.hub.notice_ready).execution(execution, f"It cannot be delivered: {error}")
        return 1


def _failed(begun: BegunAttempt) -> Transition:
    fence = Fence(begun.id, begun.claim, begun.attempts, Status.DELIVERING)
    reason = waited_too_long(DownTarget(begun.host, begun.since, begun.reason))
    return attempt_failed(fence, Retry(begun.max_attempts, tuple(begun.backoff_minutes)), error=reason)
