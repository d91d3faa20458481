"""Signing in: a program shows a code, its user gets a link by mail and confirms that code; the program polls."""

import re
import secrets
import sys
from base64 import b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from attrs import field, frozen
from quart import Blueprint, Response, g, request

from cueapi.api.accounts import new_account, read_key
from cueapi.api.http.body import read, read_form
from cueapi.api.http.errors import STATUS, with_retry_after
from cueapi.api.http.operations import HTML, for_browsers, operation, shows_secret
from cueapi.api.http.parameters import Text
from cueapi.api.http.rate_limits import HOUR, MINUTE, Windows
from cueapi.api.models.rendering import answer
from cueapi.api.models.requests.accounts import CodeBody, ConfirmBody, SubmitBody
from cueapi.api.models.responses import accounts as responses
from cueapi.api.pages import Pages
from cueapi.domain.account import checked_email
from cueapi.domain.confidential import Confidential
from cueapi.domain.errors import Invalid, Refusal
from cueapi.security.vault import Vault
from cueapi.storage import accounts, sign_in
from cueapi.storage.database import Database, Executor
from cueapi.storage.notifications import add_sign_in_mail
from cueapi.storage.sign_in import ClaimedSignIn, DeviceCodeRow

CODES_AN_ADDRESS, LINKS_A_MAIL, LINKS_AN_ADDRESS, POLLS_A_CODE = 5, 3, 10, 30

CODE_FORM = re.compile(r"[A-Za-z0-9-]{6,40}")
"""It stands in a mail that anyone can have sent to anyone: too little room for a message or a link."""

CODE = Text("code", "The device code.")
TOKEN = Text("token", "The token of the link.")
DEVICE_CODE = Text("device_code", "The device code of the link.")

DEAD_LINK = "This link does not work"
REASONS = {
    "unknown": "This link is not valid, or a newer one was sent.",
    "used": "This link was used already.",
    "expired": "This link has expired; begin again where you wanted to sign in.",
}


@frozen
class MagicLinkDelivery:
    """
    How magic links are sent: by mail where *mails*, else they are printed, unless that is *forbidden*.

    *ready* is called when a mail waits.
    """

    mails: bool
    forbidden: bool
    ready: Callable[[], None]


