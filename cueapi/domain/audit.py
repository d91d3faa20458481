"""Who did what, and why: what is written beside each change that a person or a program could be asked about."""

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

from attrs import asdict, frozen

from cueapi.domain.masking import MASK, masked

Change: TypeAlias = dict[str, Any]
"""One field that a change has moved: `{"path": "schedule.cron", "from": …, "to": …}`."""

Entry: TypeAlias = dict[str, Any]
"""A row of the audit to be: `{"action": "cue.paused", "changes": [...]}`."""

MOST_CHANGES = 50
"""The most fields of which an audit tells one by one."""

LONGEST = 300
"""The most characters of a value that an audit shows."""

REASON_LIMIT = 500
"""The most characters of a reason."""


@frozen
class Actor:
    """
    Who acts.

    *kind* is `key`, `session` (a person who has signed in), `operator` (a command on the server), `system` (the server
    itself) or `mcp`. *id* tells two of a kind apart, *name* is how people call the actor.
    """

    kind: str
    id: str | None = None
    name: str | None = None


@frozen
class Act:
    """Who acts, why, and by which request from where."""

    actor: Actor
    reason: str | None = None
    request_id: str | None = None
    address: str | None = None

    def text(self) -> str:
        """As JSON, which the statements of changes take as `act`."""
        return json.dumps(asdict(self))


SYSTEM = Act(Actor("system", None, "CueAPI"))
"""What the server does by itself."""

OPERATOR = Act(Actor("operator", None, "operator"))
"""What is done by a command on the server."""


def changes(before: Mapping[str, Any], after: Mapping[str, Any], path: str = "") -> list[Change]:
    """
    What differs between two JSON objects, field by field, by path.

    Objects are compared field by field; all else as a whole. What one side lacks is null there.
    """
    found: list[Change] = []
    for name in [*before, *(name for name in after if name not in before)]:
        old, new = before.get(name), after.get(name)
        where = f"{path}{name}"
        if old is new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += changes(old, new, f"{where}.")
        elif _text(old) != _text(new):
            found.append({"path": where, "from": old, "to": new})
    return found


def told(found: list[Change]) -> list[Change]:
    """*found* as an audit tells of it: without the values of secrets, long ones cut, and no more than 50 of them."""
    shown = [
        {"path": one["path"], **{side: _shortened(_masked(one["path"], one[side])) for side in ("from", "to")}}
        for one in found[:MOST_CHANGES]
    ]
    if len(found) > MOST_CHANGES:
        shown.append({"path": "…", "from": None, "to": f"{len(found) - MOST_CHANGES:,} further changes"})
    return shown


def _masked(path: str, value: object) -> object:
    """Headers may hold anything, whatever their names; a value that is asserted has its name beside it."""
    if path.startswith("callback.headers"):
        return None if value is None else MASK
    if path == "verification.assert" and isinstance(value, list):
        return [_masked_assertion(one) for one in value]
    return masked(path, value)


def _masked_assertion(one: dict[str, Any]) -> dict[str, Any]:
    return one | {"value": masked(one["field"], one["value"])} if "value" in one else one


def _shortened(value: object) -> object:
    text = value if isinstance(value, str) else _text(value)
    return value if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _text(value: object) -> str:
    """By their texts true is not 1, and [true] is not [1]."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
