"""What the pages share that begin an operation on many: a look at it first, then its order."""

from collections.abc import Iterable
from typing import Any

from cueapi.dashboard.contract import CONFIRMED, Contract, ContractAnswer
from cueapi.dashboard.forms import Form, once
from cueapi.dashboard.sessions import BrowserSession
from cueapi.domain.errors import Invalid, Problem

RATE = 50
"""How many a second, where the form says nothing else."""


OF_EVERY_FORM = {"form_token", "nonce", "expected", "rate", "reason", "back"}


def refuse_unknown(form: Form, known: Iterable[str]) -> None:
    """Refuse a form with a field that it does not have: a misspelt filter would leave more than were meant."""
    if unknown := sorted(form.values.keys() - OF_EVERY_FORM - {*known}):
        raise Invalid(*(Problem(name[:64], "is no field of this form") for name in unknown))


async def look(contract: Contract, session: BrowserSession, body: dict[str, Any]) -> ContractAnswer:
    """What an operation would do; nothing is done."""
    answer = await contract.call(session, "POST", "/v1/operations", body | {"dry_run": True})
    answer.require()
    return answer


async def begin(contract: Contract, session: BrowserSession, form: Form, body: dict[str, Any]) -> str:
    """
    Begin what was looked at, as *form* says how; the path of its page. Its question was the confirmation.

    A second click of the same page begins none again.
    """
    rate = _number(form, "rate")
    asked = body | {
        "rate_per_second": RATE if rate is None else rate,
        "expected": _number(form, "expected"),
        "reason": form.text("reason") or None,
    }
    answer = await contract.call(session, "POST", "/v1/operations", asked, once(form) | CONFIRMED)
    answer.require()
    return f"/ui/operations/{answer.body['id']}"


def _number(form: Form, name: str) -> int | None:
    """A number as it was typed; None where nothing was. Refuses anything else."""
    # One of more digits than these is beyond what is taken anyway.
    text = form.text(name)[:18]
    if text and not (text.isascii() and text.isdecimal()):
        raise Invalid(Problem(name, "must be a whole number"))
    return int(text) if text else None
