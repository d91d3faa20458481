"""Who asks: API keys, remembered for as long as the other daemons can be heard."""

from collections import OrderedDict
from collections.abc import Mapping

import trio
from attrs import define, field

from cueapi.domain.errors import Refusal
from cueapi.domain.plan import Limits
from cueapi.storage import accounts
from cueapi.storage.accounts import Account, Rotated, digest
from cueapi.storage.postgres import Database

LIFETIME = 60.0
"""Seconds after which an entry is asked for again, whatever was heard."""

ENTRIES = 100_000

MALFORMED = "Send the header Authorization: Bearer YOUR_API_KEY."


@define(eq=False)
class Keyring:
    """Keys → accounts. Remembers only while dead keys are heard of (NOTIFY), and forgets all when that ends."""

    database: Database
    plans: Mapping[str, Limits]
    trusted: bool = False
    _known: OrderedDict[bytes, tuple[float, Account]] = field(init=False, factory=OrderedDict)

    async def account(self, authorization: str | None) -> Account:
        """The account that an Authorization header opens; refuses every other header."""
        token = bearer(authorization)
        if not token.startswith("cue_sk_"):
            raise Refusal("invalid_session", "This session is not valid.")
        key_hash = digest(token)
        moment, known = self._known.get(key_hash, (0.0, None))
        if known is not None and moment > trio.current_time():
            return known
        try:
            account = await accounts.by_key(self.database, key_hash, plans=self.plans)
        except Rotated:
            raise Refusal("key_rotated", "This API key was replaced by a newer one.") from None
        if account is None:
            raise Refusal("invalid_api_key", "This API key is not valid.")
        self._remember(key_hash, account)
        return account

    def trust(self, heard: bool) -> None:
        """Whether dead keys are heard of; where not, nothing is remembered."""
        self.trusted = heard
        self._known.clear()

    def forget(self, key_hash: str) -> None:
        """That key (in hex) is dead, or its account has changed."""
        self._known.pop(bytes.fromhex(key_hash), None)

    def _remember(self, key_hash: bytes, account: Account) -> None:
        if self.trusted:
            self._known[key_hash] = (trio.current_time() + LIFETIME, account)
            if len(self._known) > ENTRIES:
                self._known.popitem(last=False)


def bearer(authorization: str | None) -> str:
    """The token of `Authorization: Bearer …` (RFC 6750); refuses any other form."""
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Refusal("invalid_api_key", MALFORMED)
    return token
