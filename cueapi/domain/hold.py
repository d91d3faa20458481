"""A hold: the brake of an account, which stops what would begin by itself, or everything."""

from datetime import datetime, timedelta
from enum import StrEnum

from cueapi.domain.clock import iso, parse_moment
from cueapi.domain.errors import Invalid, Problem, Refusal

LONGEST = timedelta(days=365)
"""How far ahead a hold may end by itself."""


class HoldMode(StrEnum):
    """What a hold stops: what would fire, or also each claim of what has fired."""

    FIRES = "fires"
    EVERYTHING = "everything"


def hold_until(text: str, now: datetime) -> datetime:
    """The moment at which a hold is to end; refuses one that is past, or more than a year ahead."""
    try:
        until = parse_moment(text)
    except ValueError:
        message = "must be an ISO 8601 moment, for example 2030-05-01T09:00:00Z"
        raise Invalid(Problem("body.until", message)) from None
    if until <= now:
        raise Refusal("invalid_schedule", f"until must lie in the future; it is {iso(until)}, and now is {iso(now)}.")
    if until > now + LONGEST:
        latest = iso(now + LONGEST)
        raise Refusal("invalid_schedule", f"until may lie a year ahead, at {latest} at the latest; it is {iso(until)}.")
    return until


def account_held(mode: str, reason: str | None, until: datetime | None) -> Refusal:
    """Why nothing can be fired by hand, and what ends that."""
    end = "until it is released (DELETE /v1/hold)" if until is None else f"until {iso(until)}"
    why = f": {reason.removesuffix('.')}" if reason else ""
    message = f"The account is held {end}{why}. With ?force=true it is fired all the same."
    return Refusal("account_held", message, mode=mode, reason=reason, until=until and iso(until))
