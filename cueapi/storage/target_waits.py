"""What waits for targets that are down: claimed one by one, freed, or failed where it has waited for too long."""

from datetime import datetime
from typing import LiteralString
from uuid import UUID

from cueapi.storage.database import Executor, Row, fetch_value
from cueapi.storage.outbox import (
    AttemptTimes,
    ClaimedDeliveries,
    ClaimedRow,
    DeliveryClaim,
    Headroom,
    claim_parameters,
    claimed_of,
)
from cueapi.storage.statements import load
from cueapi.storage.targets import TargetKey

# What waits for one target, whether that is down or has closed, as claim_deliveries.sql takes it.
WAITS: LiteralString = """
           claimed_by is null
           and waits_until is not null
           and user_id = :user
           and host = :host
           and host <> all (select host from busy_hosts where busy >= :per_host)
           and user_id <> all (select user_id from busy_users where busy >= :per_user)
           and
-- include: unheld
           and (:only::uuid is null or execution_id = :only)"""

CLAIM_WAITING = load(
    "claim_deliveries",
    (*DeliveryClaim._fields, "user", "host"),
    claimable=WAITS,
    down_targets="select null::bigint as user_id, null::text as host where false",
)


async def claim_waiting(
    db: Executor, target: TargetKey, *, daemon: int, headroom: Headroom, times: AttemptTimes
) -> ClaimedDeliveries:
    """As `claim_deliveries`, of what waits for *target*, the longest waiting first."""
    parameters = claim_parameters(daemon, headroom, times, headroom.places)
    return claimed_of(await db.fetch(CLAIM_WAITING, *parameters, *target, row=ClaimedRow))


LONGEST_WAITING = """
select execution_id
  from outbox
 where user_id = $1 and host = $2 and claimed_by is null and waits_until is not null
 order by ready_at
 limit 1
"""


async def longest_waiting(db: Executor, target: TargetKey) -> UUID | None:
    """The execution that has waited for *target* the longest."""
    return await fetch_value(db, LONGEST_WAITING, *target, kind=UUID)


# In the order of their time, so many at once: what waits for a target that is no longer held.
FREE = """
with freed as materialized (
    select user_id, host
      from awaited_targets a
     where not exists (select from held_targets h where h.user_id = a.user_id and h.host = a.host)
)
update outbox
   set waits_until = null
 where execution_id in
       (select o.execution_id
          from freed f
          join outbox o on o.user_id = f.user_id and o.host = f.host
         where o.claimed_by is null
           and o.waits_until is not null
         order by o.ready_at
         limit $1
           for update of o skip locked)
"""


async def free_waiting(db: Executor, most: int) -> int:
    """Let *most* deliveries at once be claimed again whose targets are no longer held; how many there were."""
    return await db.execute(FREE, most)


class Overdue(Row):
    """An execution that has waited for its target for as long as it may."""

    execution_id: UUID


OVERDUE = """
select execution_id
  from outbox
 where claimed_by is null
   and waits_until is not null
   and waits_until <= now()
   and user_id <> all (select user_id from holds
                        where ended_at is null and mode = 'everything' and (until is null or until > now()))
 order by waits_until
 limit $1
"""


async def overdue(db: Executor, most: int) -> list[UUID]:
    """Executions that have waited for too long, at most so many."""
    return [row.execution_id for row in await db.fetch(OVERDUE, most, row=Overdue)]


class BegunAttempt(Row):
    """An attempt that is not sent: its claim, what the cue says of retries, and the target that it has waited for."""

    id: UUID
    claim: UUID
    attempts: int
    max_attempts: int
    backoff_minutes: list[int]
    host: str
    since: datetime
    reason: str


BEGIN_OVERDUE = load("begin_overdue", ("executions",))


async def begin_overdue(tx: Executor, executions: list[UUID]) -> list[BegunAttempt]:
    """The attempts of those *executions* that still wait; each must fail within *tx*."""
    return await tx.fetch(BEGIN_OVERDUE, executions, row=BegunAttempt)
