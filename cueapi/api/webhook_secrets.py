"""What webhooks and alerts are signed with: shown, and replaced."""

from attrs import frozen
from quart import Blueprint, Response, g

from cueapi.api.http.acting import REASON, act_of_body
from cueapi.api.http.operations import operation, shows_secret
from cueapi.api.http.parameters import CONFIRMED, Whole
from cueapi.api.mails import Mails
from cueapi.api.models.rendering import answer
from cueapi.api.models.requests.bodies import ReasonBody
from cueapi.api.models.responses import accounts as responses
from cueapi.domain import ids
from cueapi.domain.confidential import Confidential
from cueapi.domain.errors import Refusal
from cueapi.security.vault import Vault
from cueapi.storage import webhook_secrets
from cueapi.storage.database import Database

OVERLAP = Whole("overlap_hours", "Hours for which webhooks are signed with both secrets.", 0, 72, 0)


@frozen
class WebhookSecrets:
    """`/v1/auth/webhook-secret` and `/v1/auth/alert-webhook-secret`."""

    database: Database
    vault: Vault
    mails: Mails

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("webhook_secrets", __name__, url_prefix="/v1/auth")
        routes.get("/webhook-secret")(self.webhook_secret)
        routes.post("/webhook-secret/regenerate")(self.rotate_webhook_secret)
        routes.get("/alert-webhook-secret")(self.alert_secret)
        routes.post("/alert-webhook-secret/regenerate")(self.rotate_alert_secret)
        return routes

    @shows_secret
    @operation(responses.Secret, scope="admin", refuses=("secret_not_recoverable",))
    async def webhook_secret(self) -> Response:
        """
        Show the secret that webhooks are signed with.

        A secret that was made under another `SESSION_SECRET` cannot be decrypted.
        """
        stored = await webhook_secrets.webhook_secret(self.database, g.account.id)
        return answer({"webhook_secret": self._read(stored, Confidential.WEBHOOK_SECRET)})

    @shows_secret
    @operation(
        responses.NewSecret,
        scope="admin",
        body=ReasonBody,
        parameters=(CONFIRMED, OVERLAP, REASON),
        refuses=("confirmation_required",),
    )
    async def rotate_webhook_secret(self) -> Response:
        """
        Replace the secret that webhooks are signed with.

        For `overlap_hours` the header `webhook-signature` carries the signatures of both secrets. Two sign at most: one
        that is replaced again within that time ends the secret before it.
        """
        CONFIRMED.require()
        why = await act_of_body()
        secret, hours = ids.new_webhook_secret(), OVERLAP.read()
        encrypted = self.vault.encrypt(secret, Confidential.WEBHOOK_SECRET, g.account.id)
        async with self.database.transaction() as db:
            await webhook_secrets.rotate_webhook_secret(
                db, user=g.account.id, secret=encrypted, overlap_hours=hours, act=why
            )
            await self.mails.tell(db, "webhook_secret_replaced")
        self.mails.ready()
        return answer({"webhook_secret": secret, "previous_secret_revoked": hours == 0})

    @shows_secret
    @operation(responses.AlertWebhookSecret, scope="admin", refuses=("secret_not_recoverable",))
    async def alert_secret(self) -> Response:
        """
        Show the secret that alert webhooks are signed with.

        A secret that was made under another `SESSION_SECRET` cannot be decrypted.
        """
        new = self.vault.encrypt(ids.new_alert_secret(), Confidential.ALERT_SECRET, g.account.id)
        stored = await webhook_secrets.alert_secret(self.database, user=g.account.id, otherwise=new)
        return answer({"alert_webhook_secret": self._read(stored, Confidential.ALERT_SECRET)})

    @shows_secret
    @operation(
        responses.NewAlertWebhookSecret,
        scope="admin",
        body=ReasonBody,
        parameters=(CONFIRMED, REASON),
        refuses=("confirmation_required",),
    )
    async def rotate_alert_secret(self) -> Response:
        """
        Replace the secret that alert webhooks are signed with.

        The former one ends at once.
        """
        CONFIRMED.require()
        why, secret = await act_of_body(), ids.new_alert_secret()
        encrypted = self.vault.encrypt(secret, Confidential.ALERT_SECRET, g.account.id)
        async with self.database.transaction() as db:
            await webhook_secrets.rotate_alert_secret(db, user=g.account.id, secret=encrypted, act=why)
            await self.mails.tell(db, "alert_secret_replaced")
        self.mails.ready()
        return answer({"alert_webhook_secret": secret, "previous_secret_revoked": True})

    def _read(self, stored: bytes | None, purpose: Confidential) -> str:
        secret = None if stored is None else self.vault.decrypt(stored, purpose, g.account.id)
        if secret is None:
            message = "This secret was made under another SESSION_SECRET and cannot be read; regenerate it."
            raise Refusal("secret_not_recoverable", message)
        return secret
