"""How an operation pauses, resumes and deletes cues."""

import json
from collections import Counter
from datetime import datetime
from typing import Any

from cueapi.delivery.bulk import Chosen, Worked
from cueapi.domain.audit import Act, Actor
from cueapi.domain.bulk import SkipReason
from cueapi.domain.clock import iso, parse_moment
from cueapi.domain.schedule import next_run
from cueapi.storage import cue_batches, cue_deletion
from cueapi.storage.cue_batches import CueFacts, Resumption
from cueapi.storage.cues import CueFilter
from cueapi.storage.database import Executor
from cueapi.storage.operations import LockedOperation


async def choose(db: Executor, operation: LockedOperation, size: int) -> Chosen[CueFacts]:
    """The next cues of *operation*, or those of the next of its ids."""
    scope = json.loads(operation.scope)
    if "ids" in scope:
        begin = int(operation.cursor or 0)
        named = scope["ids"][begin : begin + size]
        found = await cue_batches.of_ids(db, user=operation.user_id, ids=named)
        end = begin + len(named)
        return Chosen(tuple(found.get(one) for one in named), str(end), ends=end >= len(scope["ids"]))
    wanted = CueFilter(operation.user_id, **scope["filter"])
    rows = await cue_batches.batch(
        db, wanted, as_of=operation.as_of, behind=_behind(operation.cursor), limit=size
    )  # fmt: skip
    cursor = f"{iso(rows[-1].created_at)} {rows[-1].id}" if rows else operation.cursor
    return Chosen(tuple(rows), cursor, ends=len(rows) < size)


def _behind(cursor: str | None) -> tuple[datetime, str] | None:
    if cursor is None:
        return None
    at, cue_id = cursor.split(" ")
    return parse_moment(at), cue_id


def act_of(operation: LockedOperation) -> Act:
    """Who has begun the operation, and why: what it does is their act."""
    given: dict[str, Any] = json.loads(operation.act)
    return Act(Actor(**given.pop("actor")), **given)


async def pause(db: Executor, operation: LockedOperation, chosen: Chosen[CueFacts]) -> Worked:
    """Pause the active ones."""
    skipped = Counter(SkipReason.NOT_FOUND if one is None else SkipReason.NOT_ACTIVE for one in chosen.items)
    wanted = [one.id for one in chosen.items if one and one.status == "active"]
    done = await cue_batches.pause(db, wanted, user=operation.user_id, act=act_of(operation))
    skipped[SkipReason.NOT_ACTIVE] -= done
    return Worked(done, +skipped)


async def resume(db: Executor, operation: LockedOperation, chosen: Chosen[CueFacts]) -> Worked:
    """Resume the paused ones that have a time to come."""
    skipped: Counter[SkipReason] = Counter()
    wanted = []
    for one in chosen.items:
        if one is None:
            skipped[SkipReason.NOT_FOUND] += 1
        elif one.status != "paused":
            skipped[SkipReason.NOT_PAUSED] += 1
        elif (first := first_run_of(one, operation.now)) is None:
            skipped[SkipReason.SCHEDULE_OVER] += 1
        else:
            wanted.append(Resumption(one, first))
    done = await cue_batches.resume(db, wanted, user=operation.user_id, act=act_of(operation))
    skipped[SkipReason.NOT_PAUSED] += len(wanted) - done
    return Worked(done, +skipped, next_run=min((one.next_run for one in wanted), default=None))


def first_run_of(cue: CueFacts, now: datetime) -> datetime | None:
    """When a cue that is resumed fires next; None for a one-time cue whose time has passed or was fired."""
    if cue.cron is not None:
        return next_run(cue.cron, cue.timezone, now)
    return cue.schedule_at if cue.schedule_at and cue.schedule_at > now and not cue.has_fired else None


async def delete(db: Executor, operation: LockedOperation, chosen: Chosen[CueFacts]) -> Worked:
    """Delete those that are there."""
    wanted = sorted(one.id for one in chosen.items if one)
    gone = await cue_deletion.delete(db, cue_ids=wanted, user=operation.user_id, act=act_of(operation))
    return Worked(len(gone), +Counter({SkipReason.NOT_FOUND: len(chosen.items) - len(gone)}))
