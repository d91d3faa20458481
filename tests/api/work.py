"""What the tests of executions do again and again: one to be claimed, one that is claimed, a report on it."""

import re
from collections.abc import Mapping
from types import NoneType
from typing import Any

from tests.conftest import Api, cue

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z")
UNKNOWN = "00000000-0000-7000-8000-000000000000"
NO_IDS = [UNKNOWN, "1", "x" * 500, UNKNOWN.replace("-", ""), f"{{{UNKNOWN}}}", "%00", "%ED%A0%80", "%F0%9F%98%80"]
"""Well-formed and unknown, and what is no id at all."""

Kinds = Mapping[str, type | tuple[type, ...]]
NUMBER = (int, float)
TEXT_OR_NULL = (str, NoneType)


def wrong_fields(shown: Mapping[str, Any], kinds: Kinds) -> dict[str, str]:
    """The fields that are missing, or of another type than *kinds* says; true is no number."""
    return {
        name: repr(shown.get(name, "missing"))
        for name, kind in kinds.items()
        if name not in shown or not isinstance(shown[name], kind) or (type(shown[name]) is bool and kind is int)
    }


async def fired(api: Api, **fields: object) -> str:
    """An execution, fired by hand, of a new worker cue with *fields*."""
    made = await api.post("/v1/cues", cue(**fields))
    return str((await api.post(f"/v1/cues/{made['id']}/fire"))["id"])


async def claimed(api: Api, worker: str = "w1", **fields: object) -> str:
    """The same, claimed by *worker*."""
    execution = await fired(api, **fields)
    await api.post(f"/v1/executions/{execution}/claim", {"worker_id": worker})
    return execution


async def report(api: Api, execution: str, *, success: bool, **fields: object) -> dict[str, Any]:
    """What a report is answered, which must be 200."""
    return await api.post(f"/v1/executions/{execution}/outcome", {"success": success, **fields})


async def shown(api: Api, execution: str) -> dict[str, Any]:
    """The execution as it stands."""
    return await api.get(f"/v1/executions/{execution}")
