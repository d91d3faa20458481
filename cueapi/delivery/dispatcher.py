"""The dispatcher: claims what is due and what the pool has room for. The backlog stays in PostgreSQL."""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

import structlog
import trio
from attrs import evolve, field, frozen

from cueapi.delivery.capacity import Capacity
from cueapi.delivery.full_hosts import FullHosts
from cueapi.delivery.held_targets import HeldTargets
from cueapi.delivery.preemption import Preemption
from cueapi.delivery.quarantine import Quarantine, run_isolating
from cueapi.delivery.target_claims import TargetClaims
from cueapi.domain.attempt import Delivery, ReportUrl
from cueapi.domain.confidential import Decrypt
from cueapi.domain.execution import Fence, Status, Transition, attempt_failed, claim_lost
from cueapi.domain.retry import NO_RETRY
from cueapi.storage import daemons
from cueapi.storage.claimed_deliveries import CueGone, to_delivery
from cueapi.storage.clock import steady
from cueapi.storage.database import Database, Unstorable
from cueapi.storage.outbox import AttemptTimes, ClaimedDeliveries, ClaimedRow, Headroom, claim_deliveries, ready
from cueapi.storage.transitions import has_alerts
from cueapi.wakeups.hub import WakeupHub
from cueapi.wakeups.identity import DaemonId
from supervisor import Channel, beat

LOCKED_PAUSE = 0.1
"""Seconds after which deliveries that another dispatcher had locked are claimed: it may have left them."""

TOGETHER = 48
"""Deliveries that take about as long as a claim: so many are under way while the next are claimed."""

log = structlog.get_logger("cueapi.delivery.dispatcher")


