"""The own key of an account: it may do everything, and sessions of people end with it."""

from typing import LiteralString

from cueapi.domain.audit import Act
from cueapi.storage.api_keys import COLUMNS, KeyRow, KeyText, NewKey, tell
from cueapi.storage.database import Executor, Row

# The former texts, the sessions, the unclaimed device codes and the links to addresses end in one statement.
# clock_timestamp(): also a session that was begun while the transaction waited for the user's lock.
END_OWN = """
with former as (
    update api_keys set rotated_at = least(rotated_at, now() + $2::float8 * interval '1 second'), encrypted = null
     where user_id = $1 and own and (rotated_at is null or rotated_at > now())
), codes as (
    delete from device_codes where user_id = $1 and status <> 'claimed'
), tokens as (
    delete from session_tokens where user_id = $1
), links as (
    delete from address_links where user_id = $1
)
update users set sessions_valid_from = clock_timestamp() where id = $1
"""

# It goes on under the id and the name of the one before, where that is not too long ago.
ADD_OWN: LiteralString = (
    """
with former as (
    select * from api_keys where user_id = $1 and own order by rotated_at desc limit 1
), added as (
    insert into api_keys as k (user_id, hash, prefix, encrypted, own, id, name, scopes, created_at, last_used_at,
                               last_used_from)
    select $1, $2, $3, $4, true, coalesce(f.id, $5), coalesce(f.name, $6), $7, coalesce(f.created_at, now()),
           f.last_used_at, f.last_used_from
      from (select) one
      left join former f on true
    returning """
    + COLUMNS
    + """
), told as (
    select write_audit($1, $8::json, 'key.replaced', 'key', id, name) from added
)
select k.* from added k join told on true
"""
)


async def replace_own(
    db: Executor,
    *,
    user: int,
    text: KeyText,
    new: NewKey,
    overlap_seconds: int = 0,
    act: Act,
) -> KeyRow:
    """
    Replace the account's own key, in the caller's transaction, which has locked the user; every session ends.

    Its id and name are those of *new* where it had none.
    """
    await db.execute(END_OWN, user, overlap_seconds)
    row = await db.fetch_one(
        ADD_OWN, user, text.hash, text.prefix, text.encrypted, new.id, new.name, new.scopes, act.text(), row=KeyRow
    )
    assert row is not None
    await tell(db, user)
    return row


END_REPORTS = "update users set reports_valid_from = clock_timestamp() where id = $1"


async def end_reports(db: Executor, user: int) -> None:
    """End the report tokens of the attempts that have begun so far."""
    await db.execute(END_REPORTS, user)


class OwnKeyRow(Row):
    """The account's own key: its prefix, and its encrypted copy."""

    prefix: str
    encrypted: bytes | None


OWN = "select prefix, encrypted from api_keys where user_id = $1 and own and rotated_at is null"


async def own(db: Executor, user: int) -> OwnKeyRow | None:
    """The own key of an account; None where it has none."""
    return await db.fetch_one(OWN, user, row=OwnKeyRow)
