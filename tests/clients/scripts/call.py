"""Calls each method that was asked for, one after another; tells what it returned, or which exception it raised."""

from operator import attrgetter
from typing import Any

from asked import asked, client, tell
from pydantic import BaseModel

from cueapi import CueAPI, CueAPIError


def call(api: CueAPI, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """One call; models are told as JSON has them."""
    try:
        returned = attrgetter(method)(api)(**arguments)
    except CueAPIError as error:
        return {"refusal": {"exception": type(error).__name__, **vars(error)}}
    return {"returned": returned.model_dump(mode="json") if isinstance(returned, BaseModel) else returned}


with client() as api:
    tell([call(api, method, arguments) for method, arguments in asked["calls"]])
