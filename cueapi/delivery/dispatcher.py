"""The dispatcher: claims what is due and what the pool has room for. The backlog stays in PostgreSQL."""

import structlog
import trio
from attrs import evolve, frozen

from cueapi.delivery.capacity import Capacity
from cueapi.delivery.settling import settle
from cueapi.domain.attempt import Delivery
from cueapi.domain.execution import Fence, Status, Transition, attempt_failed, claim_lost
from cueapi.domain.retry import NO_RETRY
from cueapi.storage import daemons
from cueapi.storage.database import Database, Unstorable
from cueapi.storage.outbox import (
    ClaimedDeliveries,
    ClaimedRow,
    Headroom,
    claim_deliveries,
    quarantine,
    ready,
    to_delivery,
)
from cueapi.storage.transitions import has_alerts
from cueapi.wakeups.hub import WakeupHub
from cueapi.wakeups.identity import DaemonId
from supervisor import Channel, beat

LOCKED_PAUSE = 0.1
"""Seconds after which is looked again at what another dispatcher looked at: it may have left it."""

log = structlog.get_logger("cueapi.delivery.dispatcher")


@frozen
class Dispatcher:
    """Source of `[deliveries]`. Ends when it is cancelled."""

    database: Database
    deliveries: Channel[Delivery]
    capacity: Capacity
    hub: WakeupHub
    identity: DaemonId
    timeout: float

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Claim at each wake-up, until nothing is due or no place is free."""
        with self.deliveries.sender() as deliveries:
            await self._take_back()
            self.hub.dispatches.wake()
            task_status.started()
            while True:
                await self.hub.dispatches.wait()
                await self._claim_all(deliveries)
                beat()

    async def _claim_all(self, deliveries: trio.MemorySendChannel[Delivery]) -> None:
        more = True
        while more:
            headroom = self.capacity.headroom()
            if self.capacity.any_full() or headroom.places <= 0:
                self.capacity.request_wakeup()
            number = self.identity.claim_number
            if headroom.places <= 0 or number is None:
                return
            look_at = max(4 * headroom.places, 64)
            claimed = await self._claim(number, headroom, look_at)
            # Before they are sent: places come free from then on.
            if claimed.rows and len(claimed.rows) < claimed.examined:
                self.capacity.request_wakeup()
            for delivery in await self._readable(claimed.rows):
                # In one step, so that either may fall at any time: what has a place lies in the channel or is in the
                # pool's hands. There is always room, since the channel holds as many as there are places.
                deliveries.send_nowait(delivery)
                self.capacity.take(delivery)
                # The first are on their way, and may be back, before the last is sent: the pool does not run dry.
                await trio.lowlevel.checkpoint()
            if claimed.skipped_locked:
                self.hub.dispatches.wake_at(trio.current_time() + LOCKED_PAUSE)
            # As many as were looked at: there may be more behind them. Nothing claimed: only full lanes.
            more = claimed.orphans > 0 or (bool(claimed.rows) and claimed.examined == look_at)

    async def _take_back(self) -> None:
        """What a former life of this sibling has claimed, and got no answer of, goes back as the same try."""
        number = self.identity.number
        if number is None:
            return
        while lost := await daemons.held_by(self.database, number, but=self.capacity.unrecorded()):
            steps = [claim_lost(one.state.fence, one.state.retry, lost_claims=one.lost_claims) for one in lost]
            written = await settle(self.database, steps)
            log.warning("claims_recovered", executions=len(written))
            if has_alerts(written):
                self.hub.notice_ready()
            if not written:
                return

    async def _claim(self, number: int, headroom: Headroom, look_at: int) -> ClaimedDeliveries:
        try:
            return await claim_deliveries(
                self.database, daemon=number, headroom=headroom, within=self.timeout, look_at=look_at
            )
        except Unstorable as error:
            log.warning("claim_fell", reason=str(error))
            return await self._claim_one(number, headroom, look_at)

    async def _claim_one(self, number: int, headroom: Headroom, look_at: int) -> ClaimedDeliveries:
        """Some row makes the statement fall: look at each alone until one is claimed, and set aside those that fall."""
        for execution in await ready(self.database, look_at):
            try:
                claimed = await claim_deliveries(
                    self.database, daemon=number, headroom=headroom, within=self.timeout, look_at=1, only=execution
                )
            except Unstorable as error:
                await quarantine(self.database, execution, f"It cannot be read: {error}")
                log.warning("execution_set_aside", execution_id=str(execution), reason=str(error))
                continue
            if claimed.rows:
                # As if all had been looked at: there may be more behind it.
                return evolve(claimed, examined=look_at)
        return ClaimedDeliveries([], 0, skipped_locked=False)

    async def _readable(self, rows: list[ClaimedRow]) -> list[Delivery]:
        """The claimed rows as deliveries; one that a hand has damaged fails alone."""
        good: list[Delivery] = []
        broken: list[Transition] = []
        for row in rows:
            try:
                good.append(to_delivery(row, timeout=self.timeout))
            except (ValueError, TypeError) as error:
                fence = Fence(row.id, row.claim, row.attempts, Status.DELIVERING)
                broken.append(attempt_failed(fence, NO_RETRY, error=f"The cue cannot be read: {error}"))
                log.warning("execution_set_aside", execution_id=str(row.id), reason=str(error))
        if broken and has_alerts(await settle(self.database, broken)):
            self.hub.notice_ready()
        return good
