"""Users, their keys and their secrets."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from math import inf

from attrs import field, frozen

from cueapi.domain.audit import Act, Actor
from cueapi.domain.ids import new_key_id
from cueapi.domain.plan import PLANS, Limits
from cueapi.domain.scope import SCOPES, WHOLE, Grant
from cueapi.storage.api_keys import to_grant
from cueapi.storage.database import Executor, Row, fetch_value


@frozen
class Account:
    """A user as each request needs it."""

    id: int
    email: str
    plan: str
    limits: Limits
    executions: int
    """This month's, as of when the account was last asked for."""
    actor: Actor
    """Who acts for the account: a key, or a person who has signed in."""
    grant: Grant = WHOLE
    """What the actor may do."""


OWN_NAME = "Account key"
"""What the account's own key is called at first."""


def digest(key: str) -> bytes:
    """What of a key is kept to find it by: its SHA-256."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


@frozen
class NewAccount:
    """What is stored of a new user; *id* was reserved, since what is encrypted belongs to it."""

    id: int
    email: str
    plan: str
    webhook_secret: bytes = field(repr=False)
    key_hash: bytes = field(repr=False)
    key_prefix: str
    key_encrypted: bytes = field(repr=False)
    verified: bool = False
    key_id: str = field(factory=new_key_id)


RESERVE_ID = "select nextval(pg_get_serial_sequence('users', 'id')) as id"


async def reserve_id(db: Executor) -> int:
    """The id of an account that is about to be added."""
    reserved = await fetch_value(db, RESERVE_ID, kind=int)
    assert reserved is not None
    return reserved


# Nothing happens where the address is taken, however it is written.
ADD = """
with added as (
    insert into users (id, email, plan, webhook_secret, email_verified_at) overriding system value
    values ($1, $2, $3, $4, case when $8 then now() end)
        on conflict ((lower(email collate "C"))) do nothing
 returning id
)
insert into api_keys (hash, user_id, prefix, encrypted, own, id, name, scopes)
select $5, id, $6, $7, true, $9, $10, $11 from added
returning user_id
"""


async def add(db: Executor, new: NewAccount) -> int | None:
    """The new user's id; None where the address has an account."""
    return await fetch_value(
        db, ADD, new.id, new.email, new.plan, new.webhook_secret, new.key_hash, new.key_prefix, new.key_encrypted,
        new.verified, new.key_id, OWN_NAME, list(SCOPES), kind=int,
    )  # fmt: skip


class AccountRow(Row):
    """A user, the numbers of the user's own (null: the plan's), and how many executions began this month."""

    id: int
    email: str
    plan: str
    active_cue_limit: int | None
    monthly_execution_limit: int | None
    rate_limit_per_minute: int | None
    executions: int


class KeyHolderRow(AccountRow):
    """
    The user of a key, and the key.

    *rotated* where it was replaced within the day, *expired* where its time is over; *serves_for* seconds until either.
    """

    key_id: str
    name: str
    own: bool
    scopes: list[str]
    groups: list[str] | None
    until: datetime | None
    serves_for: float | None
    rotated: bool
    expired: bool


# clock_timestamp(): also a key that was replaced while the transaction which asks waited for the user's lock.
BY_KEY = """
select u.id, u.email, u.plan, u.active_cue_limit, u.monthly_execution_limit, u.rate_limit_per_minute,
       coalesce(m.executions, 0) as executions, k.id as key_id, k.name, k.own, k.scopes, k.groups,
       least(k.rotated_at, k.expires_at)::timestamptz as until,
       extract(epoch from least(k.rotated_at, k.expires_at) - clock_timestamp())::float8 as serves_for,
       coalesce(k.rotated_at <= clock_timestamp(), false) as rotated,
       coalesce(k.expires_at <= clock_timestamp(), false) as expired
  from api_keys k
  join users u on u.id = k.user_id
  left join usage m on m.user_id = u.id and m.month = date_trunc('month', now() at time zone 'utc')::date
 where k.hash = $1
   and u.revoked_at is null
   and (k.rotated_at is null or k.rotated_at > now() - interval '24 hours')
"""


class Rotated(Exception):
    """The key was replaced by a newer one."""


class Expired(Exception):
    """The time of the key is over."""


async def by_key(db: Executor, key_hash: bytes, *, plans: Mapping[str, Limits]) -> tuple[Account, float] | None:
    """
    The account that a key opens, and for how many seconds at most.

    Raises Rotated for one that was replaced within the day, Expired for one whose time is over.
    """
    row = await db.fetch_one(BY_KEY, key_hash, row=KeyHolderRow)
    if row is None:
        return None
    if row.rotated:
        raise Rotated
    if row.expired:
        raise Expired
    grant = to_grant(row.scopes, row.groups, row.until, own=row.own)
    account = to_account(row, plans, Actor("key", row.key_id, row.name), grant)
    return account, inf if row.serves_for is None else row.serves_for


