"""Idempotency keys: the first answer, kept in the transaction that it reports on."""

import hashlib

from attrs import frozen

from cueapi.storage.database import Executor, Row, fetch_value


@frozen
class Key:
    """A key as a user gave it, for one method and path."""

    user: int
    method: str
    path: str
    key: str

    @property
    def lock(self) -> int:
        """The number of its lock: 64 bits, in the space of single numbers, which no other lock of ours uses."""
        content = f"{self.user} {self.method} {self.path} {self.key}".encode()
        return int.from_bytes(hashlib.sha256(content).digest()[:8], "big", signed=True)


TAKE = "select pg_try_advisory_xact_lock($1) as taken"


async def take(db: Executor, key: Key) -> bool:
    """Have *key* to ourselves until the transaction ends; False where another request has it."""
    return await fetch_value(db, TAKE, key.lock, kind=bool) is True


class KeptAnswer(Row):
    """The first answer, encrypted, and the digest of the body that it answers."""

    body_hash: bytes
    status: int
    answer: bytes


# An old one counts for nothing, whether the janitor has been here or not.
FIND = """
select body_hash, status, answer
  from idempotency_keys
 where user_id = $1
   and method = $2
   and path = $3
   and key = $4
   and created_at > now() - interval '24 hours'
"""


async def find(db: Executor, key: Key) -> KeptAnswer | None:
    """The first answer; None where the key was not used within 24 hours."""
    return await db.fetch_one(FIND, key.user, key.method, key.path, key.key, row=KeptAnswer)


# The caller has the lock and found nothing: only an expired answer can stand here.
KEEP = """
insert into idempotency_keys (user_id, method, path, key, body_hash, status, answer)
values ($1, $2, $3, $4, $5, $6, $7)
    on conflict (user_id, key, path, method) do update
   set body_hash = excluded.body_hash, status = excluded.status, answer = excluded.answer,
       created_at = excluded.created_at
"""


async def keep(db: Executor, key: Key, *, body_hash: bytes, status: int, answer: bytes) -> None:
    """Keep the first answer, which is encrypted, if the transaction commits."""
    await db.execute(KEEP, key.user, key.method, key.path, key.key, body_hash, status, answer)
