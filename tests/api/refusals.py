"""Tables of refusals: what is sent, and which answer must come."""

from collections.abc import Iterable
from typing import Any

from attrs import frozen

from tests.conftest import Api


@frozen
class Refused:
    """A body that is refused with *status* and *code*, by a message that holds *telling*."""

    why: str
    body: Any
    status: int
    code: str
    telling: str = ""


async def surprises(api: Api, method: str, path: str, table: Iterable[Refused]) -> dict[str, tuple[int, str, str]]:
    """The answers that are not as the table has them, by the reason of the row."""
    found = {}
    for row in table:
        response = await api.ask(method, path, row.body)
        error = response.json().get("error", {"code": "none", "message": response.text})
        answered = response.status_code, error["code"]
        if answered != (row.status, row.code) or row.telling not in error["message"]:
            found[row.why] = (*answered, error["message"])
    return found
