"""The examples of incidents, mutes and channels."""

from typing import Any

from pydantic import BaseModel

from cueapi.api.models.examples import CUE_ID, DAY, EXECUTION_ID, INCIDENT_ID, Example
from cueapi.api.models.requests import channels as channel_bodies
from cueapi.api.models.requests import incidents as bodies
from cueapi.api.models.responses import channels, incidents, webhooks

INCIDENT: Example = {
    "id": INCIDENT_ID, "kind": "failing",
    "subject": {"kind": "cue", "id": CUE_ID, "name": "morning-agent-brief"}, "severity": "critical", "status": "open",
    "title": "morning-agent-brief is failing: The handler answered 503", "cue_id": CUE_ID,
    "opened_at": f"{DAY}2T16:21:02.440125Z", "acknowledged_at": None, "note": None, "snoozed_until": None,
    "resolved_at": None, "resolution": None, "events": 3, "first_execution_id": EXECUTION_ID,
    "last_execution_id": EXECUTION_ID, "resolved_by_execution_id": None,
}  # fmt: skip
MUTE: Example = {
    "cue_id": None, "cue_name": None, "group": "briefs", "account": False, "until": f"{DAY}3T06:00:00Z",
    "reason": "The model is moved tonight.", "created_at": f"{DAY}2T20:00:00.118273Z",
}  # fmt: skip

CHANNEL_ID = "01985f3b-0a11-7d42-9c57-2f8e4b60d913"
CHANNEL: Example = {
    "id": CHANNEL_ID, "kind": "slack", "name": "On call", "url": "https://hooks.slack.com/…xWq2", "topic": None,
    "address": None, "has_token": False, "on": ["opened", "resolved", "reminder", "digest"],
    "min_severity": "critical", "groups": ["briefs"], "kinds": None, "confirmed": True, "failing_since": None,
    "last_error": None, "disabled_at": None, "created_at": f"{DAY}1T08:00:00.002918Z",
    "updated_at": f"{DAY}1T08:00:00.002918Z",
}  # fmt: skip

BODIES: dict[type[BaseModel], Any] = {
    bodies.AcknowledgeBody: {"note": "The credit is topped up tomorrow."},
    bodies.SnoozeBody: {"minutes": 120},
    bodies.ResolveBody: {"reason": "The handler was mended."},
    bodies.MuteBody: {"group": "briefs", "reason": "The model is moved tonight."},
    bodies.MuteSubject: {"group": "briefs"},
    channel_bodies.ChannelBody: {
        "kind": "slack",
        "name": "On call",
        "url": "https://hooks.slack.com/services/T00/B00/fTzQmLxWq2",
        "min_severity": "critical",
        "groups": ["briefs"],
    },
    channel_bodies.ChannelPatch: {"on": ["opened", "digest"], "groups": None},
}

ANSWERS: dict[type[BaseModel], Any] = {
    incidents.Incident: INCIDENT,
    incidents.IncidentList: {"incidents": [INCIDENT], "has_more": False, "next_cursor": None},
    incidents.Mute: MUTE,
    incidents.MuteList: {"mutes": [MUTE]},
    channels.NotificationChannel: CHANNEL,
    channels.ChannelList: {"channels": [CHANNEL]},
    channels.ChannelTested: {"delivered": False, "status": 404, "error": "the channel answered 404"},
    webhooks.IncidentSent: {"event": "incident.opened", "incident": INCIDENT},
}  # fmt: skip
