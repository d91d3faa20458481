"""Claims of what waits for a target: one as the probe of one that is down, a few at a time once it has closed."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from attrs import evolve, frozen

from cueapi.delivery.capacity import Capacity
from cueapi.delivery.held_targets import HeldTargets
from cueapi.storage import target_waits, targets
from cueapi.storage.database import Database, Executor, TransactionRolledBack, Unstorable
from cueapi.storage.outbox import AttemptTimes, ClaimedRow, Headroom
from cueapi.storage.targets import TargetKey


@frozen
class TargetClaims:
    """Claims for the dispatcher, within what the pool has room for."""

    database: Database
    capacity: Capacity
    times: AttemptTimes
    held: HeldTargets
    quarantine: Callable[[UUID, Unstorable], Awaitable[object]]
    """Ends an execution that no statement can work with."""

    async def probe(self, daemon: int, target: TargetKey) -> tuple[list[ClaimedRow], int]:
        """The one delivery by which *target* is probed now, and how often that has opened; none at another time."""
        headroom = self._headroom(target, 1)
        if headroom is None:
            return [], 0
        try:
            async with self.database.transaction() as tx:
                longest = self.held.rules.longest_pause
                opens = await targets.lock_for_probe(tx, target, longest_pause=longest)
                rows = [] if opens is None else await self._claim_probe(tx, daemon, target, headroom)
        except TransactionRolledBack:
            return [], 0
        except Unstorable as error:
            await self._quarantine(target, error)
            return [], 0
        self.held.note_unawaited(target)
        return (rows, opens) if rows and opens is not None else ([], 0)

    async def _claim_probe(self, tx: Executor, daemon: int, target: TargetKey, headroom: Headroom) -> list[ClaimedRow]:
        claimed = await target_waits.claim_waiting(tx, target, daemon=daemon, headroom=headroom, times=self.times)
        for row in claimed.rows:
            await targets.begin_probe(tx, target, execution=row.id, claim=row.claim)
        return claimed.rows

    async def some(self, daemon: int, target: TargetKey, most: int) -> list[ClaimedRow]:
        """What has waited longest for *target*, which may have *most* attempts under way."""
        under_way = sum(TargetKey(one.user_id, one.host) == target for one in self.capacity.held())
        headroom = self._headroom(target, most - under_way)
        if headroom is None:
            return []
        try:
            claimed = await target_waits.claim_waiting(
                self.database, target, daemon=daemon, headroom=headroom, times=self.times
            )
        except Unstorable as error:
            await self._quarantine(target, error)
            return []
        return claimed.rows

    async def _quarantine(self, target: TargetKey, error: Unstorable) -> None:
        """The one that has waited longest: where another one is at fault, its turn comes."""
        if (execution := await target_waits.longest_waiting(self.database, target)) is not None:
            await self.quarantine(execution, error)

    def _headroom(self, target: TargetKey, wanted: int) -> Headroom | None:
        """Room for as many deliveries as are *wanted*, or as there is; None where there is none."""
        room = self.capacity.headroom(spare=True)
        # The slots that are kept are for accounts that hold none.
        places = min(wanted, room.places - (room.kept if target.user in room.users else 0))
        return evolve(room, places=places, kept=0) if places > 0 else None
