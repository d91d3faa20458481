"""What the description of the API says of the parameters in paths."""

from typing import Any

from werkzeug.routing import Rule

DESCRIPTIONS = {
    "cue_id": "Id of the cue, `cue_` and 12 characters.",
    "execution_id": "Id of the execution, a UUID.",
    "operation_id": "Id of the operation, a UUID.",
    "alert_id": "Id of the alert, a UUID.",
    "channel_id": "Id of the channel, a UUID.",
    "incident_id": "Id of the incident, a UUID.",
    "key_id": "Id of the key, `key_` and 12 characters.",
    "worker_id": "The worker's name.",
    "host": "A host and its port, as `GET /v1/targets` lists it: `your-agent.example.com:443`.",
    "scope": "`account`, or `group:` and the name of a group.",
    "echo.token": "A text that you make up, 16 to 128 characters; any account that knows it may read the echo.",
    "reports.token": "The token of an attempt, `run_` and 48 characters: it stands in its report URL.",
    "exit_status": "The exit status of a program.",
}
"""By name; with its resource where two mean different things by one name."""

SCHEMAS: dict[str, dict[str, Any]] = {"exit_status": {"type": "integer", "minimum": 0, "maximum": 255}}
"""Of parameters that are more than a text."""


def in_path(rule: Rule) -> list[dict[str, Any]]:
    """The parameters in the path of a route."""
    resource = rule.endpoint.partition(".")[0]
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": DESCRIPTIONS.get(f"{resource}.{name}") or DESCRIPTIONS[name],
            "schema": SCHEMAS.get(name, {"type": "string", "minLength": 1}),
        }
        for name in sorted(rule.arguments)
    ]
