"""The rescue: takes back what daemons and workers that are gone have left behind, and what is overdue."""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from uuid import UUID

import structlog
import trio
from attrs import evolve, field, frozen

from cueapi.delivery.quarantine import Quarantine
from cueapi.delivery.silence import Silence, WorkerGrace
from cueapi.delivery.written_ahead import put_right
from cueapi.delivery.zone_changes import ZoneWatch
from cueapi.domain.execution import AlertType, Transition, attempt_failed, claim_lost, deadline_passed, unclaimed
from cueapi.domain.zone import tzdata_version
from cueapi.metrics import Metrics
from cueapi.storage import daemons, holds, incidents, notifications, workers
from cueapi.storage.clock import Clock
from cueapi.storage.daemons import DaemonBeats, LostClaim
from cueapi.storage.database import Database
from cueapi.storage.transitions import has_alerts
from cueapi.wakeups.hub import WakeupHub
from cueapi.wakeups.identity import DaemonId
from supervisor import Periodic, beat

LOOK_INTERVAL = 5.0
"""Seconds between two rounds. A daemon whose lock was free in two of them is gone."""

log = structlog.get_logger("cueapi.delivery.rescue")


@frozen
class RescueTimeouts:
    """
    Seconds: a worker's silence after which it is gone, and how long an execution may wait for a worker.

    After a start, other daemons and workers may have been unable to reach PostgreSQL. Give them *daemon_grace* without
    a beat (a recorder writes what it kept at the latest every 15 s) and *worker_grace* before their claims are taken.
    After a jump of PostgreSQL's clock, or a standstill of ours, workers seem silent and deadlines past: they have
    *worker_grace* again.
    """

    worker_silence: float
    unclaimed: float
    daemon_grace: float = 20.0
    worker_grace: float = 180.0


@frozen
class Rescue:
    """Source of released executions. Ends when it is cancelled."""

    database: Database
    ticks: Periodic
    hub: WakeupHub
    timeouts: RescueTimeouts
    metrics: Metrics
    clock: Clock = field(factory=Clock)
    identity: DaemonId = field(factory=lambda: DaemonId(""))
    held: Callable[[], Iterable[UUID]] = tuple
    """The claims that this daemon works on."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Take back what is lost or overdue, every few seconds."""
        # What its last statement has made ready may be unannounced: the answer was lost, and this is a new run.
        self.hub.delivery_ready(announce=False)
        self.hub.notice_ready()
        self.ticks.wake()
        task_status.started()
        grace, silence = WorkerGrace(self.timeouts.worker_grace, self.clock.jumps), Silence()
        zones = ZoneWatch()
        while True:
            await self.ticks.wait()
            # First of all: what follows goes by PostgreSQL's clock.
            rows = await self._beat()
            silent = silence.after({row.number: row.beats for row in rows}, self.timeouts.daemon_grace)
            grace.note(self.clock.jumps)
            if await put_right(self.database) or (rows and await zones.look(self.database, rows[0].tzdata)):
                self._look_again()
            await self._release_holds()
            await daemons.sweep_dead(self.database)
            await self._recover(silent)
            await self._tend_incidents()
            if not grace.renewed or grace.is_over():
                await self._take_back("deadlines_passed", daemons.overdue, _overdue)
            if grace.is_over():
                await self._take_from_workers()
            beat()

    async def _beat(self) -> list[DaemonBeats]:
        """Show that this daemon runs, and measure the clock; what each daemon has shown."""
        begun = self.clock.machine.steady()
        rows = await daemons.beat(self.database, self.identity.number, tzdata=tzdata_version())
        if rows and self.clock.measure(rows[0].now, begun):
            log.warning("clock_differs", offset_seconds=round(self.clock.offset.total_seconds(), 1))
        return rows

    async def _release_holds(self) -> None:
        """Release the accounts whose hold was to end by now."""
        released = await holds.release_over(self.database)
        for user in released:
            self.hub.released(user)
        if released:
            log.info("holds_ended", accounts=len(released))

    def _look_again(self) -> None:
        """What was to wait for a later time is due earlier."""
        self.hub.polls.wake()
        self.hub.delivery_ready()
        self.hub.notice_ready()

    async def _recover(self, silent: set[int]) -> None:
        """Take back what daemons hold that are gone, or have been *silent* until their leases ended."""
        find = partial(daemons.lost, silent=silent, ours=self.identity.number, held=self.held())
        await self._take_back("claims_recovered", find, _claim_lost)
        if silent and await notifications.release_held(self.database, silent):
            self.hub.notice_ready()

    async def _tend_incidents(self) -> None:
        """End what is over, and remind of what is not."""
        for user in (tended := await incidents.tend(self.database)):
            self.hub.changed(user, "alerts")
        if tended:
            self.hub.notice_ready()

    async def _take_from_workers(self) -> None:
        """Take back what silent workers hold and what none came for, and tell of the silent ones."""
        await self._take_back("leases_ended", self._ended_leases, _lapsed)
        await self._take_back("executions_unclaimed", self._unclaimed, _unclaimed)
        raised = await workers.alert_offline(self.database)
        if raised.alerts:
            self.hub.notice_ready([AlertType.WORKER_OFFLINE] * raised.alerts)
        for user in raised.users or ():
            self.hub.changed(user, "alerts", "workers")

    async def _take_back(
        self,
        event: str,
        find: Callable[[Database], Awaitable[list[LostClaim]]],
        follow: Callable[[LostClaim], Transition],
    ) -> None:
        """Decide what is found, a batch at a time, until nothing more is found that can be moved."""
        while lost := await find(self.database):
            transitions = [follow(one) for one in lost]
            written = await Quarantine(self.database, self.hub.notice_ready).apply_transitions(transitions)
            for transition in transitions:
                if transition.fence.execution_id in written:
                    self.metrics.settled(transition)
            if not written:
                return
            log.warning(event, executions=len(written))
            self._wake(lost, transitions)
            for user in {row.user_id for row in written.values()}:
                self.hub.changed(user, "executions", "cues", "alerts", "workers")
            if has_alerts(written):
                self.hub.notice_ready(written.alerts)

    def _wake(self, lost: list[LostClaim], transitions: list[Transition]) -> None:
        self.hub.delivery_ready(announce=False)
        for one, transition in zip(lost, transitions, strict=True):
            if one.state.transport == "worker" and not transition.ends and transition.pause == 0.0:
                self.hub.work_ready(one.user)

    async def _ended_leases(self, database: Database) -> list[LostClaim]:
        return await daemons.ended_leases(database, self.timeouts.worker_silence)

    async def _unclaimed(self, database: Database) -> list[LostClaim]:
        return await daemons.unclaimed(database, self.timeouts.unclaimed)


def _claim_lost(lost: LostClaim) -> Transition:
    return claim_lost(lost.state.fence, lost.state.retry, lost_claims=lost.lost_claims)


def _lapsed(lost: LostClaim) -> Transition:
    message = f"Worker {lost.state.held_by} did not report in time."
    return evolve(attempt_failed(lost.state.fence, lost.state.retry, error=message), overdue=True)


def _overdue(lost: LostClaim) -> Transition:
    return deadline_passed(lost.state.fence, lost.state.retry)


def _unclaimed(lost: LostClaim) -> Transition:
    return unclaimed(lost.state.fence)
