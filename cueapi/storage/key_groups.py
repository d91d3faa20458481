"""Whether something is of a cue in the groups that a key is limited to."""

from collections.abc import Collection
from uuid import UUID

from cueapi.storage.database import Executor, Row, fetch_value

# Also of a cue that is deleted: an answer may be repeated.
CUE = "select exists (select from cues where id = $2 and user_id = $1 and group_name = any ($3::text[]))"


async def has_cue(db: Executor, *, user: int, groups: Collection[str], cue_id: str) -> bool:
    """Whether that cue of *user* is in one of the *groups*."""
    return await fetch_value(db, CUE, user, cue_id, list(groups), kind=bool) is True


EXECUTION = """
select exists (select from executions e
                 join cues c on c.id = e.cue_id
                where e.id = $2
                  and e.user_id = $1
                  and c.group_name = any ($3::text[]))
"""


async def has_execution(db: Executor, *, user: int, groups: Collection[str], execution: UUID) -> bool:
    """Likewise, the cue of that execution."""
    return await fetch_value(db, EXECUTION, user, execution, list(groups), kind=bool) is True


ALERT = """
select exists (select from alerts a
                 join cues c on c.id = a.cue_id
                where a.id = $2
                  and a.user_id = $1
                  and c.group_name = any ($3::text[]))
"""


async def has_alert(db: Executor, *, user: int, groups: Collection[str], alert: UUID) -> bool:
    """Likewise, the cue of that alert; one of no cue is in no group."""
    return await fetch_value(db, ALERT, user, alert, list(groups), kind=bool) is True


INCIDENT = """
select exists (select from incidents i
                 join cues c on c.id = i.cue_id
                where i.id = $2
                  and i.user_id = $1
                  and c.group_name = any ($3::text[]))
"""


async def has_incident(db: Executor, *, user: int, groups: Collection[str], incident: UUID) -> bool:
    """Likewise, the cue of that incident."""
    return await fetch_value(db, INCIDENT, user, incident, list(groups), kind=bool) is True


class KnownId(Row):
    """The id of a cue, or of an execution, in the groups."""

    id: str


CUES = "select id from cues where user_id = $1 and id = any ($2::text[]) and group_name = any ($3::text[])"


async def cues_of(db: Executor, *, user: int, groups: Collection[str], ids: Collection[str]) -> set[str]:
    """Which of these cues of *user* are in the *groups*."""
    return {row.id for row in await db.fetch(CUES, user, list(ids), list(groups), row=KnownId)}


EXECUTIONS = """
select e.id::text
  from executions e
  join cues c on c.id = e.cue_id
 where e.user_id = $1
   and e.id = any ($2::uuid[])
   and c.group_name = any ($3::text[])
"""


async def executions_of(db: Executor, *, user: int, groups: Collection[str], ids: Collection[UUID]) -> set[UUID]:
    """Likewise, executions of such cues."""
    return {UUID(row.id) for row in await db.fetch(EXECUTIONS, user, list(ids), list(groups), row=KnownId)}