def to_account(
    row: AccountRow, plans: Mapping[str, Limits], actor: Actor | None = None, grant: Grant = WHOLE
) -> Account:
    """The account of a row; the user's own numbers come before the plan's. No *actor*: a person has signed in."""
    limits = plans.get(row.plan, PLANS["self_hosted"]).overridden(
        row.active_cue_limit, row.monthly_execution_limit, row.rate_limit_per_minute
    )
    actor = actor or Actor("session", None, row.email)
    return Account(row.id, row.email, row.plan, limits, row.executions, actor, grant)


# $2 the moment of the sign-in: what lies before `sessions_valid_from` ended with the key of its time.
BY_SESSION = """
select u.id, u.email, u.plan, u.active_cue_limit, u.monthly_execution_limit, u.rate_limit_per_minute,
       coalesce(m.executions, 0) as executions
  from users u
  left join usage m on m.user_id = u.id and m.month = date_trunc('month', now() at time zone 'utc')::date
 where u.id = $1
   and u.revoked_at is null
   and (u.sessions_valid_from is null or u.sessions_valid_from <= $2)
"""


async def by_session(db: Executor, user: int, *, signed_in: datetime, plans: Mapping[str, Limits]) -> Account | None:
    """The account of a session; None where the session ended with a key, or the account is revoked."""
    row = await db.fetch_one(BY_SESSION, user, signed_in, row=AccountRow)
    return None if row is None else to_account(row, plans)


class ProfileRow(Row):
    """A user as `me` shows it; *pending_email* is the address that the account gets once it is confirmed."""

    email: str
    verified: bool
    pending_email: str | None
    plan: str
    live_cues: int
    alert_webhook_url: str | None
    prefix: str | None
    executions: int


PROFILE = """
select u.email, u.email_verified_at is not null as verified, u.plan, u.live_cues, u.alert_webhook_url, k.prefix,
       coalesce((select executions from usage
                  where user_id = u.id and month = date_trunc('month', now() at time zone 'utc')::date), 0)
           as executions,
       (select email from address_links
         where user_id = u.id and lower(email collate "C") <> lower(u.email collate "C") and expires_at > now()
         order by expires_at desc limit 1) as pending_email
  from users u
  left join api_keys k on k.user_id = u.id and k.own and k.rotated_at is null
 where u.id = $1
"""


async def profile(db: Executor, user: int) -> ProfileRow | None:
    """What `me` shows."""
    return await db.fetch_one(PROFILE, user, row=ProfileRow)


ALERT_URL = "select alert_webhook_url from users where id = $1 for no key update"


async def alert_url(db: Executor, user: int) -> str | None:
    """Where the user's alerts are posted; it stays so until the transaction ends."""
    return await fetch_value(db, ALERT_URL, user, kind=str)


# Another address is not verified. $5 the address that the account gets once it is confirmed, $6 who changes it.
CHANGE = """
with former as (
    select email, alert_webhook_url as url from users where id = $1 for no key update
), changed as (
    update users u
       set email = coalesce($2, u.email),
           email_verified_at = case when lower($2::text collate "C") <> lower(u.email collate "C") then null
                                    else u.email_verified_at end,
           alert_webhook_url = case when $3::text is null then u.alert_webhook_url else nullif($3, '') end,
           alert_webhook_secret = case when $3 <> '' then coalesce(u.alert_webhook_secret, $4)
                                       else u.alert_webhook_secret end,
           updated_at = clock_timestamp()
      from former f
     where u.id = $1
 returning u.email, u.alert_webhook_url as url, u.updated_at,
           changes_of(field_change('email', f.email, u.email), field_change('pending_email', null::text, $5::text),
                      url_change('alert_webhook_url', f.url, u.alert_webhook_url)) as changes
), audited as (
    select write_audit($1, $6::json, 'account.changed', 'account', $1::text, email, changes)
      from changed
     where changes is not null
)
select updated_at from changed where (select count(*) from audited) is not null
"""


@frozen
class AccountChange:
    """
    What is to change of an account; None leaves a field as it is, an empty URL clears it.

    *pending_email* is the account's once a link was confirmed. A user with a URL has a secret: *alert_secret*, where
    there was none.
    """

    email: str | None
    pending_email: str | None
    alert_url: str | None
    alert_secret: bytes = field(repr=False)


async def change(db: Executor, wanted: AccountChange, *, user: int, act: Act) -> datetime | None:
    """Set what is given; raises Duplicate where the address is taken."""
    return await fetch_value(
        db, CHANGE, user, wanted.email, wanted.alert_url, wanted.alert_secret, wanted.pending_email, act.text(),
        kind=datetime,
    )  # fmt: skip


LOCK_USER = "select id from users where id = $1 for no key update"


async def lock(db: Executor, user: int) -> None:
    """Until the transaction ends, no other one replaces the user's key, revokes the user, or adds a cue."""
    await db.execute(LOCK_USER, user)
