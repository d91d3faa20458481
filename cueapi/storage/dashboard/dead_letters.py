"""The page of dead letters: what the newest have in common."""

from typing import LiteralString

from cueapi.storage.database import Executor
from cueapi.storage.dead_letters import ERROR, DeadFilter, DeadGroupRow
from cueapi.storage.executions import LIVING_CUE

# Of the newest thousand: however many more there are, it takes as long.
_NEWEST: LiteralString = """
with newest as materialized (
    select user_id, cue_id, http_status, error_message, outcome_error, dead_at
      from executions
     where user_id = $1
       and dead_at is not null
     order by id desc
     limit 1001
)
"""

COLUMNS: LiteralString = (
    "e.cue_id, max(c.name) as cue_name, max(c.callback_host) as host, e.http_status, " + ERROR + " as error,"
    " count(*) as count, min(e.dead_at) as first_at, max(e.dead_at) as last_at,"
    " (select count(*) > 1000 from newest) as truncated"
)


def _groups(where: LiteralString) -> LiteralString:
    return (
        _NEWEST + "select " + COLUMNS + " from newest e join " + LIVING_CUE + " where " + where
        + " group by e.cue_id, e.http_status, error"
        + " order by count(*) desc, max(e.dead_at) desc, e.cue_id limit 50"
    )  # fmt: skip


GROUPS: LiteralString = _groups("e.user_id = $1 and e.dead_at is not null")


async def groups(db: Executor, wanted: DeadFilter) -> list[DeadGroupRow]:
    """The largest groups among the newest thousand dead letters, at most 50, the largest first."""
    where, values = wanted.conditions()
    return await db.fetch(GROUPS if len(values) == 1 else _groups(where), *values, row=DeadGroupRow)
