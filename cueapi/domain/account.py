"""What an account is known by: its e-mail address."""

from email_validator import EmailNotValidError, validate_email

from cueapi.domain.errors import Invalid, Problem


def checked_email(text: str) -> str:
    """An address as mail takes it (RFC 5321, 5322); whether it exists is not asked."""
    try:
        return validate_email(text, check_deliverability=False, test_environment=True, strict=True).normalized
    except EmailNotValidError as error:
        raise Invalid(Problem("body.email", f"is no e-mail address: {error}")) from None
