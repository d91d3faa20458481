"""Users as the operator sees them, and what only the operator changes."""

from datetime import datetime

from cueapi.domain.audit import Act
from cueapi.storage.database import Executor, Row
from cueapi.storage.notify import notify


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
  left join api_keys k on k.user_id = u.id and k.own and k.rotated_at is null
 order by u.id
"""


async def everyone(db: Executor) -> list[UserRow]:
    """All users, as the operator's list shows them."""
    return await db.fetch(ALL, row=UserRow)


# $2 who admits the user again.
READMIT = """
with admitted as (
    update users set revoked_at = null where id = $1 and revoked_at is not null returning email
)
select write_audit($1, $2::json, 'account.changed', 'account', $1::text, email,
                   changes_of(field_change('revoked', true, false)))
  from admitted
"""


async def readmit(db: Executor, user: int, act: Act) -> None:
    """A user who was revoked may have a key again."""
    await db.execute(READMIT, user, act.text())


# $5 who sets them.
SET_LIMITS = """
with former as (
    select id, active_cue_limit, monthly_execution_limit, rate_limit_per_minute
      from users
     where id = $1
       for no key update
), changed as (
    update users u
       set active_cue_limit = coalesce($2, u.active_cue_limit),
           monthly_execution_limit = coalesce($3, u.monthly_execution_limit),
           rate_limit_per_minute = coalesce($4, u.rate_limit_per_minute),
           updated_at = clock_timestamp()
      from former f
     where u.id = f.id
 returning u.email,
           changes_of(field_change('active_cue_limit', f.active_cue_limit, u.active_cue_limit),
                      field_change('monthly_execution_limit', f.monthly_execution_limit, u.monthly_execution_limit),
                      field_change('rate_limit_per_minute', f.rate_limit_per_minute, u.rate_limit_per_minute))
               as changes
)
select write_audit($1, $5::json, 'account.changed', 'account', $1::text, email, changes)
  from changed
 where changes is not null
"""


async def set_limits(
    db: Executor, user: int, *, cues: int | None, executions: int | None, rate: int | None, act: Act
) -> None:
    """The user's own numbers; None leaves one as it is."""
    await db.execute(SET_LIMITS, user, cues, executions, rate, act.text())


# Keys and sessions end, the cues rest; what has fired goes on. $2 who revokes the user.
REVOKE = """
with ended as (
    update api_keys set rotated_at = now() - interval '24 hours', encrypted = null where user_id = $1
), paused as (
    update cues
       set status = 'paused', next_run = null, revision = revision + 1, updated_at = clock_timestamp(),
           status_changed_at = clock_timestamp(), status_changed_by = $2::json -> 'actor',
           status_change_reason = 'The account was revoked.'
     where user_id = $1 and status = 'active' and deleted_at is null
 returning id, name
), codes as (
    delete from device_codes where user_id = $1 and status <> 'claimed'
), tokens as (
    delete from session_tokens where user_id = $1
), links as (
    delete from address_links where user_id = $1
), revoked as (
    update users set revoked_at = now(), sessions_valid_from = clock_timestamp() where id = $1 returning email
)
select write_audit($1, $2::json, 'account.revoked', 'account', $1::text, email) from revoked
 union all
select write_audit($1, $2::json, 'cue.paused', 'cue', id, name,
                   changes_of(field_change('status', 'active'::text, 'paused'::text)))
  from paused
"""


async def revoke(db: Executor, user: int, act: Act) -> None:
    """End the user's keys and sessions, pause the cues and tell every daemon; the transaction has locked the user."""
    await db.execute(REVOKE, user, act.text())
    await notify(db, f"account account:{user}")
