"""Who looks at a page: the cookie, the session that it opens, and whether a form was sent by a page of ours."""

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from urllib.parse import urlsplit

from attrs import field, frozen
from quart import Response, g, request

from cueapi.dashboard.forms import Form, read_form
from cueapi.domain.errors import NotSignedIn
from cueapi.domain.plan import Limits
from cueapi.storage import browser_sessions
from cueapi.storage.accounts import Account
from cueapi.storage.browser_sessions import SeenHold
from cueapi.storage.database import Database, Executor

LONGEST = 30 * 86_400
"""Seconds for which a browser keeps the cookie: no session lives longer."""

TOKEN = 32
"""Bytes of a token: 256 bits of chance, so that its SHA-256 needs no salt."""

FORM_TOKEN = "form_token"
"""The field of each form that shows that it stood on a page of this session."""


class SignedOut(Exception):
    """The request opens no session: a person is led to the page for signing in."""


class ForgedForm(Exception):
    """The form was not sent by a page of ours, or not by a page of this session; nothing is done."""


@frozen
class BrowserSession:
    """A browser that is signed in, and the account that it may act for."""

    account: Account
    begun: datetime
    hash: bytes = field(repr=False)
    token: str = field(repr=False)
    open_alerts: int = 0
    """As the page was asked for; 100 stands for more."""
    hold: SeenHold | None = None
    """What every page says of the account, as it was asked for."""

    @property
    def user(self) -> int:
        """The id of the account."""
        return self.account.id

    @property
    def form_token(self) -> str:
        """What each form of the session carries; it follows from the cookie, which no other page can read."""
        return hmac.digest(self.token.encode(), b"cueapi form", hashlib.sha256).hex()

    def sign(self, text: str) -> str:
        """What shows that this session has written *text*."""
        return hmac.digest(self.token.encode(), b"cueapi notice " + text.encode(), hashlib.sha256).hex()

    async def check(self, db: Executor) -> None:
        """Refuse where the session serves no more, by what *db* sees."""
        if await browser_sessions.open_session(db, self.hash, plans={}) is None:
            raise NotSignedIn("invalid_session", "This session has ended; sign in again.")


@frozen
class BrowserSessions:
    """
    Sessions of people, by cookie: 12 hours idle, 30 days in all, and no longer than the key of the sign-in.

    *base_url* is how the server is reached: it says whether the cookie is for https only, and below which path.
    *count_stranger* refuses a client's address that has sent too many cookies which open nothing.
    """

    database: Database
    plans: Mapping[str, Limits]
    base_url: str
    count_stranger: Callable[[str], Awaitable[None]]

    async def find(self) -> BrowserSession | None:
        """The session of the request's cookie; None where there is none that serves. One statement."""
        token = request.cookies.get(self.cookie)
        if not token or len(token) > 100:
            return None
        found = await browser_sessions.open_session(self.database, digest(token), plans=self.plans)
        if found is None:
            await self.count_stranger(g.address)
            return None
        g.session = session = BrowserSession(
            found.account, found.begun, found.hash, token, found.open_alerts, found.hold
        )
        return session

    async def require(self) -> BrowserSession:
        """The session of a page. Raises SignedOut where there is none."""
        session = await self.find()
        if session is None:
            raise SignedOut
        return session

    async def require_post(self) -> tuple[BrowserSession, Form]:
        """The session of an action, and its form. Raises SignedOut, or ForgedForm where another page has sent it."""
        self.check_origin()
        session = await self.require()
        form = await read_form()
        if not hmac.compare_digest(form.text(FORM_TOKEN).encode(), session.form_token.encode()):
            raise ForgedForm
        return session, form

    def check_origin(self) -> None:
        """
        Raise ForgedForm where the request comes from another site, or does not say where it comes from.

        Browsers say it in Sec-Fetch-Site (Fetch Metadata) where the page is secure, and in Origin (RFC 6454) else.
        """
        site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
        if site is not None and site != "same-origin":
            raise ForgedForm
        if site is None and (origin is None or not self._is_own(origin)):
            raise ForgedForm

    def _is_own(self, origin: str) -> bool:
        base = urlsplit(self.base_url)
        if origin == f"{base.scheme}://{base.netloc}":
            return True
        # Reached by another name than BASE_URL's: what the browser calls us is what it takes for our origin.
        return origin == f"{base.scheme}://{request.host}"

    async def begin(self, db: Executor, response: Response, user: int) -> bool:
        """
        A new session of *user*, its cookie on *response*; the session of before ends. False where none can begin.

        The token is made here: one that the browser brought along opens nothing (no fixation).
        """
        if (former := request.cookies.get(self.cookie)) is not None:
            await browser_sessions.forget(db, digest(former))
        token = await self._add(db, user)
        if token is not None:
            self._set(response, token, LONGEST)
        return token is not None

    async def renew(self, db: Executor, session: BrowserSession) -> BrowserSession:
        """The session that begins where a new key has ended *session*. Raises SignedOut where none can begin."""
        token = await self._add(db, session.user)
        if token is None:
            raise SignedOut
        return BrowserSession(session.account, session.begun, digest(token), token)

    async def _add(self, db: Executor, user: int) -> str | None:
        """The token of a new session; None where the account has no key."""
        token, browser = secrets.token_urlsafe(TOKEN), request.headers.get("User-Agent", "").replace("\0", "")
        added = await browser_sessions.add(db, token_hash=digest(token), user=user, browser=browser, address=g.address)
        return token if added else None

    def set_cookie(self, response: Response, session: BrowserSession) -> None:
        """Have the browser send *session* from now on."""
        self._set(response, session.token, LONGEST)

    async def end(self, response: Response, session: BrowserSession) -> None:
        """End *session*, and have the browser forget its cookie."""
        await browser_sessions.end(self.database, user=session.user, token_hash=session.hash)
        self.forget_cookie(response)

    def forget_cookie(self, response: Response) -> None:
        """Have the browser forget the session."""
        self._set(response, "", 0)

    def _set(self, response: Response, value: str, seconds: int) -> None:
        response.set_cookie(
            self.cookie, value, max_age=seconds, path=self.path, secure=self.secure, httponly=True, samesite="Lax"
        )

    @property
    def secure(self) -> bool:
        """Whether the server is reached by https."""
        return self.base_url.startswith("https:")

    @property
    def root(self) -> str:
        """The path below which the server is reached, without a slash at its end."""
        return urlsplit(self.base_url).path.rstrip("/")

    @property
    def path(self) -> str:
        """The path of the cookie."""
        return self.root or "/"

    @property
    def cookie(self) -> str:
        """The cookie's name: where it can be, one that no other host and no http page can set (RFC 6265bis, 4.1.3)."""
        return "__Host-cueapi_session" if self.secure and not self.root else "cueapi_session"


def digest(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
