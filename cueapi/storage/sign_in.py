"""Signing in: device codes, the links that approve them, one-time session tokens."""

import hashlib
from datetime import datetime

from cueapi.storage.database import Executor, Row, fetch_value

LIFETIME = 900
"""Seconds for which a device code serves, and its link with it."""

TOKEN_LIFETIME = 600
"""Seconds in which a session token is exchanged for a session."""


def digest(token: str) -> bytes:
    """What of a token is kept to find it by: its SHA-256."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


# A code that has expired may be taken again.
ADD = """
insert into device_codes as d (code, status, expires_at)
values ($1, 'pending', now() + $2::float8 * interval '1 second')
    on conflict (code) do update
   set status = 'pending', email = null, user_id = null, new_user = false, token_hash = null,
       expires_at = excluded.expires_at, created_at = now()
 where d.expires_at <= now()
"""


async def add(db: Executor, code: str) -> bool:
    """Begin a sign-in; False where the code is in use."""
    return await db.execute(ADD, code, LIFETIME) > 0


class DeviceCodeRow(Row):
    """Where the sign-in of a device code stands."""

    status: str
    email: str | None
    expired: bool


SHOW = "select status, email, expires_at <= now() as expired from device_codes where code = $1"


async def show(db: Executor, code: str) -> DeviceCodeRow | None:
    """Where the sign-in of a code stands."""
    return await db.fetch_one(SHOW, code, row=DeviceCodeRow)


# Asked again, before it was approved, the former link is dead.
SEND = """
update device_codes
   set status = 'email_sent', email = $2, token_hash = $3
 where code = $1
   and status in ('pending', 'email_sent')
   and expires_at > now()
"""


async def send(db: Executor, code: str, *, email: str, token_hash: bytes) -> bool:
    """Note where the link goes, and what opens it; False where the code cannot be used (any more)."""
    return await db.execute(SEND, code, email, token_hash) > 0


LINKED = "select status, email, expires_at <= now() as expired from device_codes where code = $1 and token_hash = $2"


async def linked(db: Executor, code: str, *, token_hash: bytes) -> DeviceCodeRow | None:
    """The sign-in that a link is for; None where there is no such link."""
    return await db.fetch_one(LINKED, code, token_hash, row=DeviceCodeRow)


# Of any number of clicks, one approves.
APPROVE = """
update device_codes
   set status = 'approved'
 where code = $1
   and token_hash = $2
   and status = 'email_sent'
   and expires_at > now()
returning email
"""


async def approve(db: Executor, code: str, *, token_hash: bytes) -> str | None:
    """The address that the link was sent to; None where it cannot be used (any more)."""
    return await fetch_value(db, APPROVE, code, token_hash, kind=str)


ASSIGN = "update device_codes set user_id = $2, new_user = $3 where code = $1"


async def assign(db: Executor, code: str, *, user: int, new: bool) -> None:
    """Whose sign-in it is."""
    await db.execute(ASSIGN, code, user, new)


class ClaimedSignIn(Row):
    """An approved sign-in: its user and address, and the encrypted copy of the user's key."""

    user_id: int
    email: str
    encrypted: bytes | None


# Of any number of polls, one gets it. $2 the digest of the session token, $3 its lifetime in seconds.
CLAIM = """
with claimed as (
    update device_codes
       set status = 'claimed'
     where code = $1
       and status = 'approved'
       and expires_at > now()
 returning user_id, email
), token as (
    insert into session_tokens (hash, user_id, expires_at)
    select $2, user_id, now() + $3::float8 * interval '1 second' from claimed
)
select c.user_id, c.email, k.encrypted
  from claimed c
  left join api_keys k on k.user_id = c.user_id and k.own and k.rotated_at is null
"""


async def claim(db: Executor, code: str, *, token_hash: bytes) -> ClaimedSignIn | None:
    """Take an approved sign-in, once."""
    return await db.fetch_one(CLAIM, code, token_hash, TOKEN_LIFETIME, row=ClaimedSignIn)


class ExchangedToken(Row):
    """The user whose session a token opens, and the moment of it."""

    id: int
    email: str
    now: datetime


EXCHANGE = """
with taken as (
    delete from session_tokens where hash = $1 and expires_at > now() returning user_id
)
select u.id, u.email, now() as now
  from taken t
  join users u on u.id = t.user_id and u.revoked_at is null
"""


async def exchange(db: Executor, token_hash: bytes) -> ExchangedToken | None:
    """Take a session token, once; None where it opens no session."""
    return await db.fetch_one(EXCHANGE, token_hash, row=ExchangedToken)


MOMENT = "select clock_timestamp() as now"


async def moment(db: Executor) -> datetime:
    """The present moment, within a transaction as well."""
    now = await fetch_value(db, MOMENT, kind=datetime)
    assert now is not None
    return now
