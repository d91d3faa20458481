"""How an operation replays and dismisses dead letters."""

import json
from collections import Counter
from collections.abc import Mapping
from uuid import UUID

from attrs import frozen

from cueapi.delivery.bulk import Chosen, Worked, fired_or_skipped
from cueapi.domain.bulk import Kind, SkipReason, dismiss_refusal, replay_refusal
from cueapi.domain.ids import new_uuid7, parse_uuid
from cueapi.storage import cue_batches, dead_letter_batches, fires, operation_executions
from cueapi.storage.database import Executor
from cueapi.storage.dead_letter_batches import DeadLetterFacts
from cueapi.storage.dead_letters import DeadFilter
from cueapi.storage.fires import FiredExecution, ManualFire
from cueapi.storage.operations import LockedOperation, is_forced


async def choose(db: Executor, operation: LockedOperation, size: int) -> Chosen[DeadLetterFacts]:
    """The next dead letters of *operation*, or the next of its ids."""
    scope = json.loads(operation.scope)
    if operation.kind == Kind.REPLAY:
        await dead_letter_batches.lock_replays(db, user=operation.user_id)
    if "ids" in scope:
        return await _named(db, operation, scope["ids"], size)
    wanted = DeadFilter.of(operation.user_id, scope["filter"])
    behind = None if operation.cursor is None else UUID(operation.cursor)
    rows = await dead_letter_batches.batch(db, wanted, as_of=operation.as_of, behind=behind, limit=size)
    cursor = str(rows[-1].id) if rows else operation.cursor
    return Chosen(tuple(rows), cursor, ends=len(rows) < size)


async def _named(db: Executor, operation: LockedOperation, ids: list[str], size: int) -> Chosen[DeadLetterFacts]:
    begin = int(operation.cursor or 0)
    named = [parse_uuid(one) for one in ids[begin : begin + size]]
    found = await dead_letter_batches.of_ids(db, user=operation.user_id, ids=[one for one in named if one])
    rows = tuple(None if one is None else found.get(one) for one in named)
    return Chosen(rows, str(begin + len(rows)), ends=begin + len(rows) >= len(ids))


@frozen
class Replays:
    """Replays dead letters; *monthly* is how many executions each plan has in a month."""

    monthly: Mapping[str, int]

    async def apply(self, db: Executor, operation: LockedOperation, chosen: Chosen[DeadLetterFacts]) -> Worked:
        """Replay those that may be replayed; their cues are locked first."""
        refused = [(one, replay_refusal(None if one is None else one.state)) for one in chosen.items]
        skipped = Counter(reason for _, reason in refused if reason)
        wanted = sorted((one for one, reason in refused if one and not reason), key=lambda one: (one.cue_id, one.id))
        await cue_batches.lock(db, {one.cue_id for one in wanted})
        made: dict[UUID, FiredExecution] = {}
        for one in wanted:
            fired = await self._fire(db, operation, one)
            if (reason := fired_or_skipped(fired)) is not None:
                skipped[reason] += 1
            else:
                made[one.id] = fired
        new = [one.id for one in made.values()]
        await operation_executions.add(
            db, operation.id, made=new, origins=[*made], failed=[False for _ in new]
        )  # fmt: skip
        return Worked(len(made), skipped, made=tuple(made.values()))

    async def _fire(self, db: Executor, operation: LockedOperation, one: DeadLetterFacts) -> FiredExecution:
        manual_fire = ManualFire(new_uuid7(), replayed_from=one.id, forced=is_forced(operation))
        monthly = self.monthly.get(operation.plan, self.monthly["self_hosted"])
        return await fires.fire(db, cue_id=one.cue_id, user=operation.user_id, manual_fire=manual_fire, monthly=monthly)


async def dismiss(db: Executor, _: LockedOperation, chosen: Chosen[DeadLetterFacts]) -> Worked:
    """Dismiss those that are dead letters."""
    refused = [(one, dismiss_refusal(None if one is None else one.state)) for one in chosen.items]
    skipped = Counter(reason for _, reason in refused if reason)
    wanted = [one.id for one, reason in refused if one and not reason]
    done = await dead_letter_batches.dismiss(db, wanted)
    if done < len(wanted):
        skipped[SkipReason.NOT_DEAD] += len(wanted) - done
    return Worked(done, skipped)
