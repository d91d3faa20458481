"""Taking deliveries for the pool: each is claimed by one daemon, in the order of their time, and fairly."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import LiteralString, TypeVar
from uuid import UUID

from attrs import frozen

from cueapi.domain.attempt import Delivery, webhook_body
from cueapi.domain.outcome import Mode
from cueapi.domain.retry import Retry
from cueapi.domain.signature import key_of
from cueapi.storage.database import Executor, Row

T = TypeVar("T")

LONGEST = 604_800.0
"""Seconds that a cue's own deadlines may have."""


class ClaimedRow(Row):
    """
    A claimed execution with what its request needs; *payload*, the headers and the deadlines are JSON.

    Beside it stand the counters of the claim. Where nothing was claimed there is one row of these alone.
    """

    id: UUID
    cue_id: str
    user_id: int
    claim: UUID
    attempts: int
    payload: str
    lost_claims: int
    scheduled_for: datetime | None
    name: str | None
    callback_url: str | None
    callback_method: str
    callback_headers: str
    callback_host: str | None
    max_attempts: int
    backoff_minutes: list[int]
    verification: str
    timeout_seconds: str | None
    outcome_deadline_seconds: str | None
    webhook_secret: str | None
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
# A row that a hand has damaged must not make the statement fall for the others: numbers are kept within bounds, what
# a datetime cannot hold is null, and who has no cue any more is claimed, too; `to_delivery` refuses them one by one.
#
# Guarantees: a row is claimed by one daemon (skip locked), never more for a host or an account than it has places for,
# in the order of their time; nothing by a daemon that another has seen without its lock. A try begins here: `attempts`
# counts it, the first one counts for the month. What a hand has left without its execution goes. There is always a
# row, which tells how many were seen and whether others were passed over.
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
       set status = 'delivering', attempts = least(e.attempts + 1, 32767), claim = gen_random_uuid(),
           started_at = coalesce(e.started_at, now()), last_attempt_at = now(), updated_at = clock_timestamp()
      from picked p
     where e.id = p.execution_id
 returning e.id, e.cue_id, e.user_id, e.claim, e.attempts, e.scheduled_for, e.payload, e.lost_claims,
           e.started_at = now() as first
), claimed as (
    update outbox o
       set claimed_by = $1,
           lease_until = now() + interval '60 seconds'
                       + interval '1 second'
                       * least(coalesce(case when jsonb_typeof(c.delivery -> 'timeout_seconds') = 'number'
                                             then (c.delivery ->> 'timeout_seconds')::float8 end, $9), 604800)
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
       case when b.scheduled_for between '0001-01-02' and '9999-12-30' then b.scheduled_for end as scheduled_for,
       case when c.deleted_at is null then c.name end as name, c.callback_url,
       c.callback_method, c.callback_headers, c.callback_host,
       c.max_attempts, c.backoff_minutes, c.verification,
       c.delivery ->> 'timeout_seconds' as timeout_seconds,
       c.delivery ->> 'outcome_deadline_seconds' as outcome_deadline_seconds,
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


# Nothing of the row is looked at but its id.
QUARANTINE = """
with aside as (
    update executions
       set status = case when finished_at is null then 'failed' else status end,
           error_message = case when finished_at is null then $2 else error_message end,
           finished_at = coalesce(finished_at, now()), claim = null, lease_until = null, outcome_deadline_at = null,
           updated_at = clock_timestamp()
     where id = $1
       and (finished_at is null or outcome_deadline_at is not null)
)
delete from outbox where execution_id = $1
"""


async def quarantine(db: Executor, execution: UUID, reason: str) -> None:
    """End an execution whose row cannot be worked with."""
    await db.execute(QUARANTINE, execution, reason)


def to_delivery(row: ClaimedRow, *, timeout: float) -> Delivery:
    """A claimed row as a delivery. Raises ValueError or TypeError where a hand has damaged the row."""
    name = _present(row.name, "There is no such cue any more.")
    scheduled_for = _present(row.scheduled_for, "The time that it was scheduled for is none.")
    return Delivery(
        execution_id=row.id,
        cue_id=row.cue_id,
        cue_name=name,
        user_id=row.user_id,
        claim=row.claim,
        attempt=row.attempts,
        scheduled_for=scheduled_for,
        method=row.callback_method,
        url=_present(row.callback_url, "The cue has no callback URL."),
        headers=_headers(row.callback_headers),
        body=webhook_body(
            execution_id=row.id,
            cue_id=row.cue_id,
            name=name,
            scheduled_for=scheduled_for,
            attempt=row.attempts,
            payload=row.payload,
        ),
        secrets=_secrets(_present(row.webhook_secret, "There is no such account."), row.previous_secret),
        timeout=_seconds(row.timeout_seconds) or timeout,
        host=_present(row.callback_host, "The cue has no callback host."),
        retry=Retry(row.max_attempts, _pauses(row.backoff_minutes)),
        verification=Mode(row.verification),
        outcome_deadline=_seconds(row.outcome_deadline_seconds),
        lost_claims=row.lost_claims,
    )


def _headers(text: str) -> dict[str, str]:
    headers = json.loads(text)
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise ValueError("The callback's headers are no object of texts.")
    return headers


def _pauses(minutes: list[int]) -> tuple[int, ...]:
    if not minutes:
        raise ValueError("The retry has no pauses.")
    return tuple(minutes)


def _secrets(present: str, previous: str | None) -> tuple[str, ...]:
    secrets = (present,) if previous is None else (present, previous)
    if not all(map(key_of, secrets)):
        raise ValueError("The account has an empty webhook secret.")
    return secrets


def _seconds(text: str | None) -> float | None:
    if text is not None and not 0 < float(text) <= LONGEST:
        raise ValueError(f"A delivery cannot take {text} seconds.")
    return None if text is None else float(text)


def _present(value: T | None, otherwise: str) -> T:
    if value is None:
        raise ValueError(otherwise)
    return value
