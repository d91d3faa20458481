"""What webhooks and alerts are signed with, encrypted."""

from cueapi.domain.audit import Act
from cueapi.storage.database import Executor, fetch_value

WEBHOOK_SECRET = "select webhook_secret from users where id = $1"


async def webhook_secret(db: Executor, user: int) -> bytes | None:
    """The secret that the user's webhooks are signed with."""
    return await fetch_value(db, WEBHOOK_SECRET, user, kind=bytes)


# With an overlap the former secret signs beside the new one for so long; without, it is dead at once. $4 who asks.
ROTATE_WEBHOOK_SECRET = """
with replaced as (
    update users
       set previous_webhook_secret = case when $3::int > 0 then webhook_secret end,
           previous_secret_until = case when $3::int > 0 then now() + $3::int * interval '1 hour' end,
           webhook_secret = $2,
           updated_at = clock_timestamp()
     where id = $1
 returning id
)
select write_audit(id, $4::json, 'secret.replaced', 'secret', 'webhook_secret', 'webhook secret') from replaced
"""


async def rotate_webhook_secret(db: Executor, *, user: int, secret: bytes, overlap_hours: int, act: Act) -> None:
    """Replace the webhook secret."""
    await db.execute(ROTATE_WEBHOOK_SECRET, user, secret, overlap_hours, act.text())


# The first caller's secret stays, however many call at once.
ALERT_SECRET = """
update users
   set alert_webhook_secret = coalesce(alert_webhook_secret, $2)
 where id = $1
returning alert_webhook_secret
"""


async def alert_secret(db: Executor, *, user: int, otherwise: bytes) -> bytes | None:
    """The alert webhook secret, made on the first call."""
    return await fetch_value(db, ALERT_SECRET, user, otherwise, kind=bytes)


# $3 who asks.
ROTATE_ALERT_SECRET = """
with replaced as (
    update users set alert_webhook_secret = $2, updated_at = clock_timestamp() where id = $1 returning id
)
select write_audit(id, $3::json, 'secret.replaced', 'secret', 'alert_webhook_secret', 'alert webhook secret')
  from replaced
"""


async def rotate_alert_secret(db: Executor, *, user: int, secret: bytes, act: Act) -> None:
    """Replace the alert webhook secret; the former one is dead at once."""
    await db.execute(ROTATE_ALERT_SECRET, user, secret, act.text())
