"""The account: its address, what it may use and has used, its key and secrets, and where it is signed in."""

from collections.abc import Callable

from attrs import frozen
from quart import Blueprint, Response

from cueapi.dashboard.browser_names import browser_name
from cueapi.dashboard.contract import CONFIRMED, Contract
from cueapi.dashboard.rendering import Rendering
from cueapi.dashboard.sessions import BrowserSession, BrowserSessions
from cueapi.domain.errors import Refusal
from cueapi.storage import accounts, browser_sessions


@frozen
class Secret:
    """Something secret of an account: its field in the contract's answers, its paths there, and what it is called."""

    field: str
    path: str
    title: str
    used_for: str
    after: str


SECRETS = {
    "key": Secret(
        "api_key",
        "/v1/auth/key",
        "API key",
        "Programs send it as a bearer token.",
        "The former key and every session of it have ended, on every daemon; this browser was signed in anew.",
    ),
    "webhook-secret": Secret(
        "webhook_secret",
        "/v1/auth/webhook-secret",
        "Webhook secret",
        "Deliveries and failure webhooks are signed with it.",
        "Handlers must verify with this one from now on.",
    ),
    "alert-webhook-secret": Secret(
        "alert_webhook_secret",
        "/v1/auth/alert-webhook-secret",
        "Alert webhook secret",
        "Alerts are signed with it.",
        "Receivers of alerts must verify with this one from now on.",
    ),
}


@frozen
class AccountPages:
    """`/ui/account`."""

    pages: Rendering
    sessions: BrowserSessions
    contract: Contract
    account_changed: Callable[[int], None]

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("account", __name__, url_prefix="/account")
        routes.get("")(self.show)
        routes.post("")(self.change)
        routes.post("/<name>/show")(self.show_secret)
        routes.post("/<name>/replace")(self.replace_secret)
        routes.post("/sessions/end")(self.end_session)
        routes.post("/sessions/end-all")(self.end_all)
        return routes

    async def show(self) -> Response:
        """The page."""
        return await self._page(await self.sessions.require(), 200)

    async def change(self) -> Response:
        """Another address, or another URL for alerts; what is refused stands beside its field."""
        session, form = await self.sessions.require_post()
        typed = {name: form.text(name) for name in ("email", "alert_webhook_url") if form.has(name)}
        done = await self.contract.call(session, "PATCH", "/v1/auth/me", typed)
        if done.status in {401, 429, 503}:
            done.require()
        if not done.ok:
            name = "email" if done.code == "duplicate_email" else "alert_webhook_url"
            return await self._page(session, done.status, typed, done.fields or {name: done.message})
        row = await accounts.profile(self.sessions.database, session.user)
        waits = row is not None and row.pending_email is not None and "email" in typed
        return self.pages.back("/ui/account", "A link is on its way to the new address." if waits else "Saved.")

    async def show_secret(self, name: str) -> Response:
        """A key or secret, once: with no-store, and not at a GET, which a browser repeats and remembers."""
        session, _ = await self.sessions.require_post()
        secret = _secret(name)
        answer = await self.contract.call(session, "GET", secret.path)
        answer.require()
        value = str(answer.body[secret.field])
        return self.pages.render("secret", session, secret=secret, name=name, value=value, replaced=False)

    async def replace_secret(self, name: str) -> Response:
        """A new one. A new key ends every session, and begins another one for this browser."""
        session, form = await self.sessions.require_post()
        secret = _secret(name)
        query = "?overlap_hours=24" if name == "webhook-secret" and form.has("overlap") else ""
        answer = await self.contract.call(session, "POST", f"{secret.path}/regenerate{query}", {}, CONFIRMED)
        answer.require()
        value = str(answer.body[secret.field])
        if name != "key":
            return self.pages.render("secret", session, secret=secret, name=name, value=value, replaced=True)
        return await self._signed_in_anew(session, secret, value)

    async def _signed_in_anew(self, session: BrowserSession, secret: Secret, value: str) -> Response:
        """The page with a new key: its forms belong to the session that begins with it."""
        began = await self.sessions.renew(self.sessions.database, session)
        page = self.pages.render("secret", began, secret=secret, name="key", value=value, replaced=True)
        self.sessions.set_cookie(page, began)
        return page

    async def end_session(self) -> Response:
        """End one session of the account, perhaps this one."""
        session, form = await self.sessions.require_post()
        chosen = _digest(form.text("session"))
        async with self.sessions.database.transaction() as db:
            if not await browser_sessions.end(db, user=session.user, token_hash=chosen):
                raise Refusal("not_found", "This session has ended already.")
        self.account_changed(session.user)
        if chosen == session.hash:
            return self._out()
        return self.pages.back("/ui/account", "The session has ended.")

    async def end_all(self) -> Response:
        """End every session of the account, in browsers and of programs; the key stays."""
        session, _ = await self.sessions.require_post()
        async with self.sessions.database.transaction() as db:
            await browser_sessions.end_all(db, session.user)
        self.account_changed(session.user)
        return self._out()

    def _out(self) -> Response:
        response = self.pages.see_other("/ui/sign-in")
        self.sessions.forget_cookie(response)
        return response

    async def _page(
        self,
        session: BrowserSession,
        status: int,
        typed: dict[str, str] | None = None,
        problems: dict[str, str] | None = None,
    ) -> Response:
        db = self.sessions.database
        profile = await accounts.profile(db, session.user)
        listed = await browser_sessions.listed(db, session.user)
        assert profile is not None
        stored = {"email": profile.email, "alert_webhook_url": profile.alert_webhook_url or ""}
        return self.pages.render(
            "account", session, status, profile=profile, limits=session.account.limits, listed=listed,
            secrets=SECRETS, browser_name=browser_name, typed=stored | (typed or {}), problems=problems or {},
        )  # fmt: skip


def _secret(name: str) -> Secret:
    if name not in SECRETS:
        raise Refusal("not_found", "There is nothing at this path.")
    return SECRETS[name]


def _digest(text: str) -> bytes:
    """The digest that a form names a session by; empty where the text is none."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
