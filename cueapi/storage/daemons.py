"""Which daemons live, and what those that are gone have left behind."""

from collections.abc import Iterable
from typing import LiteralString
from uuid import UUID

from attrs import frozen

from cueapi.domain.execution import ExecutionState
from cueapi.storage.database import Executor, fetch_value
from cueapi.storage.executions import StateRow, to_execution_state

# 1129661761 is the class of all our advisory locks ("CUEA"); beside it stands the daemon's number, or 0 for migrations.

# $1 instance. We hold the port, so the previous process of this instance is dead if its lock is free now.
REGISTER = """
with former as (
    update daemons d set free_since = now() - interval '1 day'
     where d.instance = $1
       and not exists (select 1 from pg_locks l
                        where l.locktype = 'advisory' and l.classid::bigint = 1129661761 and l.objid::bigint = d.number
                          and l.objsubid = 2
                          and l.database = (select oid from pg_database where datname = current_database()))
)
insert into daemons (instance) values ($1) returning number
"""


async def register(db: Executor, instance: str) -> int:
    """The number of this daemon, for as long as it holds the lock of that number."""
    number = await fetch_value(db, REGISTER, instance, kind=int)
    assert number is not None
    return number


ACQUIRE_LOCK = "select pg_try_advisory_lock(1129661761, $1) as taken"

# A daemon that comes back before it was given up keeps its number and its claims.
RESUME = """
update daemons set free_since = null where number = $1 and coalesce(free_since, now()) > now() - interval '5 seconds'
"""


async def acquire_lock(db: Executor, number: int) -> bool:
    """Hold the lock of *number* for as long as this connection lives."""
    return await fetch_value(db, ACQUIRE_LOCK, number, kind=bool) is True


async def resume(db: Executor, number: int) -> bool:
    """True where the daemon of *number* was not given up yet: it may go on under it."""
    return await db.execute(RESUME, number) > 0


# Two looks, 5 s apart: a lock that is free only between two connections of its daemon is no sign of death.
SWEEP_DEAD = """
with held as (
    select l.objid::bigint as number
      from pg_locks l
     where l.locktype = 'advisory' and l.classid::bigint = 1129661761 and l.objsubid = 2
       and l.database = (select oid from pg_database where datname = current_database())
), looked as (
    update daemons d
       set free_since = case when d.number in (select number from held) then null else coalesce(d.free_since, now()) end
     where (d.free_since is null) <> (d.number in (select number from held))
 returning d.number, d.free_since
)
delete from daemons d
 where d.free_since <= now() - interval '5 seconds'
   and d.number not in (select number from held)
   and not exists (select 1 from outbox o where o.claimed_by = d.number)
"""


async def sweep_dead(db: Executor) -> None:
    """Note whose lock is free, and forget the daemons that are gone and hold nothing."""
    await db.execute(SWEEP_DEAD)


@frozen
class LostClaim:
    """An execution whose claim has no holder any more."""

    state: ExecutionState
    lost_claims: int
    user: int


_STATE: LiteralString = """
select e.id, e.user_id, e.claim, e.attempts, e.status, e.outcome_attempt, e.transport, e.claimed_by_worker,
       e.ready_at, e.lost_claims, c.max_attempts, c.backoff_minutes, c.verification
"""

# Of a row with `claimed_by`: whether the daemon that claimed it may still be there.
HOLDER_LIVES: LiteralString = """
exists (select 1 from daemons d
         where d.number = claimed_by and coalesce(d.free_since, now()) > now() - interval '5 seconds')
"""


class LostClaimRow(StateRow):
    """An execution whose claim may be lost, and its user."""

    user_id: int


def _lost(row: LostClaimRow) -> LostClaim:
    return LostClaim(to_execution_state(row), row.lost_claims, row.user_id)


# A claim is lost when its daemon is gone or, where $1, its lease has run out.
LOST = (
    _STATE
    + """
  from outbox o
  join executions e on e.id = o.execution_id
  join cues c on c.id = e.cue_id
 where o.claimed_by is not null
   and ($1::bool and o.lease_until < now() or not """
    + HOLDER_LIVES
    + """)
 limit 500
"""
)


