"""What the description of the API calls its groups of operations."""

TAGS = {
    "cues": "Schedules, and where to call: create, change, fire and delete them.",
    "executions": "The firings of cues: what happened, and what workers can claim.",
    "operations": "The same done to many cues or executions at once, with progress.",
    "workers": "Programs that pull their work: heartbeats, and which of them are alive.",
    "outcomes": "What handlers report of their work, its evidence, and verdicts of people.",
    "incidents": "What is wrong, until it is over; where to hear of it, and what is muted.",
    "targets": "The hosts that cues call: which are down, and what waits for them.",
    "alerts": "What went wrong.",
    "account": "Keys, secrets, signing in, what was used this month, and who has done what.",
    "echo": "A webhook target for trying things out.",
    "health": "Liveness, readiness and metrics of the daemon, and what it allows.",
}
"""The groups of operations, in the order in which people need them."""

_OTHER_NAMES = {
    "outcomes": ("reports",),
    "account": (
        "accounts", "audit", "webhook_secrets", "devices", "keys", "magic_links", "sessions", "usage", "holds",
        "budgets",
    ),
    "health": ("info", "metrics"), "cues": ("schedules",), "executions": ("events", "dead_letters"),
    "incidents": ("channels", "mutes"),
}  # fmt: skip
GROUPS = {resource: group for group, resources in _OTHER_NAMES.items() for resource in resources}
"""The resources that belong to a group of another name."""
