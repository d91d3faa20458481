"""Taking deliveries for the pool: each is claimed by one daemon, in the order of their time, and fairly."""

import json
from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from attrs import evolve, frozen

from cueapi.domain.attempt import Delivery, webhook_body
from cueapi.domain.retry import Retry
from cueapi.storage.database import Executor, Row


class CueGone(Exception):
    """The cue of a claimed execution is deleted."""


class ClaimedRow(Row):
    """
    A claimed execution with what its request needs; *payload* and *callback_headers* are JSON.

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
    name: str | None
    callback_url: str
    callback_method: str
    callback_headers: str
    callback_host: str
    max_attempts: int
    backoff_minutes: list[int]
    verification: str
    timeout_seconds: int | None
    outcome_deadline_seconds: int | None
    webhook_secret: str
    previous_secret: str | None
    examined: int
    picked: int
    skipped_locked: bool


# Of the statement below: what waits, and has a place.
_CLAIMABLE: LiteralString = """
           claimed_by is null
           and ready_at <= now()
           and host <> all (select host from busy_hosts where busy >= $5)
           and user_id <> all (select user_id from busy_users where busy >= $8)
           and ($11::uuid is null or execution_id = $11)"""

# $1 daemon, $2 room in the pool, $3/$4 hosts in flight and how many, $5 most per host, $6/$7 accounts in flight and how
# many, $8 most per account, $9 default timeout, $10 how many rows to look at, $11 the one row, null: whichever.
#
# Guarantees: a row is claimed by one daemon (skip locked), never more for a host or an account than it has places for,
# in the order of their time; nothing by a daemon that another has seen without its lock. An attempt begins here:
# `attempts` counts it, the first one counts for the month. An execution whose cue is deleted is claimed, too, without a
# name: `to_delivery` refuses it. Orphaned outbox rows are deleted. The result always has at least one row, with the
# counters.
CLAIM_DELIVERIES: LiteralString = (
    """
with busy_hosts as (select * from unnest($3::text[], $4::int[]) as b(host, busy)),
busy_users as (select * from unnest($6::bigint[], $7::int[]) as b(user_id, busy)),
ready as materialized (
    select execution_id, user_id, host, ready_at
      from outbox
     where """
    + _CLAIMABLE
    + """
       and not exists (select from daemons where number = $1 and free_since is not null)
     order by ready_at
     limit $10
       for update skip locked
), ranked as (
    select r.execution_id, r.ready_at,
           row_number() over (partition by r.host order by r.ready_at) + coalesce(h.busy, 0) as host_place,
           row_number() over (partition by r.user_id order by r.ready_at) + coalesce(u.busy, 0) as user_place
      from ready r
      left join busy_hosts h on h.host = r.host
      left join busy_users u on u.user_id = r.user_id
), picked as materialized (
    select execution_id from ranked where host_place <= $5 and user_place <= $8 order by ready_at limit $2
), begun as (
    update executions e
       set status = 'delivering', attempts = e.attempts + 1, claim = gen_random_uuid(),
           started_at = coalesce(e.started_at, now()), last_attempt_at = now(), updated_at = clock_timestamp()
      from picked p
     where e.id = p.execution_id
 returning e.id, e.cue_id, e.user_id, e.claim, e.attempts, e.scheduled_for, e.payload, e.lost_claims,
           e.started_at = now() as first
), claimed as (
    update outbox o
       set claimed_by = $1,
           lease_until = now() + interval '1 second' * (60 + coalesce(c.timeout_seconds, $9::float8))
      from begun b
      left join cues c on c.id = b.cue_id
     where o.execution_id = b.id
), counted as (
    insert into usage (user_id, month, executions)
    select user_id, date_trunc('month', now() at time zone 'utc')::date, count(*)
      from begun
     where first
     group by user_id
     order by user_id
        on conflict (user_id, month) do update set executions = usage.executions + excluded.executions
), stray as (
    delete from outbox o
     using picked p
     where o.execution_id = p.execution_id
       and not exists (select from executions e where e.id = p.execution_id)
), counts as (
    select examined,
           (select count(*) from picked) as picked,
           examined < $10
               and examined < (select count(*)
                             from (select from outbox where """
    + _CLAIMABLE
    + """ limit $10) w) as skipped_locked
      from (select count(*) as examined from ready) s
)
select b.id, b.cue_id, b.user_id, b.claim, b.attempts, b.payload, b.lost_claims,
       b.scheduled_for, case when c.deleted_at is null then c.name end as name, c.callback_url,
       c.callback_method, c.callback_headers, c.callback_host,
       c.max_attempts, c.backoff_minutes, c.verification, c.timeout_seconds, c.outcome_deadline_seconds,
       u.webhook_secret,
       case when u.previous_secret_until > now() then u.previous_webhook_secret end as previous_secret,
       n.examined, n.picked, n.skipped_locked
  from counts n
  left join begun b on true
  left join cues c on c.id = b.cue_id
  left join users u on u.id = b.user_id
