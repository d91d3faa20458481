"""Answers about the account: keys, secrets, signing in."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from cueapi.api.models.responses.keys import UsedKey
from cueapi.api.models.values import AlertSecret, ApiKey, Count, WebhookSecret


class Key(BaseModel):
    """An API key."""

    api_key: ApiKey = Field(description="The API key.")


class Registered(Key):
    """A new account."""

    email: str = Field(description="The account's e-mail address.")


class NewKey(Key):
    """A new API key."""

    previous_key_revoked: Literal[True] = Field(description="Always `true`.")


class Me(BaseModel):
    """The account, its limits, and what it has used."""

    email: str = Field(description="The account's e-mail address.")
    email_verified: bool = Field(description="Whether a link that went to the address was confirmed.")
    pending_email: str | None = Field(
        description="The address that the account gets once its link is confirmed; null where there is none."
    )
    plan: str = Field(description="Name of the account's plan.")
    active_cues: Count = Field(description="Active and paused cues.")
    active_cue_limit: Count = Field(description="Active and paused cues that the plan allows.")
    executions_this_month: Count = Field(description="Executions of this month (UTC).")
    monthly_execution_limit: Count = Field(description="Executions a month that the plan allows.")
    rate_limit_per_minute: Count = Field(description="Requests in 60 seconds that the plan allows.")
    has_webhook_secret: bool = Field(description="Whether deliveries are signed: always `true`.")
    api_key_prefix: str | None = Field(description="The first 14 characters of the account's own key.")
    alert_webhook_url: str | None = Field(description="Where alerts are posted; null: nowhere.")
    key: UsedKey | None = Field(description="The key that the request was sent with; null: a session.")


class Updated(BaseModel):
    """The account was changed."""

    updated_at: datetime = Field(description="When it was changed.")


class Secret(BaseModel):
    """What webhooks are signed with."""

    webhook_secret: WebhookSecret = Field(description="The secret; `whsec_` belongs to it.")


class NewSecret(Secret):
    """A new webhook secret."""

    previous_secret_revoked: bool = Field(description="`false` while the former secret still signs beside it.")


class AlertWebhookSecret(BaseModel):
    """What alert webhooks are signed with."""

    alert_webhook_secret: AlertSecret = Field(description="The secret.")


class NewAlertWebhookSecret(AlertWebhookSecret):
    """A new alert webhook secret."""

    previous_secret_revoked: Literal[True] = Field(description="Always `true`.")


class DeviceCode(BaseModel):
    """A sign-in that has begun."""

    verification_url: str = Field(description="The page that the user opens to sign in.")
    expires_in: Count = Field(description="Seconds in which the sign-in must be confirmed.")


class EmailSent(BaseModel):
    """A link is on its way, where the address may sign in."""

    status: Literal["email_sent"] = Field(description="Always `email_sent`.")


class Polled(BaseModel):
    """The state of a sign-in; `approved` comes once, with what it opens."""

    status: Literal["pending", "email_sent", "expired", "claimed", "approved"] = Field(
        description="The state; `claimed`: an earlier poll was told `approved`."
    )
    email: str | None = Field(default=None, description="The account's e-mail address, when approved.")
    api_key: ApiKey | None = Field(default=None, description="The account's API key, when approved.")
    session_token: str | None = Field(
        default=None, description="A token to be exchanged once for a session, when approved."
    )
    existing_user: bool | None = Field(
        default=None, description="`true` where the key of an existing account cannot be shown."
    )


class Approved(BaseModel):
    """The sign-in was confirmed."""

    status: Literal["approved"] = Field(description="Always `approved`.")
    email: str = Field(description="The account's e-mail address.")


class Session(BaseModel):
    """A session."""

    session_token: str = Field(description="Send it as `Authorization: Bearer …`; it serves for 24 hours.")
    email: str = Field(description="The account's e-mail address.")
