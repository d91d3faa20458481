"""Dead letters as operations take them: how many a filter matches, and the next of them behind a cursor."""

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from attrs import evolve

from cueapi.domain.bulk import DeadLetterState
from cueapi.storage.database import Executor, Row, fetch_value
from cueapi.storage.dead_letters import DeadFilter
from cueapi.storage.executions import SOURCE
from cueapi.storage.keyset import first_of


class MatchedDeadLetters(Row):
    """How many dead letters match (one beyond the cap: more), and how many a replay would skip of them."""

    matched: int
    skipped: int


# A replay that has not ended, or waits for the report that it owes.
IN_FLIGHT: LiteralString = (
    "r.finished_at is null or r.status || '' = 'success' and r.outcome_deadline_at > now()"
    " and (r.outcome_attempt is null or r.outcome_attempt < r.attempts)"
)

MATCHED_COLUMNS: LiteralString = "count(*) as matched, count(*) filter (where m.skipped) as skipped"


def _matched(where: LiteralString) -> LiteralString:
    return (
        "(select exists (select from executions r where r.replayed_from = e.id"
        " and (" + IN_FLIGHT + " or r.dead_at is not null)) as skipped from " + SOURCE
        + " where " + where + " limit 100001) m"
    )  # fmt: skip


MATCHED: LiteralString = "select " + MATCHED_COLUMNS + " from " + _matched("e.user_id = $1 and e.dead_at is not null")


async def count(db: Executor, wanted: DeadFilter) -> MatchedDeadLetters:
    """How many dead letters match."""
    where, values = wanted.conditions()
    statement: LiteralString = "select " + MATCHED_COLUMNS + " from " + _matched(where)
    row = await db.fetch_one(MATCHED if len(values) == 1 else statement, *values, row=MatchedDeadLetters)
    assert row is not None
    return row


class DeadLetterFacts(Row):
    """A dead letter as an operation finds it; *cue_id* is what its replay locks."""

    id: UUID
    cue_id: str
    status: str
    is_dead: bool
    is_deleted: bool
    has_replay_in_flight: bool
    has_dead_replay: bool

    @property
    def state(self) -> DeadLetterState:
        """What is decided by."""
        return DeadLetterState(
            self.status, self.is_dead, self.is_deleted, self.has_replay_in_flight, self.has_dead_replay
        )


FACTS_COLUMNS: LiteralString = (
    "e.id, e.cue_id, e.status, e.dead_at is not null as is_dead, c.deleted_at is not null as is_deleted,"
    " exists (select from executions r where r.replayed_from = e.id and (" + IN_FLIGHT + "))"
    " as has_replay_in_flight,"
    " exists (select from executions r where r.replayed_from = e.id and r.dead_at is not null) as has_dead_replay"
)
FACTS_SOURCE: LiteralString = "executions e join cues c on c.id = e.cue_id"

OF_IDS: LiteralString = (
    "select " + FACTS_COLUMNS + " from " + FACTS_SOURCE + " where e.id = any ($2::uuid[]) and e.user_id = $1"
)


async def of_ids(db: Executor, *, user: int, ids: Sequence[UUID]) -> dict[UUID, DeadLetterFacts]:
    """Executions of *user* by their ids; those that are none of theirs are left out."""
    return {row.id: row for row in await db.fetch(OF_IDS, user, list(ids), row=DeadLetterFacts)}


async def batch(
    db: Executor, wanted: DeadFilter, *, as_of: datetime, behind: UUID | None, limit: int
) -> list[DeadLetterFacts]:
    """
    The next dead letters, in the order of their ids, that were so at *as_of*.

    Those of a cue that was deleted meanwhile are found, too, as long as its history is there.
    """
    where, values = evolve(wanted, until=min(wanted.until or as_of, as_of)).conditions(
        ("e.created_at < ?", as_of), ("(c.deleted_at is null or c.deleted_at > ?)", as_of), ("e.id > ?", behind)
    )
    return await first_of(
        db, row=DeadLetterFacts, columns=FACTS_COLUMNS, source=FACTS_SOURCE, where=where, values=values, key="e.id",
        limit=limit,
    )  # fmt: skip


LOCK_REPLAYS = "select pg_advisory_xact_lock(1129661762, $1)::text"


async def lock_replays(db: Executor, *, user: int) -> None:
    """Two operations of one account must not replay the same one: wait until the other's batch is written."""
    await fetch_value(db, LOCK_REPLAYS, user % 2**31, kind=str)


DISMISS = """
update executions
   set dead_at = null, updated_at = clock_timestamp()
 where id = any ($1::uuid[])
   and dead_at is not null
returning id
"""


class DismissedExecution(Row):
    """A dead letter that was dismissed."""

    id: UUID


async def dismiss(db: Executor, ids: Sequence[UUID]) -> int:
    """Take these from the list of dead letters; how many of them were there."""
    return len(await db.fetch(DISMISS, sorted(ids), row=DismissedExecution))