async def lost(db: Executor, *, leases: bool) -> list[LostClaim]:
    """Deliveries that were claimed and whose holder is gone, a batch; with *leases* also those held for too long."""
    return [_lost(row) for row in await db.fetch(LOST, leases, row=LostClaimRow)]


HELD_BY = (
    _STATE
    + """
  from outbox o
  join executions e on e.id = o.execution_id
  join cues c on c.id = e.cue_id
 where o.claimed_by = $1
   and e.claim <> all ($2::uuid[])
 limit 500
"""
)


async def held_by(db: Executor, number: int, *, but: Iterable[UUID] = ()) -> list[LostClaim]:
    """What the daemon of *number* holds, a batch: all claims *but* those."""
    return [_lost(row) for row in await db.fetch(HELD_BY, number, list(but), row=LostClaimRow)]


DEREGISTER = "delete from daemons where number = $1"


async def deregister(db: Executor, number: int) -> None:
    """This daemon ends, and holds nothing any more."""
    await db.execute(DEREGISTER, number)


# $1 seconds of silence after which a worker is taken for gone. A live worker keeps its lease, but never beyond the
# outcome's deadline (OVERDUE).
ENDED_LEASES = (
    _STATE
    + """
  from executions e
  join cues c on c.id = e.cue_id
 where e.transport = 'worker'
   and e.status = 'delivering'
   and e.lease_until < now()
   and not exists (select 1 from workers w
                    where w.user_id = e.user_id and w.worker_id = e.claimed_by_worker
                      and w.last_heartbeat > now() - $1::float8 * interval '1 second')
 limit 500
"""
)


async def ended_leases(db: Executor, silence: float) -> list[LostClaim]:
    """Executions that a worker has held for too long."""
    return [_lost(row) for row in await db.fetch(ENDED_LEASES, silence, row=LostClaimRow)]


# $1 user, $2 worker, $3 what it says it runs. What it was given a minute ago it has had time to begin.
DROPPED = (
    _STATE
    + """
  from executions e
  join cues c on c.id = e.cue_id
 where e.user_id = $1
   and e.claimed_by_worker = $2
   and e.transport = 'worker'
   and e.status = 'delivering'
   and e.claimed_at < now() - interval '60 seconds'
   and e.id <> all ($3::uuid[])
 limit 500
"""
)


async def dropped(db: Executor, *, user: int, worker: str, running: list[UUID]) -> list[LostClaim]:
    """What a worker holds and does not run any more, by its own word."""
    return [_lost(row) for row in await db.fetch(DROPPED, user, worker, running, row=LostClaimRow)]


# $1 seconds for which an execution may wait for a worker: from its time on, or from when it was made, which is later
# where a time is caught up.
UNCLAIMED = (
    _STATE
    + """
  from executions e
  join cues c on c.id = e.cue_id
 where e.transport = 'worker'
   and e.status in ('pending', 'retrying')
   and e.ready_at < now() - $1::float8 * interval '1 second'
   and e.created_at < now() - $1::float8 * interval '1 second'
   and c.deleted_at is null
 limit 500
"""
)


async def unclaimed(db: Executor, patience: float) -> list[LostClaim]:
    """Worker executions that nobody has come for."""
    return [_lost(row) for row in await db.fetch(UNCLAIMED, patience, row=LostClaimRow)]


# The first condition on the status says nothing that the second does not; it is the index's.
OVERDUE = (
    _STATE
    + """
  from executions e
  join cues c on c.id = e.cue_id
 where e.outcome_deadline_at < now()
   and e.status in ('success', 'delivering')
   and (e.outcome_attempt is null or e.outcome_attempt < e.attempts)
   and (e.transport, e.status) in (('webhook', 'success'), ('worker', 'delivering'))
 limit 500
"""
)


async def overdue(db: Executor) -> list[LostClaim]:
    """Deliveries, and claims of workers, of which no outcome was reported before the deadline."""
    return [_lost(row) for row in await db.fetch(OVERDUE, row=LostClaimRow)]
