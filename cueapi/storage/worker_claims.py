"""Claims of workers: of any number of callers, one wins."""

from datetime import datetime
from typing import LiteralString, NamedTuple
from uuid import UUID

from attrs import frozen

from cueapi.domain.execution import Fence, Status
from cueapi.domain.reporting import ExecutionState
from cueapi.domain.retry import Retry
from cueapi.storage.database import Executor, Row, fetch_value
from cueapi.storage.statements import load_both
from cueapi.storage.verification_rules import to_rules


class Work(Row):
    """An execution that a worker can claim; *payload* is JSON."""

    id: UUID
    cue_id: str
    cue_name: str
    task: str | None
    scheduled_for: datetime
    payload: str
    attempts: int


class ClaimedWork(Work):
    """An execution that a worker has just claimed, with what a report on it is decided by."""

    claim: UUID
    ready_at: datetime
    outcome_attempt: int | None
    max_attempts: int
    backoff_minutes: list[int]
    verification: str
    assertions: str | None
    verification_on_failed: str
    cue_revision: int


def to_claimed_state(row: ClaimedWork, worker: str) -> ExecutionState:
    """What *worker* has claimed, as a report finds it while neither execution nor cue have changed."""
    outcome = -1 if row.outcome_attempt is None else row.outcome_attempt
    return ExecutionState(
        fence=Fence(row.id, row.claim, row.attempts, Status.DELIVERING, outcome, row.cue_revision),
        transport="worker",
        rules=to_rules(row),
        retry=Retry(row.max_attempts, tuple(row.backoff_minutes)),
        held_by=worker,
        ready_at=row.ready_at,
    )


@frozen
class LeaseTerms:
    """For how long a worker may hold an execution: seconds of a lease, and until an outcome must be there."""

    lease: float
    deadline: float


@frozen
class ClaimRequest:
    """What a worker asks for: at most so many, of its handlers (None: those of its last heartbeat), of one task."""

    user: int
    worker: str
    most: int
    handlers: list[str] | None = None
    task: str | None = None
    groups: tuple[str, ...] | None = None
    """Those that the key is limited to."""


class WorkClaim(NamedTuple):
    """The parameters of a claim; lease and deadline are seconds."""

    user: int
    worker: str
    handlers: list[str] | None
    task: str | None
    most: int
    lease: float
    deadline: float


CLAIM_WORK, CLAIM_WORK_IN_GROUPS = load_both("claim_work", WorkClaim._fields)


async def claim_work(db: Executor, request: ClaimRequest, terms: LeaseTerms) -> list[ClaimedWork]:
    """Claim what is asked for, the oldest first."""
    parameters = WorkClaim(
        user=request.user,
        worker=request.worker,
        handlers=request.handlers,
        task=request.task,
        most=request.most,
        lease=terms.lease,
        deadline=terms.deadline,
    )
    if request.groups is None:
        return await db.fetch(CLAIM_WORK, *parameters, row=ClaimedWork)
    return await db.fetch(CLAIM_WORK_IN_GROUPS, *parameters, list(request.groups), row=ClaimedWork)


# No hold of the account stops it.
CLAIMABLE_NOW: LiteralString = """
   and (e.forced
        or not exists (select from holds h
                        where h.user_id = $1
                          and h.ended_at is null
                          and (e.deferred or h.mode = 'everything' and (h.until is null or h.until > now()))))
"""

# As CLAIM_WORK, for the one execution $2; the conditions decide which of many callers wins.
CLAIM_ONE: LiteralString = (
    """
with begun as (
    update executions e
       set status = 'delivering', attempts = e.attempts + 1, claim = gen_random_uuid(),
           claimed_by_worker = $3,
           claimed_at = now(), lease_until = now() + $4::float8 * interval '1 second',
           outcome_deadline_at = now() + interval '1 second' * coalesce(c.outcome_deadline_seconds, $5::float8),
           started_at = coalesce(e.started_at, now()), last_attempt_at = now(), deferred = false,
           updated_at = clock_timestamp()
      from cues c
     where e.id = $2
       and e.user_id = $1
       and e.transport || '' = 'worker'
       and e.status || '' in ('pending', 'retrying')
       and e.ready_at <= now()
       and c.id = e.cue_id
       and c.deleted_at is null"""
    + CLAIMABLE_NOW
    + """
 returning e.attempts, e.started_at = now() as first
), counted as (
    insert into usage (user_id, month, executions)
    select $1, date_trunc('month', now() at time zone 'utc')::date, 1 from begun where first
        on conflict (user_id, month) do update set executions = usage.executions + 1
)
select attempts from begun
"""
)


