"""The rescue: takes back what daemons and workers that are gone have left behind, and what is overdue."""

from collections.abc import Awaitable, Callable
from functools import partial

import structlog
import trio
from attrs import frozen

from cueapi.delivery.settling import settle
from cueapi.domain.execution import Step, deadline_passed, failed_try, lost_claim, never_claimed
from cueapi.metrics import Metrics
from cueapi.storage import daemons, workers
from cueapi.storage.daemons import Lost
from cueapi.storage.database import Database
from cueapi.storage.transitions import tells
from supervisor import Periodic, beat

LOOK_INTERVAL = 5.0
"""Seconds between two looks. A daemon whose lock was free at two of them is gone."""

log = structlog.get_logger("cueapi.delivery.rescue")


@frozen
class Patience:
    """
    Seconds: a worker's silence after which it is gone, and how long an execution may wait for one.

    A start may follow a time in which nobody was reached. Who only could not say that he lives is given *daemon_grace*
    from then on (a recorder tries every 15 s to write down what it kept), and *worker_grace*.
    """

    worker_silence: float
    unclaimed: float
    daemon_grace: float = 20.0
    worker_grace: float = 180.0


@frozen
class Rescue:
    """Source of handed-back executions. Ends when it is cancelled."""

    database: Database
    turns: Periodic
    outbox: Periodic
    notices: Periodic
    work_ready: Callable[[int], None]
    patience: Patience
    metrics: Metrics

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Look every few seconds."""
        self.turns.wake()
        task_status.started()
        born = trio.current_time()
        while True:
            await self.turns.wait()
            age = trio.current_time() - born
            leases = age >= self.patience.daemon_grace
            await daemons.look(self.database)
            await self._take_back("claims_recovered", partial(daemons.lost, leases=leases), _bounced)
            await self._take_back("deadlines_passed", daemons.overdue, _overdue)
            if age >= self.patience.worker_grace:
                await self._take_back("leases_ended", self._ended_leases, _lapsed)
                await self._take_back("executions_unclaimed", self._unclaimed, _unclaimed)
                if await workers.alert_offline(self.database):
                    self.notices.wake()
            beat()

    async def _take_back(
        self,
        event: str,
        find: Callable[[Database], Awaitable[list[Lost]]],
        follow: Callable[[Lost], Step],
    ) -> None:
        """Decide what is found, a batch at a time, until nothing more is found that can be moved."""
        while lost := await find(self.database):
            steps = [follow(one) for one in lost]
            written = await settle(self.database, steps)
            for step in steps:
                if step.fence.execution_id in written:
                    self.metrics.settled(step)
            if not written:
                return
            log.warning(event, executions=len(written))
            self._wake(lost, steps)
            if tells(written):
                self.notices.wake()

    def _wake(self, lost: list[Lost], steps: list[Step]) -> None:
        self.outbox.wake()
        for one, step in zip(lost, steps, strict=True):
            if one.standing.transport == "worker" and not step.ends and step.pause == 0.0:
                self.work_ready(one.user)

    async def _ended_leases(self, database: Database) -> list[Lost]:
        return await daemons.ended_leases(database, self.patience.worker_silence)

    async def _unclaimed(self, database: Database) -> list[Lost]:
        return await daemons.unclaimed(database, self.patience.unclaimed)


def _bounced(lost: Lost) -> Step:
    return lost_claim(lost.standing.fence, lost.standing.retry, bounces=lost.bounces)


def _lapsed(lost: Lost) -> Step:
    message = f"Worker {lost.standing.held_by} did not report in time."
    return failed_try(lost.standing.fence, lost.standing.retry, error=message)


def _overdue(lost: Lost) -> Step:
    return deadline_passed(lost.standing.fence, lost.standing.retry)


def _unclaimed(lost: Lost) -> Step:
    return never_claimed(lost.standing.fence)
