"""An account's e-mail address: which texts are one."""

from email_validator import EmailNotValidError, validate_email

from cueapi.domain.errors import Invalid, Problem


def checked_email(text: str) -> str:
    """The normalised address (RFC 5321, 5322); whether it exists is not checked. Refuses any other text."""
    try:
        return validate_email(text, check_deliverability=False, test_environment=True, strict=True).normalized
    except EmailNotValidError as error:
        raise Invalid(Problem("body.email", f"is no e-mail address: {error}")) from None
