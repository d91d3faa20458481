"""Whose account a link opens, once its button was pressed."""

from attrs import frozen

from cueapi.api.api_keys import new_account, replace_key
from cueapi.api.http.acting import act_by_mail
from cueapi.api.mails import Mails
from cueapi.domain.account import SignedIn
from cueapi.security.vault import Vault
from cueapi.storage import accounts, addresses
from cueapi.storage.database import Executor


@frozen
class LinkedAccounts:
    """
    Finds the account of an address, or makes it; *open* says whether anyone may have one.

    The first confirmed link of an account that was not verified replaces its key: another may have registered it. A
    link that was printed shows nothing about a mail box, and replaces none.
    """

    vault: Vault
    mails: Mails
    plan: str
    open: bool

    async def by_mail(self, db: Executor, email: str) -> SignedIn | None:
        """Who signs in by a link that went to *email*; None where that address, as it is written, may not."""
        found = await addresses.lock_by_email(db, email)
        if found is None and self.open:
            if (made := await self._add(db, email)) is not None:
                return made
            found = await addresses.lock_by_email(db, email)  # Another request was faster.
        if found is None or found.revoked or found.email != email:
            return None
        if found.verified or not self.mails.leave:
            return SignedIn(found.id, email)
        await addresses.verify(db, found.id, act_by_mail())
        key = await replace_key(db, found.id, self.vault, act_by_mail(), others=True)
        return SignedIn(found.id, email, key=key)

    async def by_operator(self, db: Executor, email: str, *, first: bool) -> SignedIn | None:
        """
        Who signs in by the operator's link for *email*: its account as it is.

        Where there is none, it is made if it is the *first* one. None where the address may not sign in.
        """
        found = await addresses.lock_by_email(db, email)
        if found is None:
            return await self._add(db, email) if first else None
        return None if found.revoked else SignedIn(found.id, found.email)

    async def _add(self, db: Executor, email: str) -> SignedIn | None:
        """A new account with a verified address; None where there is one meanwhile."""
        _, account = new_account(await accounts.reserve_id(db), email, self.plan, self.vault, verified=True)
        made = await accounts.add(db, account)
        return None if made is None else SignedIn(made, email, new=True)
