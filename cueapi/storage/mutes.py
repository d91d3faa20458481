"""Mutes: of what no notices are sent."""

from collections.abc import Collection
from datetime import datetime

from cueapi.storage.database import Executor, Row


class MuteRow(Row):
    """A mute: *scope* is `account`, `group` or `cue`, *subject* the group or the cue's id (of the account: "")."""

    scope: str
    subject: str
    name: str | None
    until: datetime | None
    reason: str | None
    created_at: datetime


# $2 the groups of a key, or null.
EVERY = """
select m.scope, m.subject, c.name, m.until, m.reason, m.created_at
  from mutes m
  left join cues c on m.scope = 'cue' and c.id = m.subject and c.user_id = m.user_id
 where m.user_id = $1
   and (m.until is null or m.until > now())
   and ($2::text[] is null
        or m.scope = 'group' and m.subject = any ($2::text[])
        or m.scope = 'cue' and c.group_name = any ($2::text[]))
 order by m.created_at desc, m.scope, m.subject
 limit 1000
"""


async def every(db: Executor, user: int, *, groups: Collection[str] | None = None) -> list[MuteRow]:
    """The mutes that are in force, newest first; only those of *groups* and of cues in them, where they are given."""
    return await db.fetch(EVERY, user, None if groups is None else list(groups), row=MuteRow)


class PutMute(MuteRow):
    """The mute that was asked for, whether its subject is there, and whether the user may have it."""

    is_known: bool
    has_room: bool


# $2 the scope, $3 the subject, $4 until when (null: until it is deleted), $5 why, $6 the act.
PUT = """
with cue as (
    select id, name from cues where $2 = 'cue' and id = $3 and user_id = $1 and deleted_at is null
), asked as materialized (
    select $2 <> 'cue' or exists (select from cue) as is_known, has_mute_room($1, $2, $3) as has_room
), before as materialized (
    select until from mutes where user_id = $1 and scope = $2 and subject = $3
), put as (
    insert into mutes as m (user_id, scope, subject, until, reason)
    select $1::bigint, $2::text, $3::text, $4::timestamptz, $5::text from asked where is_known and has_room
        on conflict (user_id, scope, subject) do update
       set until = excluded.until, reason = excluded.reason, created_at = excluded.created_at
 returning *
), audited as (
    select write_audit(user_id, $6::json, 'mute.set', scope, coalesce(nullif(subject, ''), user_id::text),
                       coalesce((select name from cue), nullif(subject, '')), json_build_array(json_build_object(
                           'path', 'mute', 'from', (select json_build_object('until', iso(until)) from before),
                           'to', json_build_object('until', iso(until))))) as id
      from put
)
select $2 as scope, $3 as subject, (select name from cue) as name, p.until, p.reason,
       coalesce(p.created_at, now()) as created_at, a.is_known, a.has_room
  from asked a
  left join put p on true
 where (select count(*) from audited) is not null
"""


async def put(  # noqa: PLR0913 (the columns of a mute)
    db: Executor, *, user: int, scope: str, subject: str, until: datetime | None, reason: str | None, act: str
) -> PutMute:
    """The mute that is in force from now on, where the cue is this user's, and there are not too many."""
    row = await db.fetch_one(PUT, user, scope, subject, until, reason, act, row=PutMute)
    assert row is not None
    return row


DELETE = """
with gone as (
    delete from mutes where user_id = $1 and scope = $2 and subject = $3 returning *
)
select write_audit(user_id, $4::json, 'mute.deleted', scope, coalesce(nullif(subject, ''), user_id::text),
                   nullif(subject, ''), json_build_array(json_build_object(
                       'path', 'mute', 'from', json_build_object('until', iso(until)), 'to', null))) as audit
  from gone
"""


class DeletedMute(Row):
    """What the audit calls the end of a mute."""

    audit: int


async def delete(db: Executor, *, user: int, scope: str, subject: str, act: str) -> bool:
    """End a mute; False where there is none."""
    return await db.fetch_one(DELETE, user, scope, subject, act, row=DeletedMute) is not None
