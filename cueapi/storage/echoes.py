"""Echoes: what was sent to a token, for a while."""

from datetime import datetime
from uuid import UUID

from cueapi.storage.database import Executor, Row

# The last one wins.
STORE = """
insert into echoes (token, payload, headers, received_at, expires_at)
values ($1, $2, $3, now(), now() + interval '5 minutes')
    on conflict (token) do update
   set payload = excluded.payload, headers = excluded.headers, received_at = excluded.received_at,
       expires_at = excluded.expires_at
"""


async def store(db: Executor, token: str, *, payload: str, headers: bytes) -> None:
    """Keep *payload*, which is JSON, and encrypted *headers* for five minutes."""
    await db.execute(STORE, token, payload, headers)


class EchoRow(Row):
    """What was sent to a token last; *payload* is JSON, *headers* are encrypted."""

    payload: str
    headers: bytes
    received_at: datetime


SHOW = "select payload, headers, received_at from echoes where token = $1 and expires_at > now()"


async def show(db: Executor, token: str) -> EchoRow | None:
    """What was sent last; None where nothing was, or it is too long ago."""
    return await db.fetch_one(SHOW, token, row=EchoRow)


class SigningSecret(Row):
    """What a user's webhooks are signed with, encrypted."""

    user_id: int
    webhook_secret: bytes


# $2 the end of the URL that the delivery must be under way to.
SECRET = """
select u.id as user_id, u.webhook_secret
  from executions e
  join cues c on c.id = e.cue_id
  join users u on u.id = e.user_id
 where e.id = $1
   and e.status = 'delivering'
   and e.transport = 'webhook'
   and position($2 in c.callback_url) > 0
"""


async def secret_of_delivery(db: Executor, execution: UUID, *, path: str) -> SigningSecret | None:
    """What a delivery that is under way to *path* right now is signed with; None where there is no such delivery."""
    return await db.fetch_one(SECRET, execution, path, row=SigningSecret)
