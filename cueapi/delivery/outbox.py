"""The dispatcher: claims what is due and what the pool has room for. The backlog stays in PostgreSQL."""

import structlog
import trio
from attrs import frozen

from cueapi.delivery.identity import Identity
from cueapi.delivery.places import Places
from cueapi.domain.attempt import Delivery
from cueapi.domain.execution import Fence, Status, Step, failed_try
from cueapi.domain.retry import NO_RETRY
from cueapi.storage.claims import claim_deliveries, to_delivery
from cueapi.storage.decisions import decide, tells
from cueapi.storage.postgres import Database, Row
from supervisor import Channel, Periodic, beat

BUNCH_PAUSE = 0.03
"""Seconds in which freed places gather before the next claim: few statements, and the pool does not run dry."""

log = structlog.get_logger("cueapi.delivery.outbox")


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
            if room.places <= 0 or self.identity.number is None:
                return
            look_at = max(4 * room.places, 64)
            rows = await claim_deliveries(
                self.database, daemon=self.identity.number, room=room, within=self.timeout, look_at=look_at
            )
            claimed = await self._readable(rows)
            for delivery in claimed:
                self.places.take(delivery)
            # Before they are sent: places come free from then on.
            if rows and len(rows) < rows[0]["seen"]:
                self.places.want()
            for delivery in claimed:
                await deliveries.send(delivery)
            # As many as were looked at: there may be more behind them. Nothing claimed: only full lanes.
            more = bool(rows) and rows[0]["seen"] == look_at

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
        if broken and tells(await decide(self.database, broken)):
            self.notices.wake()
        return good


def freed_soon(turns: Periodic) -> None:
    """Have the dispatcher look again when some more places may have come free."""
    turns.wake_at(trio.current_time() + BUNCH_PAUSE)
