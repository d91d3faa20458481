"""Whether something is of a cue in the groups that a key is limited to."""

from collections.abc import Collection
from uuid import UUID

from cueapi.storage.database import Executor, Row, fetch_value

# Also of a cue that is deleted: an answer may be repeated.
CUE = "select exists (select from cues where id = $2 and user_id = $1 and group_name = any ($3::text[]))"


async def has_cue(db: Executor, *, user: int, groups: Collection[str], cue_id: str) -> bool:
    """Whether that cue of *user* is in one of the *groups*."""
    return await fetch_value(db, CUE, user, cue_id, list(groups), kind=bool) is True


# Of a table whose rows belong to cues; what is of no cue is in no group.
_OF_CUE = (
    "select exists (select from {} x join cues c on c.id = x.cue_id"
    " where x.id = $2 and x.user_id = $1 and c.group_name = any ($3::text[]))"
)
EXECUTION, ALERT = map(_OF_CUE.format, ("executions", "alerts"))
# That of a group's budget, too.
INCIDENT = (
    "select exists (select from incidents i"
    " where i.id = $2 and i.user_id = $1 and incident_group(i) = any ($3::text[]))"
)

OF_CUES = {"execution_id": EXECUTION, "alert_id": ALERT, "incident_id": INCIDENT}
"""The statements, by how such an id is called in paths."""


async def has(db: Executor, *, user: int, groups: Collection[str], named: str, identity: UUID) -> bool:
    """Likewise, the cue of what a path has *named* so: `execution_id`, `alert_id` or `incident_id`."""
    return await fetch_value(db, OF_CUES[named], user, identity, list(groups), kind=bool) is True


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
