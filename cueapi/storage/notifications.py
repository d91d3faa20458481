"""Notifications: alert webhooks, failure webhooks and mails that are still to be sent, each with its own attempts."""

import json
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from attrs import field, frozen

from cueapi.storage.database import Executor, Row, fetch_value
from cueapi.storage.statements import load

MAX_ATTEMPTS = 3
PAUSES = (60.0, 300.0)
"""Seconds after the first and the second attempt."""


class NotificationRow(Row):
    """A claimed notification with what it needs of its user (0: no account); *content* is JSON, *secret* encrypted."""

    id: int
    kind: str
    user_id: int
    url: str | None
    content: str
    claim: UUID
    attempts: int
    email: str | None
    secret: bytes | None
    incident_id: UUID | None
    is_old: bool
    channel_id: UUID | None
    channel_kind: str | None
    topic: str | None
    address: str | None
    config: bytes | None
    is_enabled: bool | None
    is_failing: bool | None


class NotificationClaim(NamedTuple):
    """The parameters of a claim; the lease is seconds."""

    daemon: int
    places: int
    users: list[int]
    user_counts: list[int]
    per_user: int
    lease: float
    under_way: list[UUID]


CLAIM = load("claim_notifications", NotificationClaim._fields)


@frozen
class ClaimedChannel:
    """
    The channel that a message goes to, as its row stood when that was claimed.

    *config* is encrypted JSON with what is secret. *is_failing*: it has not taken the last one.
    """

    id: UUID
    kind: str
    topic: str | None
    address: str | None = field(repr=False)
    config: bytes = field(repr=False)
    is_enabled: bool
    is_failing: bool


@frozen
class Notification:
    """A notification claimed for one attempt. *user* is 0 where its recipient has no account."""

    id: int
    kind: str
    user: int
    claim: UUID
    claimed_at: float
    """In seconds of a clock that nothing sets: from before the claim was asked for."""

    attempt: int
    content: Mapping[str, Any]
    url: str | None = None
    email: str | None = field(default=None, repr=False)
    secret: bytes | None = field(default=None, repr=False)
    incident: UUID | None = None
    is_old: bool = False
    """Whether it was written more than an hour ago."""
    channel: ClaimedChannel | None = None


@frozen
class NotificationHeadroom:
    """How many may be claimed now, what is under way by user, and under which claims."""

    places: int
    users: Mapping[int, int]
    per_user: int
    claims: Collection[UUID] = ()


async def claim(
    db: Executor, *, daemon: int, headroom: NotificationHeadroom, lease: float, claimed_at: float
) -> list[Notification]:
    """Begin an attempt of each notification that is ready and has a free slot, *claimed_at* at the earliest."""
    parameters = NotificationClaim(
        daemon=daemon,
        places=headroom.places,
        users=list(headroom.users),
        user_counts=list(headroom.users.values()),
        per_user=headroom.per_user,
        lease=lease,
        under_way=list(headroom.claims),
    )
    rows = await db.fetch(CLAIM, *parameters, row=NotificationRow)
    return [_notification(row, claimed_at) for row in rows]


def _notification(row: NotificationRow, claimed_at: float) -> Notification:
    return Notification(
        id=row.id,
        kind=row.kind,
        user=row.user_id,
        claim=row.claim,
        claimed_at=claimed_at,
        attempt=row.attempts,
        content=json.loads(row.content),
        url=row.url,
        email=row.email,
        secret=row.secret,
        incident=row.incident_id,
        is_old=row.is_old,
        channel=_channel(row),
    )


def _channel(row: NotificationRow) -> ClaimedChannel | None:
    if row.channel_id is None or row.config is None:
        return None
    return ClaimedChannel(
        row.channel_id, row.channel_kind or "", row.topic, row.address, row.config, bool(row.is_enabled),
        bool(row.is_failing),
    )  # fmt: skip


# $3 seconds. Neither beyond its lease nor by a daemon that another has seen without its lock: it may be claimed again
# at any moment.
RENEW = """
update notifications n
   set lease_until = now() + $3::float8 * interval '1 second'
 where n.id = $1
   and n.claim = $2
   and n.lease_until > now()
   and not exists (select from daemons d where d.number = n.claimed_by and d.free_since is not null)
"""


async def renew(db: Executor, notification: Notification, lease: float) -> bool:
    """True where that claim still stands; its lease counts from now on."""
    return await db.execute(RENEW, notification.id, notification.claim, lease) > 0


REMOVE = "delete from notifications where id = $1 and claim = $2"


async def remove(db: Executor, notification: Notification) -> None:
    """Delete a notification that was sent, or is given up."""
    await db.execute(REMOVE, notification.id, notification.claim)


# As if the attempt had not begun.
RELEASE_HELD = """
update notifications
   set claim = null, claimed_by = null, lease_until = null, attempts = attempts - 1
 where claimed_by = any ($1::int[])
   and lease_until < now()
"""


async def release_held(db: Executor, daemons: Collection[int]) -> int:
    """Let others claim what these daemons, which show no life, have held for too long; how many."""
    return await db.execute(RELEASE_HELD, list(daemons))


PUT_OFF = """
update notifications
   set claim = null, claimed_by = null, lease_until = null, ready_at = now() + $3::float8 * interval '1 second',
       timed_at = now()
 where id = $1
   and claim = $2
"""


async def put_off(db: Executor, notification: Notification, pause: float) -> None:
    """Its next attempt begins in *pause* seconds at the earliest."""
    await db.execute(PUT_OFF, notification.id, notification.claim, pause)


RELEASE = """
update notifications
   set claim = null, claimed_by = null, lease_until = null, ready_at = now() + $3::float8 * interval '1 second',
       timed_at = now(), attempts = attempts - 1
 where id = $1
   and claim = $2
"""


async def release(db: Executor, notification: Notification, pause: float) -> None:
    """The attempt was not made: it is made in *pause* seconds at the earliest."""
    await db.execute(RELEASE, notification.id, notification.claim, pause)


# What is ready already waits for a place, or for one before it, whose end wakes the notifier.
AHEAD = """
select extract(epoch from ready_at - now())::float8 as due_in
  from notifications
 where claim is null
   and not held
   and ready_at > now()
 order by ready_at
 limit 1
"""


async def ahead(db: Executor) -> float | None:
    """Seconds until the next one comes to be ready; None where none is to come."""
    return await fetch_value(db, AHEAD, kind=float)


# $1 the kind, $2 the recipient's account, or null; $3 the content.
ADD_MAIL = "insert into notifications (kind, user_id, content) values ($1, $2, $3)"


async def add_mail(db: Executor, kind: str, *, user: int | None, content: Mapping[str, str]) -> None:
    """Have a mail sent: *content* has its recipient."""
    await db.execute(ADD_MAIL, kind, user, json.dumps(content))


# $2 what has happened, $3 where that came from, $4 the address (null: the account's), $5 the name of a key. Only where
# the account's address is verified; at most ten an hour.
ADD_NOTICE = """
insert into notifications (kind, user_id, content)
select 'account_mail', id,
       json_build_object('to', coalesce($4::text, email), 'what', $2::text, 'from', $3::text, 'at', iso(now()),
                         'name', $5::text)
  from users
 where id = $1
   and email_verified_at is not null
   and count_mail(id, 'account_mail') is not null
"""


async def add_notice(
    db: Executor, *, user: int, what: str, origin: str, to: str | None = None, name: str | None = None
) -> None:
    """
    Have the owner told by mail of a change of the account.

    *to* is another address than the account's; *name* that of the key which it concerns.
    """
    await db.execute(ADD_NOTICE, user, what, origin, to, name)
