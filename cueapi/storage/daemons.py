"""Which daemons are alive, and what those that are gone have left behind."""

from collections.abc import Collection, Iterable
from datetime import datetime
from uuid import UUID

from attrs import frozen

from cueapi.domain.reporting import ExecutionState
from cueapi.storage.database import Executor, Row, fetch_value
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


# Seen free twice, 5 s apart: a lock that is free only between two connections of its daemon is no sign of death.
SWEEP_DEAD = """
with held as (
    select l.objid::bigint as number
      from pg_locks l
     where l.locktype = 'advisory' and l.classid::bigint = 1129661761 and l.objsubid = 2
       and l.database = (select oid from pg_database where datname = current_database())
), looked as (
    update daemons d
       set free_since = case when d.number in (select number from held) then null else least(d.free_since, now()) end
     where (d.free_since is null) <> (d.number in (select number from held)) or d.free_since > now()
 returning d.number, d.free_since
)
delete from daemons d
 where d.free_since <= now() - interval '5 seconds'
   and d.number not in (select number from held)
   and not exists (select 1 from outbox o where o.claimed_by = d.number)
"""


async def sweep_dead(db: Executor) -> None:
    """Note which daemons' locks are free, and forget the daemons that are gone and hold nothing."""
    await db.execute(SWEEP_DEAD)


class DaemonBeats(Row):
    """How many beats a daemon has had, PostgreSQL's clock, and the versions of tzdata that times are planned with."""

    number: int
    beats: int
    now: datetime
    tzdata: str


# $2 the version of tzdata that it plans with.
BEAT = """
with ours as (
    update daemons set beats = beats + 1 where number = $1
), noted as (
    insert into meta as m (key, value)
    select 'tzdata', $2::text
     where not exists (select from meta where key = 'tzdata' and $2 = any (string_to_array(value, ' ')))
        on conflict (key) do update set value = m.value || ' ' || excluded.value
)
select number, beats, clock_timestamp() as now,
       coalesce((select value from meta where key = 'tzdata'), '') as tzdata
  from daemons
"""


async def beat(db: Executor, number: int | None, *, tzdata: str) -> list[DaemonBeats]:
    """Show the others that the daemon of *number* runs, and by which *tzdata*; what each daemon has shown before."""
    return await db.fetch(BEAT, number, tzdata, row=DaemonBeats)


@frozen
class LostClaim:
    """An execution whose claim has no holder any more."""

    state: ExecutionState
    lost_claims: int
    user: int


class LostClaimRow(StateRow):
    """An execution whose claim may be lost, and its user."""

    user_id: int


def _lost(row: LostClaimRow) -> LostClaim:
    return LostClaim(to_execution_state(row), row.lost_claims, row.user_id)


# A daemon that lives keeps its claims whatever PostgreSQL's clock, which may have jumped, says of their leases. An
# ended lease counts where its daemon is silent ($1), or is ours ($2) and does not hold it any more ($3: what it holds).
LOST = """
select s.*
  from outbox o
  join execution_states s on s.id = o.execution_id
 where o.claimed_by is not null
   and (not exists (select from living_daemons d where d.number = o.claimed_by)
        or o.lease_until < now()
           and (o.claimed_by = any ($1::int[])
                or o.claimed_by = $2::int and coalesce(s.claim <> all ($3::uuid[]), true)))
 limit 500
"""


async def lost(
    db: Executor, *, silent: Collection[int] = (), ours: int | None = None, held: Iterable[UUID] = ()
) -> list[LostClaim]:
    """
    Deliveries that were claimed and whose holder is gone, a batch.

    Also those whose lease has ended, of *silent* daemons, and of *ours* where it is not among the claims *held*.
    """
    return [_lost(row) for row in await db.fetch(LOST, list(silent), ours, list(held), row=LostClaimRow)]


