"""Deleting cues: they are invisible at once; the rows are removed later, in batches."""

from cueapi.domain.audit import Act
from cueapi.storage.database import Executor, Row


class DeletedCue(Row):
    """A cue that was there, and is deleted."""

    id: str


# Marked, invisible, its name free: at once, whatever the size of the history. Waiting deliveries are called off;
# a request under way is not cut. The rows go later, in batches.
DELETE = """
with gone as (
    update cues set deleted_at = now(), next_run = null, revision = revision + 1
     where id = any ($1::text[])
       and user_id = $2
       and deleted_at is null
 returning id, name
), called_off as (
    delete from outbox o using gone g where o.cue_id = g.id and o.claimed_by is null
), audited as (
    select write_audit($2, $3::json, 'cue.deleted', 'cue', id, name) from gone
)
select id from gone where (select count(*) from audited) is not null
"""


# Run again: a concurrent firing that the first statement waited for is not in its snapshot.
CALL_OFF = "delete from outbox where cue_id = any ($1::text[]) and claimed_by is null"


async def delete(db: Executor, *, cue_ids: list[str], user: int, act: Act) -> list[str]:
    """Delete these cues; the ids of those that were there."""
    gone = [row.id for row in await db.fetch(DELETE, cue_ids, user, act.text(), row=DeletedCue)]
    if gone:
        await db.execute(CALL_OFF, gone)
    return gone
