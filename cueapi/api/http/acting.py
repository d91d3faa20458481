"""Who does what the present request asks for, and why."""

from quart import g, request

from cueapi.domain.audit import REASON_LIMIT, Act
from cueapi.domain.errors import Invalid, Problem


def act(reason: str | None = None) -> Act:
    """
    The act of the present request. *reason* is the body's; without it the header `X-Reason` counts.

    Refuses a reason of more than 500 characters.
    """
    given = reason or request.headers.get("X-Reason") or None
    if given is not None and len(given) > REASON_LIMIT:
        raise Invalid(Problem("reason", f"may have {REASON_LIMIT} characters"))
    return Act(g.account.actor, given, g.request_id, g.address)
