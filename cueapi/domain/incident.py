"""Incidents: what is wrong with one subject, from when to when, in words."""

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias

Content: TypeAlias = Mapping[str, Any]
"""An incident as the API shows it."""


MOST_MUTES = 1_000
"""Mutes that an account may have."""


class IncidentKind(StrEnum):
    """What is wrong."""

    FAILING = "failing"
    """Executions of a cue fail."""
    LATE = "late"
    """A firing of a cue was late."""
    UNVERIFIED = "unverified"
    """The work of a cue is reported without its evidence."""
    WORKER_OFFLINE = "worker_offline"
    TARGET_DOWN = "target_down"
    """A host is not called for now."""
    SET_ASIDE = "set_aside"
    """A cue, or an execution of it, cannot be worked with."""
    BUDGET = "budget"
    CHANNEL_FAILING = "channel_failing"


class IncidentStatus(StrEnum):
    """What is snoozed is open again at the end of its time."""

    OPEN = "open"
    SNOOZED = "snoozed"
    RESOLVED = "resolved"


FOLLOWS = {
    IncidentKind.FAILING: "It ends by itself once executions do well again. What failed can be replayed.",
    IncidentKind.LATE: "It ends by itself with a later execution that does well.",
    IncidentKind.UNVERIFIED: "It ends by itself once reports bring their evidence, or evidence is added.",
    IncidentKind.WORKER_OFFLINE: "Work waits until the worker, or another one, claims it.",
    IncidentKind.TARGET_DOWN: "Deliveries to it wait, without using an attempt, until it answers again.",
    IncidentKind.SET_ASIDE: "It was set aside, and is not fired or delivered; correct the cue, and resume it.",
    IncidentKind.BUDGET: "What is beyond the budget does not run until its next period.",
    IncidentKind.CHANNEL_FAILING: "Nothing is sent to the channel until it is corrected, and enabled again.",
}
"""What follows while an incident of a kind is open."""


def lasted(incident: Content) -> str:
    """How long a resolved incident was unresolved: `42 minutes`."""
    begun, ended = (datetime.fromisoformat(incident[name]) for name in ("opened_at", "resolved_at"))
    return in_words((ended - begun).total_seconds())


def in_words(seconds: float) -> str:
    """Seconds in the largest unit of which there is more than one: `42 minutes`."""
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * length or (unit == "minute" and seconds >= length):
            return _counted(int(seconds // length), unit)
    return _counted(max(int(seconds), 1), "second")


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def one_line(text: str) -> str:
    """A text of others, which must not look like more than one line of ours."""
    return " ".join(_CONTROLS.sub(" ", text).split())


def headline(event: str, incident: Content) -> str:
    """What has happened to an incident, in a sentence on one line, without its full stop."""
    title = one_line(incident["title"])
    match event:
        case "resolved" if incident["resolution"] is None:
            return f"{one_line(incident['subject']['name'])} recovered after {lasted(incident)}"
        case "resolved":
            return f"{title}, after {lasted(incident)}"
        case "reminder":
            return f"Still open: {title}"
        case _:
            return title


def page_of(incident: Content, shown_at: str) -> str:
    """Where an incident is shown; *shown_at* is the URL below which pages, or answers, are."""
    return f"{shown_at}/incidents/{incident['id']}"


def incident_text(event: str, incident: Content, shown_at: str) -> str:
    """What a mail says of an incident: what is wrong, since when, what follows, and where to look."""
    lines = [f"{headline(event, incident)}.", "", f"Since:      {incident['opened_at']}"]
    if incident["resolved_at"] is not None:
        lines.append(f"Ended:      {incident['resolved_at']}")
    lines.append(f"Incident:   {page_of(incident, shown_at)}")
    if incident["cue_id"] is not None:
        lines.append(f"Cue:        {shown_at}/cues/{incident['cue_id']}")
    if (execution := incident["last_execution_id"]) is not None:
        lines.append(f"Execution:  {shown_at}/executions/{execution}")
    if event != "resolved":
        lines += ["", FOLLOWS[IncidentKind(incident["kind"])]]
    return "\n".join(lines) + "\n"
