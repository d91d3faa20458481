"""What webhooks and alerts are signed with."""

from cueapi.storage.database import Executor, fetch_value

WEBHOOK_SECRET = "select webhook_secret from users where id = $1"


async def webhook_secret(db: Executor, user: int) -> str | None:
    """The secret that the user's webhooks are signed with."""
    return await fetch_value(db, WEBHOOK_SECRET, user, kind=str)


# With an overlap the former secret signs beside the new one for so long; without, it is dead at once.
ROTATE_WEBHOOK_SECRET = """
update users
   set previous_webhook_secret = case when $3::int > 0 then webhook_secret end,
       previous_secret_until = case when $3::int > 0 then now() + $3::int * interval '1 hour' end,
       webhook_secret = $2,
       updated_at = clock_timestamp()
 where id = $1
returning webhook_secret
"""


async def rotate_webhook_secret(db: Executor, *, user: int, secret: str, overlap_hours: int) -> str | None:
    """Replace the webhook secret."""
    return await fetch_value(db, ROTATE_WEBHOOK_SECRET, user, secret, overlap_hours, kind=str)


# The first caller's secret stays, however many call at once.
ALERT_SECRET = """
update users
   set alert_webhook_secret = coalesce(alert_webhook_secret, $2)
 where id = $1
returning alert_webhook_secret
"""


async def alert_secret(db: Executor, *, user: int, otherwise: str) -> str | None:
    """The alert webhook secret, made on the first call."""
    return await fetch_value(db, ALERT_SECRET, user, otherwise, kind=str)


ROTATE_ALERT_SECRET = """
update users
   set alert_webhook_secret = $2, updated_at = clock_timestamp()
 where id = $1
returning alert_webhook_secret
"""


async def rotate_alert_secret(db: Executor, *, user: int, secret: str) -> str | None:
    """Replace the alert webhook secret; the former one is dead at once."""
    return await fetch_value(db, ROTATE_ALERT_SECRET, user, secret, kind=str)
