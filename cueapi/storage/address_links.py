"""Links in mails that show whose mail box it is: of an account's address, or of the one that it is to have."""

from cueapi.domain.audit import Act
from cueapi.storage.database import Executor, Row
from cueapi.storage.statements import load

LIFETIME = 86_400
"""Seconds for which a link serves."""

ADD = """
insert into address_links as a (token_hash, user_id, email, expires_at)
values ($1, $2, $3, now() + $4::float8 * interval '1 second')
    on conflict (user_id, (lower(email collate "C"))) do update
   set token_hash = excluded.token_hash, email = excluded.email, expires_at = excluded.expires_at
"""


async def add(db: Executor, *, user: int, email: str, token_hash: bytes) -> None:
    """A link to *email*; an older one is dead."""
    await db.execute(ADD, token_hash, user, email, LIFETIME)


# But the account's present address, and $2.
WITHDRAW = """
delete from address_links a
 using users u
 where u.id = $1
   and a.user_id = u.id
   and lower(a.email collate "C") <> lower(u.email collate "C")
   and lower(a.email collate "C") is distinct from lower($2::text collate "C")
"""


async def withdraw(db: Executor, user: int, *, but: str | None) -> None:
    """The account is to have none of the addresses that links went to before, *but* this one."""
    await db.execute(WITHDRAW, user, but)


class LinkRow(Row):
    """What a link is for: the address, the one that the account has now, and whether that is verified."""

    email: str
    present: str
    verified: bool


SHOW = """
select a.email, u.email as present, u.email_verified_at is not null as verified
  from address_links a
  join users u on u.id = a.user_id and u.revoked_at is null
 where a.token_hash = $1
   and a.expires_at > now()
"""


async def show(db: Executor, token_hash: bytes) -> LinkRow | None:
    """What a link is for; None where it serves no more."""
    return await db.fetch_one(SHOW, token_hash, row=LinkRow)


class ConfirmedAddress(Row):
    """Whose address was confirmed, the one before it, and whether that had been verified."""

    user_id: int
    email: str
    former: str
    verified: bool


CONFIRM = load("confirm_address", ("token_hash", "act"))


async def confirm(db: Executor, token_hash: bytes, act: Act) -> ConfirmedAddress | None:
    """
    Take a link, once: its address is the account's, and verified. The transaction has locked the user then.

    None where the link serves no more. Raises Duplicate where another account has the address.
    """
    return await db.fetch_one(CONFIRM, token_hash, act.text(), row=ConfirmedAddress)
