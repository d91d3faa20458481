"""Taking deliveries for the pool: each is claimed by one daemon, in the order of their time, and fairly."""

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime
from math import inf
from typing import LiteralString, NamedTuple
from uuid import UUID

from attrs import evolve, frozen

from cueapi.storage.database import Executor, Row, fetch_value
from cueapi.storage.statements import load


class ClaimedRow(Row):
    """
    A claimed execution with what its request needs; *payload* is JSON, headers and secrets are encrypted.

    *name* is null where the cue is deleted; what comes from the cue may be null then. Each row has the counters of the
    claim. Where nothing was claimed there is one row with these only.
    """

    id: UUID
    cue_id: str
    user_id: int
    claim: UUID
    attempts: int
    payload: str
    lost_claims: int
    scheduled_for: datetime
    is_backfill: bool
    name: str | None
    callback_url: str
    callback_method: str
    callback_headers: bytes | None
    callback_host: str
    max_attempts: int
    backoff_minutes: list[int]
    verification: str
    assertions: str | None
    verification_on_failed: str
    timeout_seconds: int | None
    outcome_deadline_seconds: int | None
    webhook_secret: bytes
    previous_secret: bytes | None
    examined: int
    picked: int
    set_waiting: int
    skipped_locked: bool


class DeliveryClaim(NamedTuple):
    """The parameters of a claim; *only* is one execution, None: any."""

    daemon: int
    places: int
    kept: int
    hosts: list[str]
    host_counts: list[int]
    per_host: int
    users: list[int]
    user_counts: list[int]
    per_user: int
    timeout: float
    longest: float
    look_at: int
    only: UUID | None


CLAIM_DELIVERIES = load("claim_deliveries", DeliveryClaim._fields)


@frozen
class Headroom:
    """
    What the pool has places for: in all, and what is in flight by host and by account.

    Of the *places* so many are *kept* for accounts that hold none. A host's number may be below zero: so many more than
    *per_host* may be claimed for it.
    """

    places: int
    kept: int
    hosts: Mapping[str, int]
    users: Mapping[int, int]
    per_host: int
    per_user: int

    def full_hosts(self) -> list[str]:
        """The hosts without a free slot."""
        return [host for host, busy in self.hosts.items() if busy >= self.per_host]

    def without(self, claimed: Collection[ClaimedRow]) -> "Headroom":
        """What is left once *claimed* are in flight."""
        hosts, users = Counter(self.hosts), Counter(self.users)
        hosts.update(row.callback_host for row in claimed)
        users.update(row.user_id for row in claimed)
        return evolve(self, places=self.places - len(claimed), hosts=hosts, users=users)


@frozen
class AttemptTimes:
    """Seconds of an attempt: where its cue says nothing, and the most that any is given."""

    usual: float
    longest: float = inf

    def of(self, asked: float | None) -> float:
        """How long an attempt may take whose cue has *asked* for so long."""
        return min(asked or self.usual, self.longest)


@frozen
class ClaimedDeliveries:
    """
    What was claimed: the *rows* carry all that the request needs.

    Of what waits, *examined* were looked at (no more than was asked for). *skipped_locked* says that others were
    skipped since another daemon had them locked. The *orphans* had no execution, and are deleted. So many were
    *set_waiting* for targets that are down.
    """

    rows: list[ClaimedRow]
    examined: int
    skipped_locked: bool
    orphans: int = 0
    set_waiting: int = 0


async def claim_deliveries(
    db: Executor,
    *,
    daemon: int,
    headroom: Headroom,
    times: AttemptTimes,
    look_at: int,
    only: UUID | None = None,
) -> ClaimedDeliveries:
    """
    Begin an attempt of each row that is due and has a place.

    Raises Unstorable where a row makes the statement fail: nothing is claimed then.
    """
    parameters = claim_parameters(daemon, headroom, times, look_at, only)
    return claimed_of(await db.fetch(CLAIM_DELIVERIES, *parameters, row=ClaimedRow))


def claim_parameters(
    daemon: int, headroom: Headroom, times: AttemptTimes, look_at: int, only: UUID | None = None
) -> DeliveryClaim:
    """What a claim is asked with."""
    return DeliveryClaim(
        daemon=daemon,
        places=headroom.places,
        kept=headroom.kept,
        hosts=list(headroom.hosts),
        host_counts=list(headroom.hosts.values()),
        per_host=headroom.per_host,
        users=list(headroom.users),
        user_counts=list(headroom.users.values()),
        per_user=headroom.per_user,
        timeout=times.usual,
        longest=times.longest,
        look_at=look_at,
        only=only,
    )


