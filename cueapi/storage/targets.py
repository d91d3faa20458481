"""Targets that are down: their states are moved here, each by a conditional update that the audit tells of."""

from typing import NamedTuple
from uuid import UUID

from attrs import frozen

from cueapi.storage.database import Executor, Row, fetch_value
from cueapi.storage.statements import load


class TargetKey(NamedTuple):
    """Whose target, and which host and port."""

    user: int
    host: str


# $3 the last failure, $4 attempts and $5 failures that were counted, $6 seconds until the first probe.
OPEN = """
with moved as (
    insert into targets as t (user_id, host, state, reason, attempts, failures, next_probe_at)
    values ($1, $2, 'open', $3, $4, $5, now() + $6::float8 * interval '1 second')
        on conflict (user_id, host) do update
       set state = 'open', since = now(), reason = excluded.reason, attempts = excluded.attempts,
           failures = excluded.failures, opens = 1, next_probe_at = excluded.next_probe_at,
           held_until = excluded.held_until
     where t.state = 'closed'
 returning t.user_id, t.host, t.reason
)
select write_audit(user_id, system_act(), 'target.opened', 'target', host, host,
                   json_build_array(json_build_object('path', 'state', 'from', 'closed', 'to', 'open'),
                                    json_build_object('path', 'reason', 'from', null, 'to', reason))) as told,
       open_incident(user_id, 'target_down', host, host, format('%s is down: %s', host, reason), 'critical') as incident
  from moved
"""


@frozen
class Trip:
    """Why a target opens: the last failure, and what was counted."""

    reason: str
    attempts: int
    failures: int


async def open_target(db: Executor, target: TargetKey, trip: Trip, *, pause: float) -> bool:
    """True where it was closed, and is open from now on; the first probe follows after *pause* seconds."""
    values = (*target, trip.reason, trip.attempts, trip.failures, pause)
    return await fetch_value(db, OPEN, *values, kind=int) is not None


# $3 the longest pause (seconds): a probe that is later was set before PostgreSQL's clock was set back. A probe whose
# claim has ended, with its daemon say, is none.
LOCK_FOR_PROBE = """
select opens
  from targets t
 where user_id = $1
   and host = $2
   and (state = 'open'
        and (next_probe_at <= now() or next_probe_at > now() + ($3::float8 + 1) * interval '1 second')
        or state = 'half_open'
           and not exists (select from executions e where e.id = t.probe and e.claim = t.probe_claim))
   for no key update skip locked
"""


async def lock_for_probe(tx: Executor, target: TargetKey, *, longest_pause: float) -> int | None:
    """How often it has opened in a row, where it is to be probed now and no other does so; ours until *tx* ends."""
    return await fetch_value(tx, LOCK_FOR_PROBE, *target, longest_pause, kind=int)


BEGIN_PROBE = """
update targets set state = 'half_open', probe = $3, probe_claim = $4 where user_id = $1 and host = $2
"""


async def begin_probe(tx: Executor, target: TargetKey, *, execution: UUID, claim: UUID) -> None:
    """This claim is the probe of a target that `lock_for_probe` has locked."""
    await tx.execute(BEGIN_PROBE, *target, execution, claim)


# $3 the claim of the probe, $4 seconds until all places are had again.
CLOSE = """
with probed as (
    select user_id, host, probe
      from targets
     where user_id = $1
       and host = $2
       and state = 'half_open'
       and probe_claim = $3
       for no key update
), moved as (
    update targets t
       set state = 'closed', since = now(), probe = null, probe_claim = null,
           held_until = now() + $4::float8 * interval '1 second'
      from probed p
     where t.user_id = p.user_id
       and t.host = p.host
 returning t.user_id, t.host, p.probe
)
select write_audit(user_id, system_act(), 'target.closed', 'target', host, host,
                   json_build_array(json_build_object('path', 'state', 'from', 'half_open', 'to', 'closed'))) as told,
       resolve_incident(user_id, 'target_down', host, by_execution => probe) as incident
  from moved
"""


async def close_target(db: Executor, target: TargetKey, claim: UUID, *, slow_start: float) -> bool:
    """True where *claim* was its probe, and has closed it; deliveries begin slowly for *slow_start* seconds."""
    return await fetch_value(db, CLOSE, *target, claim, slow_start, kind=int) is not None


# $4 whether it has failed: one that came to nothing says nothing of the target. $5 the last failure, $6 seconds until
# the next probe.
REOPEN = """
update targets
   set state = 'open', probe = null, probe_claim = null, opens = opens + (case when $4 then 1 else 0 end),
       reason = coalesce($5, reason), next_probe_at = now() + $6::float8 * interval '1 second'
 where user_id = $1
   and host = $2
   and state = 'half_open'
   and probe_claim = $3
"""


async def reopen(db: Executor, target: TargetKey, claim: UUID, *, failed: str | None, pause: float) -> bool:
    """True where *claim* was its probe, and has *failed*, or came to nothing (None): the next one follows."""
    return await db.execute(REOPEN, *target, claim, failed is not None, failed, pause) > 0


class HeldTarget(Row):
    """
    A target that claims leave alone, as of now; without an account there is none.

    *due_in* are the seconds to its next probe, *closed_for* those since it closed. *is_awaited* says whether deliveries
    wait for it, *any_waits* whether they do for any target.
    """

    user_id: int | None
    host: str
    state: str
    opens: int
    due_in: float
    closed_for: float
    is_probed: bool
    is_awaited: bool
    any_waits: bool

    @property
    def is_idle(self) -> bool:
        """Whether it is open, and nothing is sent to it now or waits for it."""
        return self.user_id is not None and self.state != "closed" and not self.is_probed and not self.is_awaited


HELD = """
select t.user_id, t.host, t.state, t.opens,
       extract(epoch from t.next_probe_at - now())::float8 as due_in,
       extract(epoch from now() - t.since)::float8 as closed_for,
       exists (select from executions e where e.id = t.probe and e.claim = t.probe_claim) as is_probed,
       -- Not by `exists`: by the index, which has no row mostly.
       coalesce((select true from outbox o
                  where o.user_id = t.user_id and o.host = t.host
                    and o.claimed_by is null and o.waits_until is not null
                  order by o.ready_at limit 1), false) as is_awaited,
       w.any_waits
  from (select coalesce((select true from outbox where claimed_by is null and waits_until is not null
                          order by user_id, host limit 1), false) as any_waits) w
  left join targets t on t.held_until > now()
"""


async def held_targets(db: Executor) -> list[HeldTarget]:
    """Every target that is not closed, or begins slowly; always at least one row."""
    return await db.fetch(HELD, row=HeldTarget)


NOT_CALLED = "no active cue calls it any more"


class ClosedTarget(Row):
    """A target that was closed."""

    user_id: int
    host: str


CLOSE_ABANDONED = load("close_abandoned", ("why", "most"))


async def close_abandoned(db: Executor, most: int) -> list[TargetKey]:
    """Close those that nothing waits for and no active cue calls any more, at most so many; which they were."""
    rows = await db.fetch(CLOSE_ABANDONED, NOT_CALLED, most, row=ClosedTarget)
    return [TargetKey(row.user_id, row.host) for row in rows]


# Where there is no breaker (any more).
CLOSE_ALL = load("close_all", ("why",))


async def close_all(db: Executor) -> None:
    """Close every target."""
    await db.fetch(CLOSE_ALL, "the breaker was switched off", row=ClosedTarget)
