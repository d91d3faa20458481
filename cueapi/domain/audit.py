"""Who did what, and why: what is written beside each change that a person or a program could be asked about."""

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

from attrs import asdict, frozen

Change: TypeAlias = dict[str, Any]
"""One field that a change has moved: `{"path": "schedule.cron", "from": …, "to": …}`."""

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
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += changes(old, new, f"{where}.")
        elif old != new or isinstance(old, bool) is not isinstance(new, bool):
            found.append({"path": where, "from": old, "to": new})
    return found
