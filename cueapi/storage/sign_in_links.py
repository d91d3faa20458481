"""Links that sign a browser in, from a mail or from the operator: each works once, within 15 minutes."""

from cueapi.storage.database import Executor, Row, fetch_value

LIFETIME = 900
"""Seconds for which a link serves."""

ADD = """
insert into sign_in_links (token_hash, email, by_mail, expires_at)
values ($1, $2, $3, now() + $4::float8 * interval '1 second')
"""


async def add(db: Executor, *, token_hash: bytes, email: str | None, by_mail: bool) -> None:
    """A link for *email*; None: for the first account, whose address its user enters."""
    await db.execute(ADD, token_hash, email, by_mail, LIFETIME)


class SignInLink(Row):
    """Whom a link signs in, whether it went to that mail box, and whether the server has no account yet."""

    email: str | None
    by_mail: bool
    first: bool


SHOW = """
select email, by_mail, not exists (select from users) as first
  from sign_in_links
 where token_hash = $1
   and expires_at > now()
"""


async def show(db: Executor, token_hash: bytes) -> SignInLink | None:
    """What a link is for; None where it serves no more."""
    return await db.fetch_one(SHOW, token_hash, row=SignInLink)


# Of any number of clicks, one takes it. With a link for the first account all others of its kind are taken: of two of
# them, pressed at once, one makes an account.
TAKE = """
with link as (
    select token_hash, email, by_mail from sign_in_links where token_hash = $1 and expires_at > now()
), gone as (
    delete from sign_in_links l
     using link
     where l.token_hash = link.token_hash or (link.email is null and l.email is null)
 returning l.token_hash
)
select link.email, link.by_mail, not exists (select from users) as first
  from link
  join gone on gone.token_hash = link.token_hash
"""


async def take(db: Executor, token_hash: bytes) -> SignInLink | None:
    """Take a link, once; None where it serves no more."""
    return await db.fetch_one(TAKE, token_hash, row=SignInLink)


NO_ACCOUNTS = "select not exists (select from users) as none"


async def no_accounts(db: Executor) -> bool:
    """Whether the server has no account yet."""
    return bool(await fetch_value(db, NO_ACCOUNTS, kind=bool))
