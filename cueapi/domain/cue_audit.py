"""What the audit says of a cue's change."""

from typing import Any

from attrs import asdict

from cueapi.domain.assertion import described_assertions
from cueapi.domain.audit import Change, Entry, changes, told
from cueapi.domain.clock import iso
from cueapi.domain.cue import Cue


def cue_entries(before: Cue, after: Cue, status: str) -> list[Entry]:
    """
    A change of a cue as rows of the audit: one for its status, one for all else; none where nothing has changed.

    *status* is what the change makes of that of *before*.
    """
    entries: list[Entry] = []
    if moved := told(_changes(before, after)):
        entries.append({"action": "cue.updated", "changes": moved})
    if status != before.status:
        action = "cue.paused" if status == "paused" else "cue.resumed"
        entries.append({"action": action, "changes": changes({"status": before.status}, {"status": status})})
    return entries


def _changes(before: Cue, after: Cue) -> list[Change]:
    return changes(described(before), described(after))


def described(cue: Cue) -> dict[str, Any]:
    """All that a user says of a cue but its status, in the form of the contract."""
    schedule, at = asdict(cue.schedule), cue.schedule.at
    del schedule["local"]
    return {
        "name": cue.name,
        "transport": cue.transport,
        "description": cue.description,
        "group": cue.group,
        "schedule": schedule | {"at": at and iso(at)},
        "callback": asdict(cue.callback, recurse=False),
        "payload": cue.payload,
        "retry": {"max_attempts": cue.retry.max_attempts, "backoff_minutes": [*cue.retry.backoff_minutes]},
        "on_failure": cue.on_failure,
        "verification": {
            "mode": str(cue.verification.mode),
            "assert": described_assertions(cue.verification.assertions),
            "on_failed": str(cue.verification.on_failed),
        },
        "delivery": cue.delivery,
        "alerts": cue.alerts,
        "budget": cue.budget,
    }