def claimed_of(rows: list[ClaimedRow]) -> ClaimedDeliveries:
    """What the rows of a claim say."""
    claimed = [row for row in rows if row.id is not None]
    counts = rows[0]
    return ClaimedDeliveries(
        claimed, counts.examined, counts.skipped_locked, counts.picked - len(claimed), counts.set_waiting
    )


# $1 execution, $2 claim, $3 seconds of the attempt. Not by a daemon that another has seen without its lock, nor beyond
# the lease: in both cases the claim may be taken back at any moment. Nor where its account is held meanwhile.
RENEW_CLAIM = """
update outbox o
   set lease_until = now() + interval '1 second' * (60 + $3::float8)
  from executions e
 where o.execution_id = $1
   and e.id = $1
   and e.claim = $2
   and e.status = 'delivering'
   and o.lease_until > now()
   and not exists (select from daemons d where d.number = o.claimed_by and d.free_since is not null)
   and (o.forced or not is_held(o.user_id, 'everything'))
"""


async def renew_claim(db: Executor, *, execution: UUID, claim: UUID, within: float) -> bool:
    """True where that claim still stands; its lease counts from now on, for an attempt of *within* seconds."""
    return await db.execute(RENEW_CLAIM, execution, claim, within) > 0


class WaitingDelivery(Row):
    """An execution whose delivery is due."""

    execution_id: UUID


READY = """
select execution_id from outbox
 where claimed_by is null and waits_until is null and ready_at <= now()
 order by ready_at limit $1
"""


async def ready(db: Executor, look_at: int) -> list[UUID]:
    """What is due, the longest waiting first."""
    return [row.execution_id for row in await db.fetch(READY, look_at, row=WaitingDelivery)]


# What no hold stops, as in sql/claimable.sql.
UNHELD: LiteralString = """(forced or user_id <> all (select user_id from holds
                                      where ended_at is null and mode = 'everything'
                                        and (until is null or until > now())))
           and (forced or not deferred or user_id <> all (select user_id from holds where ended_at is null))"""

# $1 accounts that hold a place, $2 hosts that are full, $3 seconds. Of the first rows only: it is asked again.
WAITING_ACCOUNTS: LiteralString = (
    """
select count(distinct user_id)
  from (select user_id
          from outbox
         where claimed_by is null
           and waits_until is null
           and ready_at <= now() - $3::float8 * interval '1 second'
           and user_id <> all ($1::bigint[])
           and host <> all ($2::text[])
           and """
    + UNHELD
    + """
         order by ready_at
         limit 64) waiting
"""
)


async def waiting_accounts(db: Executor, headroom: Headroom, patience: float) -> int:
    """How many accounts hold no place, and have a delivery due for *patience* seconds that its host has room for."""
    full, holding = headroom.full_hosts(), list(headroom.users)
    return await fetch_value(db, WAITING_ACCOUNTS, holding, full, patience, kind=int) or 0


class KeptWaiting(Row):
    """A delivery that is due for a host without a free slot; *waited* for so many seconds."""

    execution_id: UUID
    host: str
    waited: float


# $1 accounts that hold a place, $2 hosts that are full, $3 seconds. Of the first rows only: it is asked again. Where
# there is one account, nothing is looked through: it is the one that holds the places.
KEPT_WAITING: LiteralString = (
    """
select distinct on (user_id) execution_id, host, extract(epoch from now() - ready_at)::float8 as waited
  from (select execution_id, user_id, host, ready_at
          from outbox
         where claimed_by is null
           and waits_until is null
           and ready_at <= now() - $3::float8 * interval '1 second'
           and user_id <> all ($1::bigint[])
           and host = any ($2::text[])
           and """
    + UNHELD
    + """
           and (user_id, host) not in (select user_id, host from held_targets)
           and exists (select from users offset 1)
         order by ready_at
         limit 64) waiting
 order by user_id, ready_at
"""
)


async def kept_waiting(db: Executor, headroom: Headroom, patience: float) -> list[KeptWaiting]:
    """Of each account that holds no place, the first delivery that is due for *patience* seconds at a full host."""
    full, holding = headroom.full_hosts(), list(headroom.users)
    return await db.fetch(KEPT_WAITING, holding, full, patience, row=KeptWaiting)