@frozen
class Devices:
    """`/v1/auth/device-code…`, `/v1/auth/verify`, and the page that a browser opens."""

    database: Database
    vault: Vault
    windows: Windows
    pages: Pages
    post: MagicLinkDelivery
    base_url: str
    plan: str
    open: bool = field(kw_only=True)

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("devices", __name__)
        routes.post("/v1/auth/device-code")(self.begin)
        routes.post("/v1/auth/device-code/submit-email")(self.submit)
        routes.post("/v1/auth/device-code/poll")(self.poll)
        routes.get("/v1/auth/verify")(self.show_link)
        routes.post("/v1/auth/verify")(self.approve)
        routes.get("/auth/device")(self.show_code)
        routes.post("/auth/device")(self.submit_form)
        return routes

    @operation(responses.DeviceCode, status=201, body=CodeBody, refuses=("invalid_device_code", "device_code_exists"))
    async def begin(self) -> Response:
        """
        Begin a sign-in.

        The program makes up a device code, and has its user open `verification_url`.
        """
        code = _checked_code((await read(CodeBody)).device_code)
        await self.windows.check("device-code", g.address, CODES_AN_ADDRESS, HOUR)
        if not await sign_in.add(self.database, code):
            raise Refusal("device_code_exists", "This device code is in use; make up another one.")
        url = f"{self.base_url}/auth/device?code={quote(code, safe='')}"
        return answer({"verification_url": url, "expires_in": sign_in.LIFETIME}, 201)

    @operation(
        responses.EmailSent,
        body=SubmitBody,
        refuses=("device_code_not_found", "device_code_expired", "invalid_status", "email_not_configured"),
    )
    async def submit(self) -> Response:
        """
        Send the magic link of a sign-in.

        The answer is the same whether or not the address may sign in.
        """
        body = await read(SubmitBody)
        await self._submit(body.device_code, checked_email(body.email))
        return answer({"status": "email_sent"})

    @shows_secret
    @operation(responses.Polled, body=CodeBody)
    async def poll(self) -> Response:
        """
        Poll for the end of a sign-in.

        `approved` is answered once, with the key and a session token; after that, `claimed`.
        """
        code = (await read(CodeBody)).device_code
        row = None if _is_strange(code) else await sign_in.show(self.database, code)
        if row is not None:
            # Made-up codes are not counted: they would push out those that others wait for.
            await self.windows.check("device-poll", code, POLLS_A_CODE, MINUTE)
        if row is None or row.expired:
            return answer({"status": "expired"})
        if row.status != "approved":
            return answer({"status": row.status})
        token = secrets.token_urlsafe(32)
        claimed = await sign_in.claim(self.database, code, token_hash=sign_in.digest(token))
        if claimed is None:
            return answer({"status": "claimed"})
        return answer({"status": "approved", "email": claimed.email, "session_token": token, **self._key(claimed)})

    def _key(self, claimed: ClaimedSignIn) -> dict[str, Any]:
        key = read_key(self.vault, claimed.user_id, claimed.encrypted)
        return {"existing_user": True} if key is None else {"api_key": key}

    @for_browsers(CODE)
    async def show_code(self) -> Response:
        """The page that the program opens: a form for the e-mail address."""
        code = CODE.read_any()
        if (refusal := await self._refusal(code)) is not None:
            return self.pages.page("told", 400, title="This sign-in cannot go on", text=refusal.message, problem=True)
        return self.pages.page("device", code=code, email="", problem=None)

    @for_browsers()
    async def submit_form(self) -> Response:
        """Accept that form."""
        form = await read_form() or {}
        code, email = form.get("code", ""), form.get("email", "").strip()
        try:
            await self._submit(code, checked_email(email))
        except Invalid:
            problem = "This is no e-mail address; please check it."
            return self.pages.page("device", 422, code=code, email=email, problem=problem)
        except Refusal as refusal:
            page = self.pages.page(
                "told", STATUS[refusal.code], title="No link was sent", text=refusal.message, problem=True
            )
            return with_retry_after(refusal, page)
        return self.pages.page("sent", code=code, email=email)

    @for_browsers(TOKEN, DEVICE_CODE)
    async def show_link(self) -> Response:
        """The page that the link in the mail opens. It changes nothing, since mail scanners open links."""
        code, token = DEVICE_CODE.read_any(), TOKEN.read_any()
        row = await self._linked(code, token)
        if (reason := _why_not(row)) is not None:
            return self.pages.page("told", 400, title=DEAD_LINK, text=REASONS[reason], problem=True)
        assert row is not None
        return self.pages.page("approve", code=code, email=row.email, token=token)

    @operation(responses.Approved, body=ConfirmBody, refuses=("invalid_token",), also=((200, HTML), (400, HTML)))
    async def approve(self) -> Response:
        """
        Confirm a sign-in.

        The button on the page of the magic link sends this. It works once.
        """
        confirmation = await _confirmation()
        try:
            email = await self._approve(confirmation.code, confirmation.token)
        except Refusal as refusal:
            if confirmation.wants_json:
                raise
            return self.pages.page("told", 400, title=DEAD_LINK, text=refusal.message, problem=True)
        if confirmation.wants_json:
            return answer({"status": "approved", "email": email})
        text = "You can close this page, and go back to the program that showed the code."
        return self.pages.page("told", title="You are signed in", text=text, problem=False)

    async def _submit(self, code: str, email: str) -> None:
        """Send a link for *code* to *email*, where it may sign in; the caller cannot tell whether it may."""
        if not self.post.mails and self.post.forbidden:
            raise Refusal("email_not_configured", "This server sends no mail; the operator must set SMTP_URL.")
        if (refusal := await self._refusal(code)) is not None:
            raise refusal
        await self.windows.check("link-address", g.address, LINKS_AN_ADDRESS, HOUR)
        await self.windows.check("link-mail", email.lower(), LINKS_A_MAIL, HOUR)
        token = secrets.token_urlsafe(32)
        user = await accounts.by_email(self.database, email)
        welcome = not user.revoked if user is not None else self.open
        link = f"{self.base_url}/v1/auth/verify?token={token}&device_code={quote(code, safe='')}"
        async with self.database.transaction() as db:
            if not await sign_in.send(db, code, email=email, token_hash=sign_in.digest(token)):
                raise _invalid_status()
            if welcome and self.post.mails:
                ciphertext = self.vault.encrypt(link, Confidential.LINK, email)
                content = {"to": email, "device_code": code, "ciphertext": b64encode(ciphertext).decode()}
                await add_sign_in_mail(db, user=None if user is None else user.id, content=content)
        if welcome and self.post.mails:
            self.post.ready()
        elif welcome:
            print(f"Magic link for {email}: {link}", file=sys.stderr, flush=True)

    async def _refusal(self, code: str) -> Refusal | None:
        """Why no link can be sent for *code*."""
        row = None if _is_strange(code) else await sign_in.show(self.database, code)
        if row is None:
            return Refusal("device_code_not_found", "There is no such device code.")
        if row.expired:
            return Refusal("device_code_expired", "This device code has expired; begin again.")
        return None if row.status in {"pending", "email_sent"} else _invalid_status()

    async def _approve(self, code: str, token: str) -> str:
        """Approve, and make the account where there is none; its address. Refuses a link that does not work."""
        token_hash = sign_in.digest(token)
        async with self.database.transaction() as db:
            email = None if _is_strange(code) else await sign_in.approve(db, code, token_hash=token_hash)
            if email is None:
                raise Refusal("invalid_token", REASONS[_why_not(await self._linked(code, token)) or "used"])
            user, new = await self._user(db, email)
            if user is None:
                raise Refusal("invalid_token", REASONS["unknown"])
            await sign_in.assign(db, code, user=user, new=new)
        return email

    async def _linked(self, code: str, token: str) -> DeviceCodeRow | None:
        if _is_strange(code):
            return None
        return await sign_in.linked(self.database, code, token_hash=sign_in.digest(token))

    async def _user(self, db: Executor, email: str) -> tuple[int | None, bool]:
        """The account of an address, and whether it is new; None where the address may not sign in."""
        found = await accounts.by_email(db, email)
        if found is None and self.open:
            _, account = new_account(await accounts.reserve_id(db), email, self.plan, self.vault)
            made = await accounts.add(db, account)
            if made is not None:
                return made, True
            found = await accounts.by_email(db, email)  # Another request was faster.
        return (None if found is None or found.revoked else found.id), False