@frozen
class Dispatcher:
    """Source of `[deliveries]`. Ends when it is cancelled."""

    database: Database
    deliveries: Channel[Delivery]
    capacity: Capacity
    hub: WakeupHub
    identity: DaemonId
    times: AttemptTimes
    decrypt: Decrypt
    report_url: ReportUrl
    held: HeldTargets = field(factory=lambda: HeldTargets(1))
    preemption: Preemption = field(init=False)
    full_hosts: FullHosts = field(init=False)
    target_claims: TargetClaims = field(init=False)

    @preemption.default
    def _make_preemption(self) -> Preemption:
        return Preemption(self.database, self.capacity, self.hub)

    @full_hosts.default
    def _make_full_hosts(self) -> FullHosts:
        return FullHosts(self.database, self.capacity, self.hub)

    @target_claims.default
    def _make_target_claims(self) -> TargetClaims:
        return TargetClaims(self.database, self.capacity, self.times, self.held, self._quarantine)

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
        if self.capacity.free <= 0 and self.identity.claim_number is not None:
            await self.preemption.look()
        await self._claim_held(deliveries)
        await self._claim_turns(deliveries)
        while await self._claim_some(deliveries):
            pass
        if self.capacity.has_spare():
            while await self._claim_some(deliveries, spare=True):
                pass
        if self.capacity.free <= 0:
            self.preemption.look_again()
        if self.identity.claim_number is not None:
            await self.full_hosts.look()

    async def _claim_some(self, deliveries: trio.MemorySendChannel[Delivery], *, spare: bool = False) -> bool:
        """Claim and send a batch; True where there may be more."""
        headroom, number = self.capacity.headroom(spare=spare), self.identity.claim_number
        if self.capacity.any_full() or headroom.places <= 0:
            self.capacity.request_wakeup()
        if headroom.places <= 0 or number is None:
            return False
        look_at, asked_at = max(4 * headroom.places, 64), steady()
        claimed = await self._claim(number, headroom, look_at)
        left = len(claimed.rows) < claimed.examined
        # Before they are sent: slots are freed from then on.
        if claimed.rows and left:
            self.capacity.request_wakeup()
        await self._send(deliveries, await self._readable(claimed.rows, asked_at))
        if claimed.skipped_locked:
            self.hub.dispatches.wake_at(trio.current_time() + LOCKED_PAUSE)
        if claimed.set_waiting:
            # It may be the time of a probe.
            self.hub.targets.wake()
        return claimed.orphans + claimed.set_waiting > 0 or (
            bool(claimed.rows) and (self._is_worthwhile(headroom, claimed) if left else claimed.examined == look_at)
        )

    def _is_worthwhile(self, headroom: Headroom, claimed: ClaimedDeliveries) -> bool:
        """
        Whether to claim again at once, where some were left that were looked at.

        Their host or account may be full now, and is not looked at again: there may be others behind. For a few slots
        that were freed meanwhile nothing is claimed before the next wake-up.
        """
        freed = self.capacity.free - (headroom.places - len(claimed.rows))
        return freed >= TOGETHER or self.capacity.any_full()

    async def _claim_held(self, deliveries: trio.MemorySendChannel[Delivery]) -> None:
        """Probe the targets whose pause is over, and go on slowly with those that have closed."""
        number, now = self.identity.claim_number, trio.current_time()
        if number is None:
            return
        for target in self.held.to_probe(now):
            asked_at = steady()
            rows, opens = await self.target_claims.probe(number, target)
            probes = [evolve(one, opens=opens) for one in await self._readable(rows, asked_at)]
            await self._send(deliveries, probes)
        for target, most in self.held.starting(now):
            asked_at = steady()
            rows = await self.target_claims.some(number, target, most)
            await self._send(deliveries, await self._readable(rows, asked_at))
            self.capacity.request_wakeup()

    async def _claim_turns(self, deliveries: trio.MemorySendChannel[Delivery]) -> None:
        """Claim what has its turn at a host that was full, before what waits in front of it."""
        number = self.identity.claim_number
        if number is None or self.capacity.free <= 0:
            return
        for one in self.full_hosts.turns():
            asked_at = steady()
            claim = partial(self._claim_alone, number, self.capacity.headroom(spare=True))
            (rows,) = await run_isolating([one.execution_id], claim, self._quarantine)
            await self._send(deliveries, await self._readable(rows, asked_at))

    async def _send(self, deliveries: trio.MemorySendChannel[Delivery], claimed: list[Delivery]) -> None:
        for number, delivery in enumerate(claimed, 1):
            # Without a checkpoint in between, so that either sibling may fail at any time: what has a slot is in the
            # channel or with the pool. There is always room: the channel holds as many as there are slots.
            deliveries.send_nowait(delivery)
            self.capacity.take(delivery)
            self.hub.changed(delivery.user_id, "executions")
            # The first are on their way, and may be back, before the last is sent. The last go together: they keep the
            # pool busy while more is claimed.
            if number <= len(claimed) - TOGETHER:
                await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()

    async def _take_back(self) -> None:
        """Release, as the same attempt, what this sibling claimed before a restart without hearing the answer."""
        number = self.identity.number
        if number is None:
            return
        while lost := await daemons.held_by(self.database, number, but=self.capacity.unrecorded()):
            transitions = [claim_lost(one.state.fence, one.state.retry, lost_claims=one.lost_claims) for one in lost]
            written = await self.quarantine.apply_transitions(transitions)
            log.warning("claims_recovered", executions=len(written))
            if has_alerts(written):
                self.hub.notice_ready(written.alerts)
            if not written:
                return

    async def _claim(self, number: int, headroom: Headroom, look_at: int) -> ClaimedDeliveries:
        try:
            return await claim_deliveries(
                self.database, daemon=number, headroom=headroom, times=self.times, look_at=look_at
            )
        except Unstorable as error:
            log.warning("claim_failed", reason=str(error))
        rows: list[ClaimedRow] = []
        for execution in await ready(self.database, look_at):
            if headroom.places > 0:
                claim = partial(self._claim_alone, number, headroom)
                (claimed,) = await run_isolating([execution], claim, self._quarantine)
                rows += claimed
                headroom = headroom.without(claimed)
        # As if all had been looked at: there may be more behind them.
        return ClaimedDeliveries(rows, look_at, skipped_locked=False)

    async def _claim_alone(self, number: int, headroom: Headroom, executions: Sequence[UUID]) -> list[ClaimedRow]:
        (execution,) = executions
        claimed = await claim_deliveries(
            self.database, daemon=number, headroom=headroom, times=self.times, look_at=1, only=execution
        )
        return claimed.rows

    async def _quarantine(self, execution: UUID, error: Unstorable) -> list[ClaimedRow]:
        await self.quarantine.execution(execution, f"It cannot be delivered: {error}")
        return []

    async def _readable(self, rows: list[ClaimedRow], asked_at: float) -> list[Delivery]:
        """The claimed rows as deliveries; one whose cue was deleted meanwhile fails."""
        good: list[Delivery] = []
        orphans: list[Transition] = []
        for row in rows:
            try:
                good.append(self._to_delivery(row, asked_at))
            except CueGone:
                fence = Fence(row.id, row.claim, row.attempts, Status.DELIVERING)
                orphans.append(attempt_failed(fence, NO_RETRY, error="There is no such cue any more."))
        if orphans:
            await self.quarantine.apply_transitions(orphans)
        return good

    def _to_delivery(self, row: ClaimedRow, asked_at: float) -> Delivery:
        return to_delivery(row, times=self.times, claimed_at=asked_at, decrypt=self.decrypt, report_url=self.report_url)

    @property
    def quarantine(self) -> Quarantine:
        """Where executions go that cannot be claimed."""
        return Quarantine(self.database, self.hub.notice_ready)
