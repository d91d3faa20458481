"""API keys as they are made and stored: found by a digest; an account's own is shown again from a ciphertext."""

from attrs import field, frozen

from cueapi.domain import ids
from cueapi.domain.audit import Act
from cueapi.domain.confidential import Confidential
from cueapi.domain.scope import SCOPES
from cueapi.security.vault import Vault
from cueapi.storage import accounts, api_keys, own_keys
from cueapi.storage.accounts import OWN_NAME, NewAccount
from cueapi.storage.api_keys import KeyText, NewKey
from cueapi.storage.database import Executor

PREFIX = 14
"""Characters of a key that are shown, so that its owner can tell which one it is."""


@frozen
class MadeKey:
    """The whole text of a new key, which is told once, and what is stored of it."""

    whole: str = field(repr=False)
    text: KeyText

    @staticmethod
    def new() -> "MadeKey":
        """A new one, which cannot be shown again."""
        whole = ids.new_api_key()
        return MadeKey(whole, KeyText(accounts.digest(whole), whole[:PREFIX]))

    @staticmethod
    def of_account(user: int, vault: Vault) -> "MadeKey":
        """A new own key of *user*, which can be shown again."""
        whole = ids.new_api_key()
        encrypted = vault.encrypt(whole, Confidential.API_KEY, user)
        return MadeKey(whole, KeyText(accounts.digest(whole), whole[:PREFIX], encrypted))


def read_key(vault: Vault, user: int, encrypted: bytes | None) -> str | None:
    """The own API key of *user*; None where it cannot be read."""
    return None if encrypted is None else vault.decrypt(encrypted, Confidential.API_KEY, user)


async def replace_key(db: Executor, user: int, vault: Vault, act: Act, *, others: bool = False) -> str:
    """
    A new own key, in the place of the one before; the transaction has locked the user.

    With *others* every other key ends, too, and every report token: they may be another's.
    """
    made = MadeKey.of_account(user, vault)
    new = NewKey(ids.new_key_id(), OWN_NAME, list(SCOPES), None, None)
    await own_keys.replace_own(db, user=user, text=made.text, new=new, act=act)
    if others:
        await own_keys.end_reports(db, user)
        await api_keys.delete(db, user=user, key_id=None, act=act)
    return made.whole


def new_account(user: int, email: str, plan: str, vault: Vault, *, verified: bool = False) -> tuple[str, NewAccount]:
    """A new key, and the account that it opens as it is stored; *user* is its reserved id."""
    made = MadeKey.of_account(user, vault)
    assert made.text.encrypted is not None
    account = NewAccount(
        id=user,
        email=email,
        plan=plan,
        webhook_secret=vault.encrypt(ids.new_webhook_secret(), Confidential.WEBHOOK_SECRET, user),
        key_hash=made.text.hash,
        key_prefix=made.text.prefix,
        key_encrypted=made.text.encrypted,
        verified=verified,
    )
    return made.whole, account
