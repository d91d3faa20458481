"""The link in a sign-in mail: its page, and the button that approves the device code."""

from collections.abc import Callable

from attrs import frozen
from quart import Blueprint, Response, request

from cueapi.api.http.body import read, read_form
from cueapi.api.http.operations import HTML, for_browsers, operation
from cueapi.api.http.parameters import Text
from cueapi.api.linked_accounts import LinkedAccounts
from cueapi.api.mails import Mails
from cueapi.api.models.rendering import answer
from cueapi.api.models.requests.accounts import ConfirmBody
from cueapi.api.models.responses import accounts as responses
from cueapi.api.pages import Pages
from cueapi.domain.account import SignedIn
from cueapi.domain.errors import Refusal
from cueapi.domain.ids import is_device_code
from cueapi.storage import addresses, sign_in
from cueapi.storage.database import Database, Executor
from cueapi.storage.sign_in import DeviceCodeRow

TOKEN = Text("token", "The token of the link.")
DEVICE_CODE = Text("device_code", "The device code of the link.")

DEAD_LINK = "This link does not work"
REASONS = {
    "unknown": "This link is not valid, or a newer one was sent.",
    "used": "This link was used already.",
    "expired": "This link has expired; begin again where you wanted to sign in.",
}


@frozen
class MagicLinks:
    """`/v1/auth/verify`."""

    database: Database
    pages: Pages
    mails: Mails
    accounts: LinkedAccounts
    account_changed: Callable[[int], None]

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("magic_links", __name__, url_prefix="/v1/auth/verify")
        routes.get("")(self.show_link)
        routes.post("")(self.approve)
        return routes

    @for_browsers(TOKEN, DEVICE_CODE)
    async def show_link(self) -> Response:
        """The page that the link in the mail opens. It changes nothing, since mail scanners open links."""
        code, token = DEVICE_CODE.read_any(), TOKEN.read_any()
        row = await self._linked(code, token)
        if (reason := _why_not(row)) is not None:
            return self.pages.page("told", 400, title=DEAD_LINK, text=REASONS[reason], problem=True)
        assert row is not None
        found = await addresses.by_email(self.database, str(row.email))
        ends = self.mails.leave and found is not None and not found.verified
        return self.pages.page("approve", code=code, email=row.email, token=token, ends=ends)

    @operation(responses.Approved, body=ConfirmBody, refuses=("invalid_token",), also=((200, HTML), (400, HTML)))
    async def approve(self) -> Response:
        """
        Confirm a sign-in.

        The button on the page of the magic link sends this. It works once.
        """
        confirmation = await _confirmation()
        try:
            signed_in = await self._approve(confirmation.code, confirmation.token)
        except Refusal as refusal:
            if confirmation.wants_json:
                raise
            return self.pages.page("told", 400, title=DEAD_LINK, text=refusal.message, problem=True)
        if confirmation.wants_json:
            return answer({"status": "approved", "email": signed_in.email})
        if signed_in.key is not None:
            return self.pages.page("key", email=signed_in.email, key=signed_in.key)
        text = "You can close this page, and go back to the program that showed the code."
        return self.pages.page("told", title="You are signed in", text=text, problem=False)

    async def _approve(self, code: str, token: str) -> SignedIn:
        """Approve, and make the account where there is none. Refuses a link that does not work."""
        token_hash = sign_in.digest(token)
        async with self.database.transaction() as db:
            email = await sign_in.approve(db, code, token_hash=token_hash) if is_device_code(code) else None
            if email is None:
                raise Refusal("invalid_token", REASONS[_why_not(await self._linked(code, token)) or "used"])
            signed_in = await self._sign_in(db, email)
            await sign_in.assign(db, code, user=signed_in.user, new=signed_in.new)
        if signed_in.key is not None:
            self.account_changed(signed_in.user)
        return signed_in

    async def _linked(self, code: str, token: str) -> DeviceCodeRow | None:
        if not is_device_code(code):
            return None
        return await sign_in.linked(self.database, code, token_hash=sign_in.digest(token))

    async def _sign_in(self, db: Executor, email: str) -> SignedIn:
        signed_in = await self.accounts.by_mail(db, email)
        if signed_in is None:
            raise Refusal("invalid_token", REASONS["unknown"])
        return signed_in


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
