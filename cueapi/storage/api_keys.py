"""Keys of accounts: each opens its account for what it may do. What changes one writes who did it."""

from collections.abc import Collection
from datetime import datetime
from typing import LiteralString, NamedTuple

from attrs import field, frozen

from cueapi.domain.audit import Act
from cueapi.domain.scope import Grant
from cueapi.storage.database import Executor, Row, fetch_value
from cueapi.storage.notify import notify
from cueapi.storage.statements import columns_of

MOST = 100
"""Keys of an account that serve, beside its own."""


class KeyColumns:
    """A key as its owner sees it."""

    __slots__ = ()

    id: str
    name: str
    prefix: str
    own: bool
    scopes: list[str]
    groups: list[str] | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    last_used_from: str | None


class KeyRow(KeyColumns, Row):
    """A key that serves."""

    @property
    def grant(self) -> Grant:
        """What it may do."""
        return to_grant(self.scopes, self.groups, self.expires_at, own=self.own)


def to_grant(scopes: list[str], groups: list[str] | None, until: datetime | None, *, own: bool) -> Grant:
    """What a key with these columns may do."""
    return Grant(tuple(scopes), None if groups is None else tuple(groups), until, own)


COLUMNS: LiteralString = columns_of(KeyColumns, "k.{}")

SERVES: LiteralString = "k.rotated_at is null and (k.expires_at is null or k.expires_at > now())"

# $1 the user, $2 the groups that who asks is limited to (null: not at all): keys of other groups do not exist for it.
_SEEN: LiteralString = "k.user_id = $1 and ($2::text[] is null or k.groups <@ $2::text[]) and " + SERVES

LIST: LiteralString = "select " + COLUMNS + " from api_keys k where " + _SEEN + " order by k.created_at desc, k.id desc"


async def listed(db: Executor, *, user: int, groups: Collection[str] | None = None) -> list[KeyRow]:
    """The keys of *user* that serve, the newest first: a hundred, and the account's own."""
    return await db.fetch(LIST, user, groups and list(groups), row=KeyRow)


FIND: LiteralString = "select " + COLUMNS + " from api_keys k where " + _SEEN + " and k.id = $3"


async def find(db: Executor, *, user: int, key_id: str, groups: Collection[str] | None = None) -> KeyRow | None:
    """One of them; None where there is no such."""
    return await db.fetch_one(FIND, user, groups and list(groups), key_id, row=KeyRow)


@frozen
class KeyText:
    """What is stored of a key's text: its digest, the part that is shown, and, of an account's own, the whole."""

    hash: bytes = field(repr=False)
    prefix: str
    encrypted: bytes | None = field(default=None, repr=False)


class NewKey(NamedTuple):
    """What is stored of a new key."""

    id: str
    name: str
    scopes: list[str]
    groups: list[str] | None
    expires_at: datetime | None


# The transaction has locked the user: of any number of calls at once no more succeed than there is room for.
ADD: LiteralString = (
    """
with added as (
    insert into api_keys as k (user_id, hash, prefix, id, name, scopes, groups, expires_at)
    select $1, $2, $3, $4, $5, $6, $7, $8
     where (select count(*) from api_keys k where k.user_id = $1 and not k.own and """
    + SERVES
    + """) < $9
    returning """
    + COLUMNS
    + """
), told as (
    select write_audit($1, $10::json, 'key.created', 'key', id, name,
                       changes_of(field_change('scopes', null, scopes::text[]),
                                  field_change('groups', null, groups::text[]),
                                  field_change('expires_at', null, iso(expires_at))))
      from added
)
select k.* from added k join told on true
"""
)


async def add(db: Executor, *, user: int, text: KeyText, new: NewKey, act: Act) -> KeyRow | None:
    """The new key, in the caller's transaction, which has locked the user; None where there are a hundred."""
    return await db.fetch_one(ADD, user, text.hash, text.prefix, *new, MOST, act.text(), row=KeyRow)


RENAME: LiteralString = (
    "with former as (select k.id, k.name from api_keys k where "
    + _SEEN
    + """ and k.id = $3),
renamed as (
    update api_keys k
       set name = $4
      from former f
     where k.id = f.id
    returning k.*, f.name as former
), told as (
    select write_audit($1, $5::json, 'key.renamed', 'key', id, name,
                       changes_of(field_change('name', former::text, name::text)))
      from renamed
     where rotated_at is null
       and former <> name
)
select """
    + COLUMNS
    + " from renamed k left join told on true where k.rotated_at is null"
)


async def rename(
    db: Executor, *, user: int, key_id: str, groups: Collection[str] | None, name: str, act: Act
) -> KeyRow | None:
    """The key under its new name; None where there is no such. Tells every daemon, with the commit."""
    renamed = await db.fetch_one(RENAME, user, groups and list(groups), key_id, name, act.text(), row=KeyRow)
    if renamed is not None:
        await tell(db, user)
    return renamed


# $6 seconds for which what the key was before serves beside it. An earlier one that serves still does not serve longer.
ROTATE: LiteralString = (
    """
with present as (
    select k.* from api_keys k where k.user_id = $1 and k.id = $2 and not k.own and """
    + SERVES
    + """
), ended as (
    update api_keys k
       set rotated_at = least(k.rotated_at, now() + $6::float8 * interval '1 second')
      from present p
     where k.id = p.id
       and (k.rotated_at is null or k.rotated_at > now())
    returning k.hash
), added as (
    insert into api_keys as k (user_id, hash, prefix, id, name, scopes, groups, created_at, expires_at, last_used_at,
                               last_used_from)
    select p.user_id, $3, $4, p.id, p.name, p.scopes, p.groups, p.created_at, p.expires_at, p.last_used_at,
           p.last_used_from
      from present p
      join ended e on e.hash = p.hash
    returning """
    + COLUMNS
    + """
), told as (
    select write_audit($1, $5::json, 'key.rotated', 'key', id, name) from added
)
select k.* from added k join told on true
"""
)


async def rotate(
    db: Executor, *, user: int, key_id: str, text: KeyText, overlap_seconds: int, act: Act
) -> KeyRow | None:
    """The key with its new text, in a transaction that has found it; the former one serves for *overlap_seconds*."""
    rotated = await db.fetch_one(ROTATE, user, key_id, text.hash, text.prefix, act.text(), overlap_seconds, row=KeyRow)
    await tell(db, user)
    return rotated


DELETE: LiteralString = """
with gone as (
    delete from api_keys k where k.user_id = $1 and not k.own and ($2::text is null or k.id = $2) returning k.id, k.name
), told as (
    select write_audit($1, $3::json, 'key.deleted', 'key', id, max(name)) from gone group by id
)
select count(*) from told
"""


async def delete(db: Executor, *, user: int, key_id: str | None, act: Act) -> None:
    """End a key, and every text that it has had; None: all but the account's own. Tells every daemon."""
    await fetch_value(db, DELETE, user, key_id, act.text(), kind=int)
    await tell(db, user)


async def tell(db: Executor, user: int) -> None:
    """Have every daemon forget what it remembers of the account, with the commit: also if we die right after it."""
    await notify(db, f"account account:{user}")