"""
)


@frozen
class Headroom:
    """What the pool has places for: in all, and what is in flight by host and by account."""

    places: int
    hosts: Mapping[str, int]
    users: Mapping[int, int]
    per_host: int
    per_user: int

    def without(self, claimed: Collection[ClaimedRow]) -> "Headroom":
        """What is left once *claimed* are in flight."""
        hosts = Counter(self.hosts) + Counter(row.callback_host for row in claimed)
        users = Counter(self.users) + Counter(row.user_id for row in claimed)
        return evolve(self, places=self.places - len(claimed), hosts=hosts, users=users)


@frozen
class ClaimedDeliveries:
    """
    What was claimed: the *rows* carry all that the request needs.

    Of what waits, *examined* were looked at (no more than was asked for). *skipped_locked* says that others were
    skipped since another daemon had them locked. The *orphans* had no execution, and are deleted.
    """

    rows: list[ClaimedRow]
    examined: int
    skipped_locked: bool
    orphans: int = 0


async def claim_deliveries(
    db: Executor, *, daemon: int, headroom: Headroom, within: float, look_at: int, only: UUID | None = None
) -> ClaimedDeliveries:
    """
    Begin a try of each row that is due and has a place.

    Raises Unstorable where a row makes the statement fall: nothing is claimed then.
    """
    rows = await db.fetch(
        CLAIM_DELIVERIES,
        daemon,
        headroom.places,
        list(headroom.hosts),
        list(headroom.hosts.values()),
        headroom.per_host,
        list(headroom.users),
        list(headroom.users.values()),
        headroom.per_user,
        within,
        look_at,
        only,
        row=ClaimedRow,
    )
    claimed = [row for row in rows if row.id is not None]
    counts = rows[0]
    return ClaimedDeliveries(claimed, counts.examined, counts.skipped_locked, orphans=counts.picked - len(claimed))


class WaitingDelivery(Row):
    """An execution whose delivery is due."""

    execution_id: UUID


READY = "select execution_id from outbox where claimed_by is null and ready_at <= now() order by ready_at limit $1"


async def ready(db: Executor, look_at: int) -> list[UUID]:
    """What is due, the longest waiting first."""
    return [row.execution_id for row in await db.fetch(READY, look_at, row=WaitingDelivery)]


def to_delivery(row: ClaimedRow, *, timeout: float) -> Delivery:
    """A claimed row as a delivery; raises CueGone where there is no such cue any more."""
    if row.name is None:
        raise CueGone
    secrets = (row.webhook_secret, row.previous_secret)
    return Delivery(
        execution_id=row.id,
        cue_id=row.cue_id,
        cue_name=row.name,
        user_id=row.user_id,
        claim=row.claim,
        attempt=row.attempts,
        scheduled_for=row.scheduled_for,
        method=row.callback_method,
        url=row.callback_url,
        headers=json.loads(row.callback_headers),
        body=webhook_body(
            execution_id=row.id,
            cue_id=row.cue_id,
            name=row.name,
            scheduled_for=row.scheduled_for,
            attempt=row.attempts,
            payload=row.payload,
        ),
        secrets=tuple(secret for secret in secrets if secret is not None),
        timeout=row.timeout_seconds or timeout,
        host=row.callback_host,
        retry=Retry(row.max_attempts, tuple(row.backoff_minutes)),
        verification=row.verification,
        outcome_deadline=row.outcome_deadline_seconds,
        lost_claims=row.lost_claims,
    )
