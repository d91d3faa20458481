"""An account's e-mail address: which texts are one."""

from attrs import field, frozen
from email_validator import EmailNotValidError, validate_email

from cueapi.domain.errors import Invalid, Problem


@frozen
class SignedIn:
    """Who has signed in; *key* is a new one, where the account was not verified before."""

    user: int
    email: str
    new: bool = False
    key: str | None = field(default=None, repr=False)


EMAIL_LIMIT = 254
"""Characters of an address (RFC 5321, 4.5.3.1.3), checked before anything parses it."""


def folded(email: str) -> str:
    """An address as it is compared: A to Z in small letters, and no other letter changed, as PostgreSQL does it."""
    return email.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")


def checked_email(text: str, where: str = "body.email") -> str:
    """
    The normalised address (RFC 5321, 5322); whether it exists is not checked.

    Refuses any other text, and says *where* it stood.
    """
    if len(text) > EMAIL_LIMIT:
        raise Invalid(Problem(where, f"is no e-mail address: it has more than {EMAIL_LIMIT} characters, too long"))
    if "=?" in text:
        # An encoded word (RFC 2047): mail software would show, or send to, what it decodes to.
        raise Invalid(Problem(where, "is no e-mail address: =? begins an encoded word"))
    try:
        return validate_email(text, check_deliverability=False, test_environment=True, strict=True).normalized
    except EmailNotValidError as error:
        raise Invalid(Problem(where, f"is no e-mail address: {error}")) from None
