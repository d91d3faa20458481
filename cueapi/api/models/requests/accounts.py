"""Bodies about the account and signing in."""

from pydantic import Field

from cueapi.api.models.requests.bodies import Closed, optional


class RegisterBody(Closed):
    """A new account."""

    email: str = Field(description="The account's e-mail address; upper and lower case count as the same.")


class CodeBody(Closed):
    """A sign-in, by its device code."""

    device_code: str = Field(description="The code that the program made up, 6 to 128 printable characters.")


class SubmitBody(CodeBody):
    """Who signs in."""

    email: str = Field(description="The address that the magic link is sent to.")


class ConfirmBody(CodeBody):
    """What the button of the confirmation page sends."""

    token: str = Field(description="The token of the magic link.")


class SessionBody(Closed):
    """The one-time token of a sign-in."""

    token: str = Field(description="The `session_token` that a poll was told.")


class MePatch(Closed):
    """A change of the account; at least one field must be given."""

    email: str | None = optional("Another e-mail address.")
    alert_webhook_url: str | None = optional('Where alerts are posted; "" clears it.')
