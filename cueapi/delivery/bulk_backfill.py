"""How an operation makes the executions of a cue's times in the past."""

import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from attrs import frozen

from cueapi.delivery.bulk import Chosen, Worked, fired_or_skipped
from cueapi.domain.backfill import Backfill
from cueapi.domain.bulk import SkipReason
from cueapi.domain.clock import iso, parse_moment
from cueapi.domain.ids import new_uuid7
from cueapi.storage import backfills, fires, operation_executions
from cueapi.storage.database import Executor
from cueapi.storage.fires import FiredExecution, ManualFire
from cueapi.storage.operations import LockedOperation, is_forced


@frozen
class Backfills:
    """Makes the executions of past times; *monthly* is how many executions each plan has in a month."""

    monthly: Mapping[str, int]

    async def choose(self, db: Executor, operation: LockedOperation, size: int) -> Chosen[datetime]:
        """Those of the next times of the schedule that have no execution yet."""
        backfill = Backfill.of(json.loads(operation.scope))
        behind = None if operation.cursor is None else parse_moment(operation.cursor)
        times = backfill.times(behind, size)
        open_times = await backfills.open_times(
            db, cue_id=backfill.cue_id, times=times, only_missing=backfill.only_missing
        )
        cursor = iso(times[-1]) if times else operation.cursor
        return Chosen(tuple(open_times), cursor, ends=len(times) < size)

    async def apply(self, db: Executor, operation: LockedOperation, chosen: Chosen[datetime]) -> Worked:
        """Make an execution for each, due now."""
        cue_id = json.loads(operation.scope)["cue_id"]
        skipped: Counter[SkipReason] = Counter()
        made: list[FiredExecution] = []
        for at in chosen.items:
            manual_fire = ManualFire(new_uuid7(), at=at, backfill=True, forced=is_forced(operation))
            monthly = self.monthly.get(operation.plan, self.monthly["self_hosted"])
            fired = await fires.fire(
                db, cue_id=cue_id, user=operation.user_id, manual_fire=manual_fire, monthly=monthly
            )
            if (reason := fired_or_skipped(fired)) is not None:
                skipped[reason] += 1
            else:
                made.append(fired)
        await operation_executions.add(
            db, operation.id, made=[one.id for one in made], origins=[None for _ in made],
            failed=[one.status == "failed" for one in made],
        )  # fmt: skip
        return Worked(len(made), skipped, made=tuple(made))
