"""The dispatcher: claims what is due and what the pool has room for. The backlog stays in PostgreSQL."""

import structlog
import trio
from attrs import evolve, frozen

from cueapi.delivery.capacity import Places
from cueapi.delivery.settling import settle
from cueapi.domain.attempt import Delivery
from cueapi.domain.execution import Fence, Status, Step, failed_try, lost_claim
from cueapi.domain.retry import NO_RETRY
from cueapi.storage import daemons
from cueapi.storage.database import Database, Row, Unstorable
from cueapi.storage.outbox import Claimed, Room, claim_deliveries, ready, set_aside, to_delivery
from cueapi.storage.transitions import tells
from cueapi.wakeups.identity import Identity
from supervisor import Channel, Periodic, beat

BUNCH_PAUSE = 0.03
"""Seconds in which freed places gather before the next claim: few statements, and the pool does not run dry."""

LOCKED_PAUSE = 0.1
"""Seconds after which is looked again at what another dispatcher looked at: it may have left it."""

log = structlog.get_logger("cueapi.delivery.dispatcher")


@frozen
class Outbox:
    """Source of `[deliveries]`. Ends when it is cancelled."""

    database: Database
    deliveries: Channel[Delivery]
    places: Places
    turns: Periodic
    identity: Identity
    notices: Periodic
    timeout: float

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Claim at each wake-up, until nothing is due or no place is free."""
        with self.deliveries.sender() as deliveries:
            await self._take_back()
            self.turns.wake()
            task_status.started()
            while True:
                await self.turns.wait()
                await self._claim_all(deliveries)
                beat()

    async def _claim_all(self, deliveries: trio.MemorySendChannel[Delivery]) -> None:
        more = True
        while more:
            room = self.places.room()
            if self.places.any_full() or room.places <= 0:
                self.places.want()
            number = self.identity.claims_as
            if room.places <= 0 or number is None:
                return
            look_at = max(4 * room.places, 64)
            claimed = await self._claim(number, room, look_at)
            # Before they are sent: places come free from then on.
            if claimed.rows and len(claimed.rows) < claimed.seen:
                self.places.want()
            for delivery in await self._readable(claimed.rows):
                # In one step, so that either may fall at any time: what has a place lies in the channel or is in the
                # pool's hands. There is always room, since the channel holds as many as there are places.
                deliveries.send_nowait(delivery)
                self.places.take(delivery)
                # The first are on their way, and may be back, before the last is sent: the pool does not run dry.
                await trio.lowlevel.checkpoint()
            if claimed.passed_over:
                self.turns.wake_at(trio.current_time() + LOCKED_PAUSE)
            # As many as were looked at: there may be more behind them. Nothing claimed: only full lanes.
            more = claimed.strays > 0 or (bool(claimed.rows) and claimed.seen == look_at)

    async def _take_back(self) -> None:
        """What a former life of this sibling has claimed, and got no answer of, goes back as the same try."""
        number = self.identity.number
        if number is None:
            return
        while lost := await daemons.held_by(self.database, number, but=self.places.unrecorded()):
            steps = [lost_claim(one.standing.fence, one.standing.retry, bounces=one.bounces) for one in lost]
            written = await settle(self.database, steps)
            log.warning("claims_recovered", executions=len(written))
            if tells(written):
                self.notices.wake()
            if not written:
                return

    async def _claim(self, number: int, room: Room, look_at: int) -> Claimed:
        try:
            return await claim_deliveries(self.database, daemon=number, room=room, within=self.timeout, look_at=look_at)
        except Unstorable as error:
            log.warning("claim_fell", reason=str(error))
            return await self._claim_one(number, room, look_at)

    async def _claim_one(self, number: int, room: Room, look_at: int) -> Claimed:
        """Some row makes the statement fall: look at each alone until one is claimed, and set aside those that fall."""
        for execution in await ready(self.database, look_at):
            try:
                claimed = await claim_deliveries(
                    self.database, daemon=number, room=room, within=self.timeout, look_at=1, only=execution
                )
            except Unstorable as error:
                await set_aside(self.database, execution, f"It cannot be read: {error}")
                log.warning("execution_set_aside", execution_id=str(execution), reason=str(error))
                continue
            if claimed.rows:
                # As if all had been looked at: there may be more behind it.
                return evolve(claimed, seen=look_at)
        return Claimed([], 0, passed_over=False)

    async def _readable(self, rows: list[Row]) -> list[Delivery]:
        """The claimed rows as deliveries; one that a hand has damaged fails alone."""
        good: list[Delivery] = []
        broken: list[Step] = []
        for row in rows:
            try:
                good.append(to_delivery(row, timeout=self.timeout))
            except (ValueError, TypeError) as error:
                fence = Fence(row["id"], row["claim"], row["attempts"], Status.DELIVERING)
                broken.append(failed_try(fence, NO_RETRY, error=f"The cue cannot be read: {error}"))
                log.warning("execution_set_aside", execution_id=str(row["id"]), reason=str(error))
        if broken and tells(await settle(self.database, broken)):
            self.notices.wake()
        return good


def freed_soon(turns: Periodic) -> None:
    """Have the dispatcher look again when some more places may have come free."""
    turns.wake_at(trio.current_time() + BUNCH_PAUSE)
