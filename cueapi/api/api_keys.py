"""API keys as they are made and stored: found by a digest, shown again from a ciphertext."""

from cueapi.domain import ids
from cueapi.domain.audit import Act
from cueapi.domain.confidential import Confidential
from cueapi.security.vault import Vault
from cueapi.storage import accounts
from cueapi.storage.accounts import NewAccount
from cueapi.storage.database import Executor

PREFIX = 14
"""Characters of a key that are shown, so that its owner can tell which one it is."""


def read_key(vault: Vault, user: int, encrypted: bytes | None) -> str | None:
    """The API key of *user*; None where it cannot be read."""
    return None if encrypted is None else vault.decrypt(encrypted, Confidential.API_KEY, user)


async def replace_key(db: Executor, user: int, vault: Vault, act: Act) -> str:
    """A new key, in the place of the one before; the transaction has locked the user."""
    key = ids.new_api_key()
    encrypted = vault.encrypt(key, Confidential.API_KEY, user)
    await accounts.rotate_key(
        db, user=user, key_hash=accounts.digest(key), prefix=key[:PREFIX], encrypted=encrypted, act=act
    )
    return key


def new_account(user: int, email: str, plan: str, vault: Vault, *, verified: bool = False) -> tuple[str, NewAccount]:
    """A new key, and the account that it opens as it is stored; *user* is its reserved id."""
    key = ids.new_api_key()
    account = NewAccount(
        id=user,
        email=email,
        plan=plan,
        webhook_secret=vault.encrypt(ids.new_webhook_secret(), Confidential.WEBHOOK_SECRET, user),
        key_hash=accounts.digest(key),
        key_prefix=key[:PREFIX],
        key_encrypted=vault.encrypt(key, Confidential.API_KEY, user),
        verified=verified,
    )
    return key, account
