"""The fingerprint of the SESSION_SECRET that a database is used with."""

from cueapi.storage.database import Executor, Row, fetch_value

FINGERPRINT = """
insert into meta (key, value) values ('session_secret', $1)
    on conflict (key) do update set value = meta.value
returning value
"""


async def fingerprint(db: Executor, ours: str) -> str:
    """The fingerprint of the secret that this database is used with: ours, where we are the first."""
    kept = await fetch_value(db, FINGERPRINT, ours, kind=str)
    assert kept is not None
    return kept


KNOWN_FINGERPRINT = "select value from meta where key = 'session_secret'"


async def known_fingerprint(db: Executor) -> str | None:
    """The fingerprint of the secret that this database is used with; None where no daemon has used it yet."""
    return await fetch_value(db, KNOWN_FINGERPRINT, kind=str)


ACCEPT_FINGERPRINT = """
insert into meta (key, value) values ('session_secret', $1)
    on conflict (key) do update set value = excluded.value
"""


async def accept_fingerprint(db: Executor, ours: str) -> None:
    """The database is used with our secret from now on, whatever it was used with."""
    await db.execute(ACCEPT_FINGERPRINT, ours)


class UnreadableCount(Row):
    """What was encrypted under another secret, and is needed to deliver: secrets of users, headers of cues."""

    users: int
    cues: int


# $1 what a ciphertext under our secret begins with.
UNREADABLE = """
select (select count(*) from users where substring(webhook_secret from 1 for 8) <> $1) as users,
       (select count(*) from cues
         where substring(callback_headers from 1 for 8) <> $1 and deleted_at is null) as cues
"""


async def unreadable(db: Executor, key_id: bytes) -> UnreadableCount:
    """How much cannot be read with our secret. It reads all rows."""
    count = await db.fetch_one(UNREADABLE, key_id, row=UnreadableCount)
    assert count is not None
    return count
