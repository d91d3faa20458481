"""When keys were last used, to the minute: written off the way of requests, in batches."""

from collections.abc import Iterable
from datetime import datetime

from attrs import frozen

from cueapi.storage.database import Executor


@frozen
class KeyUse:
    """When a key was last used, and from which address."""

    key_id: str
    at: datetime
    address: str


# No earlier use takes the place of a later one, whichever daemon writes first.
TOUCH = """
update api_keys k
   set last_used_at = date_trunc('minute', x.at), last_used_from = left(x.address, 200)
  from unnest($1::text[], $2::timestamptz[], $3::text[]) as x(id, at, address)
 where k.id = x.id
   and k.rotated_at is null
   and (k.last_used_at is null or k.last_used_at < date_trunc('minute', x.at))
"""


async def touch(db: Executor, uses: Iterable[KeyUse]) -> None:
    """Note when keys were used, to the minute."""
    given = sorted(uses, key=lambda use: use.key_id)
    ids, moments, addresses = [one.key_id for one in given], [one.at for one in given], [one.address for one in given]
    await db.execute(TOUCH, ids, moments, addresses)
