"""Who asks: API keys and sessions, remembered for as long as the other daemons can be heard."""

import re
from collections import OrderedDict
from collections.abc import Mapping
from math import inf

import trio
from attrs import define, field
from quart import g, request

from cueapi.domain.errors import NotSignedIn
from cueapi.domain.plan import Limits
from cueapi.domain.scope import Grant
from cueapi.security.sessions import Session, SessionBroken, SessionExpired, Sessions
from cueapi.storage import accounts
from cueapi.storage.accounts import Account, Expired, Rotated
from cueapi.storage.clock import Clock
from cueapi.storage.database import Database, Executor

LIFETIME = 60.0
"""Seconds after which an entry is asked for again, whatever was heard."""

ENTRIES = 100_000

API_KEY = re.compile(r"cue_sk_[0-9a-f]{32}")

NO_KEY = "This is no API key: a key is cue_sk_ and 32 hexadecimal digits."

MALFORMED = "Send the header Authorization: Bearer YOUR_API_KEY."


@define(eq=False)
class Authenticator:
    """
    Keys and sessions → accounts.

    Remembers only while changes of accounts are heard of (NOTIFY), and forgets all when that ends.
    """

    database: Database
    plans: Mapping[str, Limits]
    sessions: Sessions
    clock: Clock
    trusted: bool = False
    _known: OrderedDict[bytes, tuple[float, Account]] = field(init=False, factory=OrderedDict)
    _changes: int = field(init=False, default=0)

    async def account(self, authorization: str | None) -> Account:
        """The account that an Authorization header opens; refuses every other header."""
        token = bearer(authorization)
        digest = accounts.digest(token)
        moment, known = self._known.get(digest, (0.0, None))
        if known is not None and moment > trio.current_time():
            return known
        changes = self._changes
        account, serves = await self._look_up(self.database, token)
        # A change that was heard of while we asked may have come after what we were told.
        if changes == self._changes:
            self._remember(digest, account, min(serves, LIFETIME))
        return account

    async def check(self, db: Executor, authorization: str | None) -> None:
        """Refuse a header that opens no account any more, by what *tx* sees and not by what is remembered."""
        await self._look_up(db, bearer(authorization))

    async def check_sender(self, db: Executor) -> None:
        """As `check`, of the request that is being answered: also of one that the dashboard makes for a session."""
        caller = g.get("caller")
        if caller is None:
            await self.check(db, request.headers.get("Authorization"))
        else:
            await caller.check(db)

    async def recheck(self) -> None:
        """Refuse where the key or session of a request that has waited serves no more: asked only where that is new."""
        await self.account(request.headers.get("Authorization"))

    def session(self, authorization: str | None) -> Session:
        """The session in an Authorization header; refuses an API key, and a session that serves no more."""
        try:
            return self.sessions.read(bearer(authorization), now=self.clock.now())
        except SessionExpired:
            raise NotSignedIn("session_expired", "This session has expired; sign in again.") from None
        except SessionBroken:
            raise NotSignedIn("invalid_session", "This session is not valid.") from None

    def serves_for(self, authorization: str | None, grant: Grant) -> float:
        """For how many seconds what is in a header serves by itself: a session, or the key of that *grant*."""
        until = grant.until if is_key(bearer(authorization)) else self.session(authorization).expires
        return inf if until is None else (until - self.clock.now()).total_seconds()

    async def _look_up(self, db: Executor, token: str) -> tuple[Account, float]:
        """The account of a key or a session, and for how many seconds it serves."""
        if is_key(token):
            return await self._by_key(db, accounts.digest(token))
        # A session is a JSON Web Token in its compact form (RFC 7519, 3): three parts.
        if token.count(".") == 2:
            return await self._by_session(db, token)
        raise NotSignedIn("invalid_api_key", NO_KEY)

    async def _by_key(self, db: Executor, key_hash: bytes) -> tuple[Account, float]:
        try:
            found = await accounts.by_key(db, key_hash, plans=self.plans)
        except Rotated:
            raise NotSignedIn("key_rotated", "This API key was replaced by a newer one.") from None
        except Expired:
            raise NotSignedIn(
                "key_expired", "The time of this API key is over; its owner can make another one."
            ) from None
        if found is None:
            raise NotSignedIn("invalid_api_key", "This API key is not known.")
        return found

    async def _by_session(self, db: Executor, token: str) -> tuple[Account, float]:
        """The account of a session, and for how many seconds it serves."""
        session = self.session(f"Bearer {token}")
        account = await accounts.by_session(db, session.user, signed_in=session.signed_in, plans=self.plans)
        if account is None:
            raise NotSignedIn("invalid_session", "This session has ended; sign in again.")
        return account, (session.expires - self.clock.now()).total_seconds()

    def mark_cache_valid(self, heard: bool) -> None:
        """Whether changes are heard of; where not, nothing is remembered."""
        self.trusted = heard
        self._changes += 1
        self._known.clear()

    def invalidate(self, user: int) -> None:
        """That account has changed: its key is dead, or its limits are others."""
        self._changes += 1
        for digest in [digest for digest, (_, account) in self._known.items() if account.id == user]:
            del self._known[digest]

    def _remember(self, digest: bytes, account: Account, serves: float) -> None:
        if self.trusted:
            self._known[digest] = (trio.current_time() + serves, account)
            if len(self._known) > ENTRIES:
                self._known.popitem(last=False)


def bearer(authorization: str | None) -> str:
    """The token of `Authorization: Bearer …` (RFC 6750); refuses any other form."""
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise NotSignedIn("invalid_api_key", MALFORMED)
    return token


def is_key(token: str) -> bool:
    """True for what has the form of an API key."""
    return API_KEY.fullmatch(token) is not None
