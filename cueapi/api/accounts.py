"""Accounts: register, me, key."""

from collections.abc import Awaitable, Callable

from attrs import frozen
from quart import Blueprint, Response, g

from cueapi.api.address_links import AddressLinks, taken
from cueapi.api.api_keys import new_account, read_key, replace_key
from cueapi.api.http.acting import REASON, act, act_of_body
from cueapi.api.http.body import read
from cueapi.api.http.operations import operation, shows_secret
from cueapi.api.http.parameters import CONFIRMED
from cueapi.api.http.rate_limits import HOUR, Windows
from cueapi.api.mails import Mails
from cueapi.api.models.rendering import answer
from cueapi.api.models.requests.accounts import MePatch, RegisterBody
from cueapi.api.models.requests.bodies import ReasonBody
from cueapi.api.models.responses import accounts as responses
from cueapi.domain import ids
from cueapi.domain.account import checked_email
from cueapi.domain.confidential import Confidential
from cueapi.domain.errors import Refusal
from cueapi.domain.target import Rules
from cueapi.net.dns import Resolver, check_reachable
from cueapi.security.vault import Vault
from cueapi.storage import accounts, own_keys
from cueapi.storage.accounts import Account, AccountChange
from cueapi.storage.database import Database, Duplicate, Executor


@frozen
class Accounts:
    """`/v1/auth`, but for signing in and secrets."""

    database: Database
    vault: Vault
    resolver: Resolver
    rules: Rules
    plan: str
    open: bool
    windows: Windows
    register_limit: int
    mails: Mails
    links: AddressLinks
    account_changed: Callable[[int], None]
    check: Callable[[Executor], Awaitable[None]]

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("accounts", __name__, url_prefix="/v1/auth")
        routes.post("/register")(self.register)
        routes.get("/me")(self.me)
        routes.patch("/me")(self.change)
        routes.get("/key")(self.key)
        routes.post("/key/regenerate")(self.rotate_key)
        return routes

    @shows_secret
    @operation(responses.Registered, status=201, body=RegisterBody, refuses=("duplicate_email", "not_found"))
    async def register(self) -> Response:
        """
        Register an account.

        The answer has its API key. Refused where the operator has closed registration. Where the server sends mail, a
        link goes to the address: confirming it makes the address verified, and replaces the key by one that its page
        shows.
        """
        if not self.open:
            raise Refusal("not_found", "Registration is closed here; the operator adds accounts.")
        email = checked_email((await read(RegisterBody)).email)
        await self.windows.check("register", g.address, self.register_limit, HOUR)
        async with self.database.transaction() as db:
            user = await accounts.reserve_id(db)
            key, account = new_account(user, email, self.plan, self.vault)
            if await accounts.add(db, account) is None:
                raise taken()
            await self.links.add(db, user, email)
        self.mails.ready()
        return answer({"api_key": key, "email": email}, 201)

    @shows_secret
    @operation(responses.Me, scope="read", in_groups=True)
    async def me(self) -> Response:
        """Show the account, its limits and what it has used."""
        row = await accounts.profile(self.database, g.account.id)
        assert row is not None
        limits = g.account.limits
        return answer(
            {
                "email": row.email,
                "email_verified": row.verified,
                "pending_email": row.pending_email,
                "plan": row.plan,
                "active_cues": row.live_cues,
                "active_cue_limit": limits.active_cues,
                "executions_this_month": row.executions,
                "monthly_execution_limit": limits.monthly_executions,
                "rate_limit_per_minute": limits.requests_per_minute,
                "has_webhook_secret": True,
                "api_key_prefix": row.prefix,
                "alert_webhook_url": row.alert_webhook_url,
                "key": _used_key(g.account),
            }
        )

    @operation(
        responses.Updated,
        scope="admin",
        body=MePatch,
        parameters=(REASON,),
        refuses=("no_fields", "invalid_alert_webhook_url", "duplicate_email"),
    )
    async def change(self) -> Response:
        """
        Change e-mail or alert webhook URL.

        Where the server sends mail, another address is the account's once the link that goes there is confirmed: only
        the account's own key and sessions may ask for it, since who has the mail box can sign in. The last address that
        was asked for counts.
        """
        body = await read(MePatch)
        if body.email is None and body.alert_webhook_url is None:
            raise Refusal("no_fields", 'Give email, alert_webhook_url, or both; "" clears alert_webhook_url.')
        email = None if body.email is None else checked_email(body.email)
        if email is not None and self.mails.leave:
            g.account.grant.check("admin", own=True)
        if body.alert_webhook_url:
            await check_reachable(body.alert_webhook_url, self.resolver, self.rules, code="invalid_alert_webhook_url")
        why, unproven = act(body.reason), None if email is None else await self.links.unproven(email)
        secret = self.vault.encrypt(ids.new_alert_secret(), Confidential.ALERT_SECRET, g.account.id)
        wanted = AccountChange(None if unproven else email, unproven, body.alert_webhook_url, secret)
        try:
            async with self.database.transaction() as db:
                former = await accounts.alert_url(db, g.account.id)
                changed = await accounts.change(db, wanted, user=g.account.id, act=why)
                if email is not None:
                    await self.links.ask(db, unproven)
                if body.alert_webhook_url is not None and (body.alert_webhook_url or None) != former:
                    await self.mails.tell(db, "alert_url_changed")
        except Duplicate:
            raise taken() from None
        self.account_changed(g.account.id)
        self.mails.ready()
        return answer({"updated_at": changed})

    @shows_secret
    @operation(responses.Key, scope="admin", own=True, refuses=("key_not_recoverable",))
    async def key(self) -> Response:
        """
        Show the API key.

        A key that was made under another `SESSION_SECRET` cannot be decrypted.
        """
        row = await own_keys.own(self.database, g.account.id)
        key = read_key(self.vault, g.account.id, None if row is None else row.encrypted)
        if key is None:
            message = "This key was made under another SESSION_SECRET and cannot be shown; regenerate it."
            raise Refusal("key_not_recoverable", message, prefix=None if row is None else row.prefix)
        return answer({"api_key": key})

    @shows_secret
    @operation(
        responses.NewKey,
        scope="admin",
        own=True,
        body=ReasonBody,
        parameters=(CONFIRMED, REASON),
        refuses=("confirmation_required",),
    )
    async def rotate_key(self) -> Response:
        """
        Replace the API key.

        The old key and every session end at once, on every daemon.
        """
        CONFIRMED.require()
        why = await act_of_body()
        async with self.database.transaction() as db:
            await accounts.lock(db, g.account.id)
            # A key that was revoked or replaced meanwhile must not undo that.
            await self.check(db)
            key = await replace_key(db, g.account.id, self.vault, why)
            await self.mails.tell(db, "key_replaced")
        self.account_changed(g.account.id)
        self.mails.ready()
        return answer({"api_key": key, "previous_key_revoked": True})


def _used_key(account: Account) -> dict[str, object] | None:
    """The key that the request was sent with; None for a session."""
    actor, grant = account.actor, account.grant
    if actor.kind != "key":
        return None
    shown: dict[str, object] = {"id": actor.id, "name": actor.name, "own": grant.own}
    return shown | {"scopes": grant.scopes, "groups": grant.groups, "expires_at": grant.until}
