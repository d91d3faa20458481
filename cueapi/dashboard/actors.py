"""Who has done something, and what, in words."""

import json
from typing import Protocol

ACTIONS = {
    "cue.created": "cue created",
    "cue.updated": "cue changed",
    "cue.paused": "cue paused",
    "cue.resumed": "cue resumed",
    "cue.deleted": "cue deleted",
    "cue.set_aside": "cue set aside",
    "execution.verified": "outcome verified or rejected",
    "execution.set_aside": "execution set aside",
    "key.created": "key made",
    "key.renamed": "key renamed",
    "key.rotated": "key rotated",
    "key.replaced": "account's key replaced",
    "key.deleted": "key deleted",
    "secret.replaced": "secret replaced",
    "account.changed": "account changed",
    "account.revoked": "account revoked",
    "hold.set": "hold set",
    "hold.released": "hold released",
    "budget.set": "budget set",
    "budget.deleted": "budget deleted",
    "target.opened": "target stopped",
    "target.closed": "target resumed",
    "target.probed": "target probed",
    "operation.started": "operation started",
    "operation.cancelled": "operation cancelled",
    "incident.acknowledged": "incident acknowledged",
    "incident.snoozed": "incident snoozed",
    "incident.resolved": "incident resolved",
    "mute.set": "mute set",
    "mute.deleted": "mute deleted",
    "channel.created": "channel made",
    "channel.updated": "channel changed",
    "channel.deleted": "channel deleted",
    "channel.disabled": "channel disabled",
}
"""Actions in words."""


class StatusChange(Protocol):
    """Who has changed the status of a cue, and why."""

    @property
    def status_changed_by(self) -> str | None:
        """The actor, as JSON."""
        ...

    @property
    def status_change_reason(self) -> str | None:
        """Why."""
        ...


def actor_words(kind: str, name: str | None) -> str:
    """An actor as people say it: `you@example.com`, `the key “ci”`, `the operator`."""
    if kind == "system":
        return "CueAPI"
    if kind == "operator":
        return "the operator"
    if kind == "key":
        return f"the key “{name}”" if name else "a key"
    return name or {"session": "a person", "mcp": "a model"}.get(kind, kind)


def changed_by(cue: StatusChange) -> str | None:
    """Who has changed the status of a cue; None where it was never changed."""
    if cue.status_changed_by is None:
        return None
    actor = json.loads(cue.status_changed_by)
    return actor_words(str(actor.get("kind")), actor.get("name"))


def paused_by(cue: StatusChange) -> str | None:
    """A sentence about who has paused a cue; None where it was the server, which says why in its own words."""
    who = changed_by(cue)
    if who in {None, "CueAPI"}:
        return None
    return f"Paused by {who}: {cue.status_change_reason}" if cue.status_change_reason else f"Paused by {who}."
