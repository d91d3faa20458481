"""Holds: setting and releasing the brake of an account. The statements that fire and claim read it themselves."""

from collections.abc import Collection
from datetime import datetime
from typing import LiteralString

from attrs import frozen

from cueapi.domain.audit import SYSTEM, Act
from cueapi.storage.database import Database, Executor, Row


class HoldRow(Row):
    """A hold in force; *actor* is JSON."""

    mode: str
    reason: str | None
    until: datetime | None
    since: datetime
    actor: str


IN_FORCE: LiteralString = "ended_at is null and (until is null or until > now())"

SHOW: LiteralString = "select mode, reason, until, since, actor from holds where user_id = $1 and " + IN_FORCE


async def show(db: Executor, user: int) -> HoldRow | None:
    """The hold of an account; None where none is in force."""
    return await db.fetch_one(SHOW, user, row=HoldRow)


@frozen
class HoldRequest:
    """What a hold is to stop, why, and until when (None: until it is released)."""

    mode: str
    reason: str | None = None
    until: datetime | None = None


# One that is in force already is changed, and began when it began.
SET = """
with before as materialized (
    select mode, reason, iso(until) as until from holds where user_id = $1 and ended_at is null
), held as (
    insert into holds as h (user_id, mode, reason, until, actor) values ($1, $2, $3, $4, $5::json -> 'actor')
        on conflict (user_id) do update
       set mode = excluded.mode, reason = excluded.reason, until = excluded.until, actor = excluded.actor,
           since = case when h.ended_at is null then h.since else excluded.since end, ended_at = null,
           eased_at = case when h.mode = 'everything' and excluded.mode <> h.mode
                           then coalesce(h.ended_at, least(now(), h.until)) else h.eased_at end
 returning mode, reason, until, since, actor
)
select h.mode, h.reason, h.until, h.since, h.actor
  from held h
 cross join lateral write_audit($1, $5::json, 'hold.set', 'account', $1::text, null, json_build_array(
            json_build_object('path', 'hold', 'from', (select to_json(b) from before b),
                              'to', json_build_object('mode', h.mode, 'reason', h.reason,
                                                      'until', iso(h.until))))) written
"""


async def put(db: Database, *, user: int, hold: HoldRequest, act: Act) -> HoldRow:
    """Hold the account, or change the hold that is in force. One whose time is over is another one, and ends first."""
    await release_over(db, user)
    row = await db.fetch_one(SET, user, hold.mode, hold.reason, hold.until, act.text(), row=HoldRow)
    assert row is not None
    return row


class EndedHold(Row):
    """An account whose hold has ended."""

    user_id: int
    audited: int


# In the order of the accounts, as each that releases several. Where `until` has passed it has ended then.
END = """
with due as materialized (
    select user_id from holds where user_id = any ($1::bigint[]) and ended_at is null order by user_id for update
), ended as (
    update holds h
       set ended_at = least(now(), h.until)
      from due d
     where h.user_id = d.user_id
 returning h.user_id, h.mode, h.reason, h.until
)
select user_id,
       write_audit(user_id, $2::json, 'hold.released', 'account', user_id::text, null, json_build_array(
           json_build_object('path', 'hold', 'to', null, 'from', json_build_object('mode', mode, 'reason', reason,
                                                                                   'until', iso(until))))) as audited
  from ended
"""

# What was stopped at its time fires now: one-time cues, and what was asked for at a later time.
RESUME = """
with parked as materialized (
    select id
      from cues
     where user_id = any ($1::bigint[])
       and parked_run is not null and next_run is null and status = 'active' and deleted_at is null
     order by id
       for no key update
), resumed as (
    update cues c
       set next_run = c.parked_run, planned_at = now()
      from parked p
     where c.id = p.id
)
update executions
   set late = true, updated_at = clock_timestamp()
 where user_id = any ($1::bigint[])
   and deferred
   and not forced
   and scheduled_for <= now()
"""


# Under a hold of everything nothing could be sent to a target: what waits for one may wait as much longer.
WAIT_LONGER = """
update outbox o
   set waits_until = o.waits_until + (h.ended_at - h.since)
  from holds h
 where h.user_id = any ($1::bigint[])
   and h.mode = 'everything'
   and o.user_id = h.user_id
   and o.claimed_by is null
   and o.waits_until is not null
   and not o.forced
"""


async def release(database: Database, users: Collection[int], act: Act) -> list[int]:
    """
    End the holds of these accounts; of which there were any.

    A firing that has seen the hold is waited for: what it has parked is seen by the second statement.
    """
    async with database.transaction() as db:
        ended = [row.user_id for row in await db.fetch(END, [*users], act.text(), row=EndedHold)]
        if ended:
            await db.execute(RESUME, ended)
            await db.execute(WAIT_LONGER, ended)
    return ended


class HeldAccount(Row):
    """An account that is held."""

    user_id: int


OVER = """
select user_id from holds where ended_at is null and until <= now() and ($1::bigint is null or user_id = $1)
"""


async def release_over(database: Database, user: int | None = None) -> list[int]:
    """End the holds whose time is over, of all accounts or of that *user*; whose they were."""
    over = [row.user_id for row in await database.fetch(OVER, user, row=HeldAccount)]
    return await release(database, over, SYSTEM) if over else []
