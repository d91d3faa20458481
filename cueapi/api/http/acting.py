"""Who does what the present request asks for, and why."""

from attrs import frozen
from quart import g

from cueapi.api.http.body import read
from cueapi.api.http.parameters import HeaderText, Schema
from cueapi.api.models.requests.bodies import ReasonBody
from cueapi.domain.audit import REASON_LIMIT, Act, Actor


@frozen
class Reason(HeaderText):
    """The header that says why a change is made."""

    @property
    def schema(self) -> Schema:
        """Its JSON schema."""
        return {"type": "string", "maxLength": REASON_LIMIT}

    def read(self) -> str | None:
        """The reason; None where it is missing or empty."""
        text = super().read()
        if text is not None and len(text) > REASON_LIMIT:
            raise self._wrong(f"may have {REASON_LIMIT} characters")
        return text or None


REASON = Reason("X-Reason", "Why the change is made, for the audit. `reason` in the body comes before it.")


def act_by_mail() -> Act:
    """The act of a request that shows by a link in a mail whose it is, and by no key."""
    return Act(Actor("session", None, "a link in a mail"), None, g.request_id, g.address)


def act(reason: str | None = None) -> Act:
    """
    The act of the present request. *reason* is the body's; without it the header `X-Reason` counts.

    Refuses a header of more than 500 characters. Bodies are checked by their models.
    """
    given = REASON.read()
    return Act(g.account.actor, reason or given, g.request_id, g.address)


async def act_of_body() -> Act:
    """The act of a request whose body says nothing but why."""
    return act((await read(ReasonBody)).reason)
