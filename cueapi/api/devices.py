"""Signing in: a program shows a code, its user gets a link by mail and confirms that code; the program polls."""

import secrets
import sys
from typing import Any
from urllib.parse import quote

from attrs import frozen
from quart import Blueprint, Response, g

from cueapi.api.api_keys import read_key
from cueapi.api.http.body import read, read_form
from cueapi.api.http.errors import STATUS, with_retry_after
from cueapi.api.http.operations import for_browsers, operation, shows_secret
from cueapi.api.http.parameters import Text
from cueapi.api.http.rate_limits import HOUR, MINUTE, Windows
from cueapi.api.mails import Mails
from cueapi.api.models.rendering import answer
from cueapi.api.models.requests.accounts import CodeBody, SubmitBody
from cueapi.api.models.responses import accounts as responses
from cueapi.api.pages import Pages
from cueapi.domain.account import checked_email
from cueapi.domain.errors import Invalid, Refusal
from cueapi.domain.ids import is_device_code
from cueapi.security.vault import Vault
from cueapi.storage import addresses, sign_in
from cueapi.storage.database import Database
from cueapi.storage.sign_in import ClaimedSignIn

CODES_AN_ADDRESS, POLLS_A_CODE = 5, 30

CODE = Text("code", "The device code.")


@frozen
class Devices:
    """`/v1/auth/device-code…`, and the page that a browser opens."""

    database: Database
    vault: Vault
    windows: Windows
    pages: Pages
    mails: Mails
    base_url: str
    open: bool

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("devices", __name__)
        routes.post("/v1/auth/device-code")(self.begin)
        routes.post("/v1/auth/device-code/submit-email")(self.submit)
        routes.post("/v1/auth/device-code/poll")(self.poll)
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
        row = await sign_in.show(self.database, code) if is_device_code(code) else None
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

    async def _submit(self, code: str, email: str) -> None:
        """Send a link for *code* to *email*, where it may sign in; the caller cannot tell whether it may."""
        if not self.mails.leave and self.mails.forbidden:
            raise Refusal("email_not_configured", "This server sends no mail; the operator must set SMTP_URL.")
        if (refusal := await self._refusal(code)) is not None:
            raise refusal
        user = await addresses.by_email(self.database, email)
        await self.mails.count_link(email, known=user is not None)
        token = secrets.token_urlsafe(32)
        welcome = not user.revoked if user is not None else self.open
        owner, address = (None, email) if user is None else (user.id, user.email)
        link = f"{self.base_url}/v1/auth/verify?token={token}&device_code={quote(code, safe='')}"
        async with self.database.transaction() as db:
            if not await sign_in.send(db, code, email=address, token_hash=sign_in.digest(token)):
                raise _invalid_status()
            if welcome and self.mails.leave:
                await self.mails.add_link(db, "sign_in_mail", user=owner, email=address, link=link, device_code=code)
        if welcome and self.mails.leave:
            self.mails.ready()
        elif welcome:
            print(f"Magic link for {address}: {link}", file=sys.stderr, flush=True)

    async def _refusal(self, code: str) -> Refusal | None:
        """Why no link can be sent for *code*."""
        row = await sign_in.show(self.database, code) if is_device_code(code) else None
        if row is None:
            return Refusal("device_code_not_found", "There is no such device code.")
        if row.expired:
            return Refusal("device_code_expired", "This device code has expired; begin again.")
        return None if row.status in {"pending", "email_sent"} else _invalid_status()


def _checked_code(code: str) -> str:
    if not is_device_code(code):
        raise Refusal("invalid_device_code", "A device code has 6 to 40 characters: letters A to Z, digits and -.")
    return code


def _invalid_status() -> Refusal:
    return Refusal("invalid_status", "This sign-in was confirmed already; begin again with another device code.")
