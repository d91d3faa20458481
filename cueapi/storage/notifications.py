"""Notices: alert webhooks, failure webhooks and mails that are still to go out, each with attempts of its own."""

import json
from collections.abc import Mapping
from typing import Any, LiteralString
from uuid import UUID

from attrs import field, frozen

from cueapi.storage.daemons import HOLDER_LIVES
from cueapi.storage.database import Executor, Row, fetch_value

MAX_ATTEMPTS = 3
PAUSES = (60.0, 300.0)
"""Seconds after the first and the second attempt."""


class NotificationRow(Row):
    """A claimed notification with what it needs of its user (0: no account); *content* is JSON."""

    id: int
    kind: str
    user_id: int
    url: str | None
    content: str
    claim: UUID
    attempts: int
    email: str | None
    secret: str | None


# $1 daemon, $2 room, $3/$4 users under way and how many, $5 the most for one user, $6 seconds of a lease.
#
# Guarantees: a notice is held by one daemon at a time (skip locked). One whose daemon is gone, or whose lease ran out,
# is taken again as the same attempt. Secrets are read here, and stand in no row of ours.
CLAIM: LiteralString = (
    """
with busy as (select * from unnest($3::bigint[], $4::int[]) as b(user_id, busy)),
ready as materialized (
    select n.id, coalesce(n.user_id, 0) as user_id, n.ready_at, n.claim is not null as lost
      from notifications n
     where n.ready_at <= now()
       and (n.claim is null or n.lease_until < now() or not """
    + HOLDER_LIVES
    + """)
       and coalesce(n.user_id, 0) <> all (select user_id from busy where busy >= $5)
     order by n.ready_at, n.id
     limit greatest($2 * 4, 64)
       for update of n skip locked
), ranked as (
    select r.id, r.ready_at, r.lost,
           row_number() over (partition by r.user_id order by r.ready_at, r.id) + coalesce(b.busy, 0) as place
      from ready r
      left join busy b on b.user_id = r.user_id
), picked as materialized (
    select id, lost from ranked where place <= $5 order by ready_at, id limit $2
), taken as (
    update notifications n
       set claim = gen_random_uuid(), claimed_by = $1, lease_until = now() + $6::float8 * interval '1 second',
           attempts = n.attempts + case when p.lost then 0 else 1 end
      from picked p
     where n.id = p.id
 returning n.id, n.kind, n.user_id, n.url, n.content, n.claim, n.attempts
)
select t.id, t.kind, coalesce(t.user_id, 0) as user_id, t.url, t.content, t.claim, t.attempts, u.email,
       case t.kind when 'alert_webhook' then u.alert_webhook_secret when 'failure_webhook' then u.webhook_secret end
           as secret
  from taken t
  left join users u on u.id = t.user_id
"""
)


@frozen
class Notification:
    """Something to be told, claimed for one attempt. *user* is 0 where its recipient has no account."""

    id: int
    kind: str
    user: int
    claim: UUID
    attempt: int
    content: Mapping[str, Any]
    url: str | None = None
    email: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)


@frozen
class NotificationHeadroom:
    """How many may be claimed now, and what is under way by user."""

    places: int
    users: Mapping[int, int]
    per_user: int


async def claim(db: Executor, *, daemon: int, headroom: NotificationHeadroom, lease: float) -> list[Notification]:
    """Begin an attempt of each notice that is ready and has a place."""
    rows = await db.fetch(
        CLAIM, daemon, headroom.places, list(headroom.users), list(headroom.users.values()), headroom.per_user, lease,
        row=NotificationRow,
    )  # fmt: skip
    return [_notification(row) for row in rows]


def _notification(row: NotificationRow) -> Notification:
    return Notification(
        id=row.id,
        kind=row.kind,
        user=row.user_id,
        claim=row.claim,
        attempt=row.attempts,
        content=json.loads(row.content),
        url=row.url,
        email=row.email,
        secret=row.secret,
    )


REMOVE = "delete from notifications where id = $1 and claim = $2"


async def remove(db: Executor, notice: Notification) -> None:
    """It was told, or never will be."""
    await db.execute(REMOVE, notice.id, notice.claim)


PUT_OFF = """
update notifications
   set claim = null, claimed_by = null, lease_until = null, ready_at = now() + $3::float8 * interval '1 second'
 where id = $1
   and claim = $2
"""


async def put_off(db: Executor, notice: Notification, pause: float) -> None:
    """Its next attempt begins in *pause* seconds at the earliest."""
    await db.execute(PUT_OFF, notice.id, notice.claim, pause)


AHEAD = "select extract(epoch from min(ready_at) - now())::float8 as due_in from notifications where claim is null"


async def ahead(db: Executor) -> float | None:
    """Seconds until the next one is ready; None where none waits."""
    return await fetch_value(db, AHEAD, kind=float)


# $1 who it goes to, where they have an account; $2 what it says.
ADD_SIGN_IN_MAIL = "insert into notifications (kind, user_id, content) values ('sign_in_mail', $1, $2)"


async def add_sign_in_mail(db: Executor, *, user: int | None, content: Mapping[str, str]) -> None:
    """Have a sign-in mail sent."""
    await db.execute(ADD_SIGN_IN_MAIL, user, json.dumps(content))
