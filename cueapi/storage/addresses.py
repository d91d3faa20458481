"""Users by their e-mail address, and whether it is verified."""

from cueapi.domain.audit import Act
from cueapi.storage.database import Executor, Row


class AddressRow(Row):
    """The user of an address, as it is stored, whether the account is revoked, and whether the address is verified."""

    id: int
    email: str
    revoked: bool
    verified: bool


BY_EMAIL = """
select id, email, revoked_at is not null as revoked, email_verified_at is not null as verified
  from users
 where lower(email collate "C") = lower($1::text collate "C")
"""


async def by_email(db: Executor, email: str) -> AddressRow | None:
    """The user of an address, in capitals or not; None where it has no account. Mail goes to the one that is stored."""
    return await db.fetch_one(BY_EMAIL, email, row=AddressRow)


LOCK_BY_EMAIL = BY_EMAIL + "for no key update"


async def lock_by_email(db: Executor, email: str) -> AddressRow | None:
    """As `by_email`; until the transaction ends it stays so."""
    return await db.fetch_one(LOCK_BY_EMAIL, email, row=AddressRow)


# $2 who says so.
VERIFY = """
with verified as (
    update users set email_verified_at = now() where id = $1 and email_verified_at is null returning email
)
select write_audit($1, $2::json, 'account.changed', 'account', $1::text, email,
                   changes_of(field_change('email_verified', false, true)))
  from verified
"""


async def verify(db: Executor, user: int, act: Act) -> None:
    """The mail box of the user's address is the user's."""
    await db.execute(VERIFY, user, act.text())