HELD_BY = """
select s.*
  from outbox o
  join execution_states s on s.id = o.execution_id
 where o.claimed_by = $1
   and s.claim <> all ($2::uuid[])
 limit 500
"""


async def held_by(db: Executor, number: int, *, but: Iterable[UUID] = ()) -> list[LostClaim]:
    """What the daemon of *number* holds, a batch: all claims *but* those."""
    return [_lost(row) for row in await db.fetch(HELD_BY, number, list(but), row=LostClaimRow)]


DEREGISTER = "delete from daemons where number = $1"


async def deregister(db: Executor, number: int) -> None:
    """This daemon ends, and holds nothing any more."""
    await db.execute(DEREGISTER, number)


# $1 seconds of silence after which a worker is taken for gone. A live worker keeps its lease, but never beyond the
# outcome's deadline (OVERDUE).
ENDED_LEASES = """
select s.*
  from execution_states s
 where s.transport = 'worker'
   and s.status = 'delivering'
   and s.lease_until < now()
   and not exists (select 1 from workers w
                    where w.user_id = s.user_id and w.worker_id = s.claimed_by_worker
                      and w.last_heartbeat > now() - $1::float8 * interval '1 second')
 limit 500
"""


async def ended_leases(db: Executor, silence: float) -> list[LostClaim]:
    """Executions that a worker has held for too long."""
    return [_lost(row) for row in await db.fetch(ENDED_LEASES, silence, row=LostClaimRow)]


# $1 user, $2 worker, $3 what it reports as running. What it claimed over a minute ago it has had time to begin.
DROPPED = """
select s.*
  from execution_states s
 where s.user_id = $1
   and s.claimed_by_worker = $2
   and s.transport = 'worker'
   and s.status = 'delivering'
   and s.claimed_at < now() - interval '60 seconds'
   and s.id <> all ($3::uuid[])
 limit 500
"""


async def dropped(db: Executor, *, user: int, worker: str, running: list[UUID]) -> list[LostClaim]:
    """What a worker holds and, by its own report, does not run any more."""
    return [_lost(row) for row in await db.fetch(DROPPED, user, worker, running, row=LostClaimRow)]


# $1 seconds for which an execution may wait for a worker: from its time on, or from when it was made, which is later
# where a time is caught up.
# What a hold has stopped waits for as long anew from its end: all while its mode is `everything`, and in any mode what
# was asked for at a later time.
UNCLAIMED = """
select s.*
  from execution_states s
 where s.transport = 'worker'
   and s.status in ('pending', 'retrying')
   and s.claim is null
   and s.ready_at < now() - $1::float8 * interval '1 second'
   and s.created_at < now() - $1::float8 * interval '1 second'
   and s.deleted_at is null
   and not exists (select from holds h
                    where h.user_id = s.user_id
                      and not s.forced
                      and ((h.mode = 'everything' or s.deferred)
                           and (h.ended_at is null or h.ended_at > now() - $1::float8 * interval '1 second')
                           or h.eased_at > now() - $1::float8 * interval '1 second'))
 limit 500
"""


async def unclaimed(db: Executor, patience: float) -> list[LostClaim]:
    """Worker executions that no worker has claimed in time."""
    return [_lost(row) for row in await db.fetch(UNCLAIMED, patience, row=LostClaimRow)]


# The condition on the status is implied by the last one; it is there for the index.
OVERDUE = """
select s.*
  from execution_states s
 where s.outcome_deadline_at < now()
   and s.status in ('success', 'delivering')
   and (s.outcome_attempt is null or s.outcome_attempt < s.attempts)
   and (s.transport, s.status) in (('webhook', 'success'), ('worker', 'delivering'))
 limit 500
"""


async def overdue(db: Executor) -> list[LostClaim]:
    """Deliveries, and claims of workers, of which no outcome was reported before the deadline."""
    return [_lost(row) for row in await db.fetch(OVERDUE, row=LostClaimRow)]