async def claim_one(db: Executor, *, user: int, execution: UUID, worker: str, terms: LeaseTerms) -> int | None:
    """Claim this execution, for the attempt that is returned; None where it cannot be claimed (any more)."""
    return await fetch_value(db, CLAIM_ONE, user, execution, worker, terms.lease, terms.deadline, kind=int)


# Everything claimable, the oldest first, as a worker that polls sees it.
CLAIMABLE: LiteralString = (
    """
select e.id, e.cue_id, c.name as cue_name, e.task, e.scheduled_for, e.payload, e.attempts
  from executions e
  join cues c on c.id = e.cue_id and c.deleted_at is null
 where e.user_id = $1
   and e.transport = 'worker'
   and e.status in ('pending', 'retrying')
   and e.ready_at <= now()"""
    + CLAIMABLE_NOW
    + """
 order by e.ready_at, e.id
 limit $2
"""
)

CLAIMABLE_TASK: LiteralString = (
    """
select e.id, e.cue_id, c.name as cue_name, e.task, e.scheduled_for, e.payload, e.attempts
  from executions e
  join cues c on c.id = e.cue_id and c.deleted_at is null
 where e.user_id = $1
   and e.task = $3
   and e.transport = 'worker'
   and e.status in ('pending', 'retrying')
   and e.ready_at <= now()"""
    + CLAIMABLE_NOW
    + """
 order by e.ready_at, e.id
 limit $2
"""
)

CLAIMABLE_AGENT: LiteralString = (
    """
select e.id, e.cue_id, c.name as cue_name, e.task, e.scheduled_for, e.payload, e.attempts
  from executions e
  join cues c on c.id = e.cue_id and c.deleted_at is null
 where e.user_id = $1
   and e.agent = $3
   and ($4::text is null or e.task = $4)
   and e.transport = 'worker'
   and e.status in ('pending', 'retrying')
   and e.ready_at <= now()"""
    + CLAIMABLE_NOW
    + """
 order by e.ready_at, e.id
 limit $2
"""
)

CLAIMABLE_IN_GROUPS: LiteralString = (
    """
select e.id, e.cue_id, c.name as cue_name, e.task, e.scheduled_for, e.payload, e.attempts
  from executions e
  join cues c on c.id = e.cue_id and c.deleted_at is null
 where e.user_id = $1
   and ($3::text is null or e.agent = $3)
   and ($4::text is null or e.task = $4)
   and c.group_name = any ($5::text[])
   and e.transport = 'worker'
   and e.status in ('pending', 'retrying')
   and e.ready_at <= now()"""
    + CLAIMABLE_NOW
    + """ order by e.ready_at, e.id
 limit $2
"""
)


async def claimable(
    db: Executor,
    *,
    user: int,
    task: str | None = None,
    agent: str | None = None,
    groups: tuple[str, ...] | None = None,
    most: int,
) -> list[Work]:
    """
    What a worker could claim now; the filters work before the list is cut.

    *groups* are those that the key is limited to.
    """
    if groups is not None:
        return await db.fetch(CLAIMABLE_IN_GROUPS, user, most, agent, task, list(groups), row=Work)
    if agent is not None:
        return await db.fetch(CLAIMABLE_AGENT, user, most, agent, task, row=Work)
    if task is None:
        return await db.fetch(CLAIMABLE, user, most, row=Work)
    return await db.fetch(CLAIMABLE_TASK, user, most, task, row=Work)


# Only the holder's; $3 is null for a worker that does not give its name.
EXTEND_LEASE = """
update executions e
   set lease_until = now() + $4::float8 * interval '1 second', updated_at = clock_timestamp()
 where e.id = $2
   and e.user_id = $1
   and e.transport || '' = 'worker'
   and e.status || '' = 'delivering'
   and ($3::text is null or e.claimed_by_worker = $3)
   and exists (select from cues c where c.id = e.cue_id and c.deleted_at is null)
returning e.lease_until, e.attempts
"""


class ExtendedLease(Row):
    """Until when a claim is held now, and for which attempt."""

    lease_until: datetime
    attempts: int


async def extend_lease(
    db: Executor, *, user: int, execution: UUID, worker: str | None, lease: float
) -> ExtendedLease | None:
    """The claim as it is held now; None where this worker does not hold it."""
    return await db.fetch_one(EXTEND_LEASE, user, execution, worker, lease, row=ExtendedLease)
