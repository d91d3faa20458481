"""Users as the operator sees them, and what only the operator changes."""

from datetime import datetime

from cueapi.storage.database import Executor, Row


class UserRow(Row):
    """A user as the operator's list shows it."""

    id: int
    email: str
    plan: str
    live_cues: int
    revoked_at: datetime | None
    created_at: datetime
    prefix: str | None


ALL = """
select u.id, u.email, u.plan, u.live_cues, u.revoked_at, u.created_at, k.prefix
  from users u
  left join api_keys k on k.user_id = u.id and k.rotated_at is null
 order by u.id
"""


async def everyone(db: Executor) -> list[UserRow]:
    """All users, as the operator's list shows them."""
    return await db.fetch(ALL, row=UserRow)


READMIT = "update users set revoked_at = null where id = $1"


async def readmit(db: Executor, user: int) -> None:
    """A user who was revoked may have a key again."""
    await db.execute(READMIT, user)


SET_LIMITS = """
update users
   set active_cue_limit = coalesce($2, active_cue_limit),
       monthly_execution_limit = coalesce($3, monthly_execution_limit),
       rate_limit_per_minute = coalesce($4, rate_limit_per_minute),
       updated_at = clock_timestamp()
 where id = $1
"""


async def set_limits(db: Executor, user: int, *, cues: int | None, executions: int | None, rate: int | None) -> None:
    """The user's own numbers; None leaves one as it is."""
    await db.execute(SET_LIMITS, user, cues, executions, rate)
