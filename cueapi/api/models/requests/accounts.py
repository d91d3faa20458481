"""Bodies about the account and signing in."""

from typing import Annotated

from pydantic import Field

from cueapi.api.models.requests.bodies import Closed, ReasonBody, Short, Url, optional
from cueapi.domain.account import EMAIL_LIMIT

Email = Annotated[str, Field(max_length=EMAIL_LIMIT)]


class RegisterBody(Closed):
    """A new account."""

    email: Email = Field(description="The account's e-mail address; upper and lower case count as the same.")


class CodeBody(Closed):
    """A sign-in, by its device code."""

    device_code: Short = Field(description="The code that the program made up, 6 to 40 letters, digits and hyphens.")


class SubmitBody(CodeBody):
    """Who signs in."""

    email: Email = Field(description="The address that the magic link is sent to.")


class ConfirmBody(CodeBody):
    """What the button of the confirmation page sends."""

    token: Short = Field(description="The token of the magic link.")


class SessionBody(Closed):
    """The one-time token of a sign-in."""

    token: Short = Field(description="The `session_token` that a poll was told.")


class MePatch(ReasonBody):
    """A change of the account; at least one field must be given."""

    email: Email | None = optional("Another e-mail address.")
    alert_webhook_url: Url | None = optional('Where alerts are posted; "" clears it.')
