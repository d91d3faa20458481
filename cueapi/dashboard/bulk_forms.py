"""What the pages share that begin an operation on many: a look at it first, then its order."""

from typing import Any

from cueapi.dashboard.contract import CONFIRMED, Contract, ContractAnswer
from cueapi.dashboard.forms import Form, once
from cueapi.dashboard.sessions import BrowserSession

RATE = 50
"""How many a second, where the form says nothing else."""


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
    """A number as it was typed; None where it is none. One of more digits than these is beyond what is taken anyway."""
    text = form.text(name)[:18]
    return int(text) if text.isascii() and text.isdecimal() else None