@frozen
class _Confirmation:
    """What the button sent, and the form of the answer."""

    code: str
    token: str
    wants_json: bool


async def _confirmation() -> _Confirmation:
    """From a form, or from JSON; the answer is of the same kind where the Accept header does not say otherwise."""
    form = await read_form()
    kinds = ["application/json", "text/html"] if form is None else ["text/html", "application/json"]
    wants_json = request.accept_mimetypes.best_match(kinds, kinds[0]) == "application/json"
    if form is not None:
        return _Confirmation(form.get("device_code", ""), form.get("token", ""), wants_json)
    body = await read(ConfirmBody)
    return _Confirmation(body.device_code, body.token, wants_json)


def _why_not(row: DeviceCodeRow | None) -> str | None:
    """Why a link does not work; None where it does."""
    if row is None:
        return "unknown"
    if row.status != "email_sent":
        return "used"
    return "expired" if row.expired else None


def _checked_code(code: str) -> str:
    if not CODE_FORM.fullmatch(code):
        raise Refusal("invalid_device_code", "A device code has 6 to 40 characters: letters A to Z, digits and -.")
    return code


def _is_strange(text: str) -> bool:
    """True for a text that no device code can be, and that PostgreSQL may not be able to hold."""
    return not CODE_FORM.fullmatch(text)


def _invalid_status() -> Refusal:
    return Refusal("invalid_status", "This sign-in was confirmed already; begin again with another device code.")
