"""Sessions of people in browsers: a token that only its cookie holds, and the key that was live at the sign-in."""

from collections.abc import Mapping
from datetime import datetime

from attrs import field, frozen

from cueapi.domain.audit import Actor
from cueapi.domain.plan import Limits
from cueapi.storage.accounts import Account, AccountRow, to_account
from cueapi.storage.database import Executor, Row, fetch_value
from cueapi.storage.notify import notify

SHOWN = 16
"""Digits of a session's digest that tell it from the others: its id in the audit, and on the page of the account."""

# The key that is live at this moment is what the session hangs on: replaced a moment later, it ends the session,
# whether or not the two transactions saw each other.
ADD = """
insert into browser_sessions (hash, user_id, key_hash, browser, address)
select $1, u.id, k.hash, left($3, 200), left($4, 200)
  from users u
  join api_keys k on k.user_id = u.id and k.own and k.rotated_at is null
 where u.id = $2
   and u.revoked_at is null
"""


async def add(db: Executor, *, token_hash: bytes, user: int, browser: str, address: str) -> bool:
    """Begin a session of *user*; False where the account has no live key."""
    return await db.execute(ADD, token_hash, user, browser, address) > 0


# $1 the digest of a key. A session by key begins only if that key is live.
BY_KEY = """
select u.id
  from api_keys k
  join users u on u.id = k.user_id and u.revoked_at is null
 where k.hash = $1
   and k.own and k.rotated_at is null
"""


async def user_of_key(db: Executor, key_hash: bytes) -> int | None:
    """The user whose live key has that digest."""
    return await fetch_value(db, BY_KEY, key_hash, kind=int)


class BrowserSessionRow(AccountRow):
    """A session that serves, and the account that it opens."""

    created_at: datetime
    open_alerts: int
    hold_mode: str | None
    hold_reason: str | None
    hold_until: datetime | None
    hold_since: datetime
    hold_by: str | None


# One statement a page. `seen_at` moves once a minute at most: a page that refreshes itself writes no more than that.
OPEN = """
with seen as (
    update browser_sessions
       set seen_at = now()
     where hash = $1
       and seen_at between now() - interval '12 hours' and now() - interval '1 minute'
)
select u.id, u.email, u.plan, u.active_cue_limit, u.monthly_execution_limit, u.rate_limit_per_minute,
       coalesce(m.executions, 0) as executions, s.created_at,
       (select count(*) from (select from alerts a where a.user_id = u.id and not a.acknowledged limit 100) o)::int
           as open_alerts,
       h.mode as hold_mode, h.reason as hold_reason, h.until as hold_until, h.since as hold_since,
       h.actor ->> 'name' as hold_by
  from browser_sessions s
  join api_keys k on k.hash = s.key_hash and k.own and k.rotated_at is null
  join users u on u.id = s.user_id and u.revoked_at is null
  left join usage m on m.user_id = u.id and m.month = date_trunc('month', now() at time zone 'utc')::date
  left join holds h on h.user_id = u.id and h.ended_at is null and (h.until is null or h.until > now())
 where s.hash = $1
   and s.seen_at > now() - interval '12 hours'
   and s.created_at > now() - interval '30 days'
"""


@frozen
class SeenHold:
    """The hold of an account as every page shows it."""

    mode: str
    reason: str | None
    until: datetime | None
    since: datetime
    by: str | None


@frozen
class OpenSession:
    """The account of a session, when it began, how many alerts are open (100: or more), and its hold."""

    account: Account
    begun: datetime
    hash: bytes = field(repr=False)
    open_alerts: int
    hold: SeenHold | None


async def open_session(db: Executor, token_hash: bytes, *, plans: Mapping[str, Limits]) -> OpenSession | None:
    """
    What a session opens. It serves for 12 hours after it was last used, 30 days in all, and no longer than its key.

    None where it serves no more.
    """
    row = await db.fetch_one(OPEN, token_hash, row=BrowserSessionRow)
    return None if row is None else _opened(row, token_hash, plans)


def _opened(row: BrowserSessionRow, token_hash: bytes, plans: Mapping[str, Limits]) -> OpenSession:
    hold = None
    if row.hold_mode is not None:
        hold = SeenHold(row.hold_mode, row.hold_reason, row.hold_until, row.hold_since, row.hold_by)
    account = to_account(row, plans, Actor("session", token_hash.hex()[:SHOWN], row.email))
    return OpenSession(account, row.created_at, token_hash, row.open_alerts, hold)


class ListedSession(Row):
    """A session as its user sees it."""

    hash: bytes
    browser: str
    address: str
    created_at: datetime
    seen_at: datetime


LIST = """
select s.hash, s.browser, s.address, s.created_at, s.seen_at
  from browser_sessions s
  join api_keys k on k.hash = s.key_hash and k.own and k.rotated_at is null
 where s.user_id = $1
   and s.seen_at > now() - interval '12 hours'
   and s.created_at > now() - interval '30 days'
 order by s.created_at desc, s.hash
 limit 100
"""


async def listed(db: Executor, user: int) -> list[ListedSession]:
    """The user's sessions that serve, the newest first, a hundred at most."""
    return await db.fetch(LIST, user, row=ListedSession)


END = "delete from browser_sessions where user_id = $1 and hash = $2"


async def end(db: Executor, *, user: int, token_hash: bytes) -> bool:
    """End one session of *user*, and tell every daemon; False where there is none."""
    ended = await db.execute(END, user, token_hash) > 0
    if ended:
        await notify(db, f"account account:{user}")
    return ended


FORGET = "delete from browser_sessions where hash = $1"


async def forget(db: Executor, token_hash: bytes) -> None:
    """End the session of a token, of any user: its browser signs in anew."""
    await db.execute(FORGET, token_hash)


# As a replaced key does, but the key stays. clock_timestamp(): also a session that was begun while this waited.
END_ALL = """
with browsers as (
    delete from browser_sessions where user_id = $1
), codes as (
    delete from device_codes where user_id = $1 and status <> 'claimed'
), tokens as (
    delete from session_tokens where user_id = $1
)
update users set sessions_valid_from = clock_timestamp() where id = $1
"""


async def end_all(db: Executor, user: int) -> None:
    """End every session of *user*, in browsers and of programs, and tell every daemon; the key stays."""
    await db.execute(END_ALL, user)
    await notify(db, f"account account:{user}")
