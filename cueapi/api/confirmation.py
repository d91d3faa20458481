"""What cannot be taken back is asked for twice."""

from quart import request

from cueapi.domain.errors import Refusal


def confirmed() -> None:
    """Refuses a request without the confirming header."""
    if request.headers.get("X-Confirm-Destructive", "").lower() != "true":
        raise Refusal(
            "confirmation_required", "This cannot be taken back: send the header X-Confirm-Destructive: true."
        )
