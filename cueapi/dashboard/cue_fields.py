"""The form of a cue: from its fields to the body of the contract and back, and where a refusal belongs."""

import json
import re
from typing import Any

from cueapi.dashboard.assertion_lines import lines_of, read_lines
from cueapi.dashboard.forms import Form
from cueapi.dashboard.texts import typed_json

TEXTS = (
    "name", "description", "group", "kind", "cron", "at", "timezone", "catchup", "overlap", "transport", "url",
    "method", "headers", "payload", "max_attempts", "backoff", "timeout", "deadline", "max_wait", "max_runtime",
    "verification", "assertions", "on_failed", "fail_webhook", "alert_failures", "alert_missed", "opens_at", "ends_at",
    "remind",
)  # fmt: skip
BOXES = ("fail_email", "fail_pause")

EMPTY: dict[str, Any] = dict.fromkeys(TEXTS, "") | {
    "kind": "recurring", "timezone": "UTC", "catchup": "latest", "overlap": "allow", "transport": "webhook",
    "method": "POST", "verification": "none", "on_failed": "keep", "fail_email": True, "fail_pause": False,
}  # fmt: skip
"""The form of a new cue."""

ADVANCED = {
    "catchup", "overlap", "method", "headers", "max_attempts", "backoff", "timeout", "deadline", "max_wait",
    "max_runtime", "verification", "assertions", "on_failed", "fail_webhook", "alert_failures", "alert_missed",
    "opens_at", "ends_at", "remind", "description", "group",
}  # fmt: skip
"""The fields behind "More"."""

_PLACES = {
    "name": "name", "description": "description", "group": "group", "schedule.type": "kind", "schedule.cron": "cron",
    "schedule.at": "at", "schedule.timezone": "timezone", "schedule.catchup": "catchup",
    "schedule.overlap": "overlap", "transport": "transport", "callback.url": "url", "callback.method": "method",
    "callback.headers": "headers", "payload": "payload", "retry.max_attempts": "max_attempts",
    "retry.backoff_minutes": "backoff", "delivery.timeout_seconds": "timeout",
    "delivery.outcome_deadline_seconds": "deadline", "delivery.max_wait_seconds": "max_wait",
    "delivery.max_runtime_seconds": "max_runtime",
    "verification.assert": "assertions", "verification.on_failed": "on_failed", "verification": "verification",
    "on_failure.webhook": "fail_webhook", "alerts.consecutive_failures": "alert_failures",
    "alerts.missed_window_multiplier": "alert_missed", "alerts.failure_threshold": "opens_at",
    "alerts.recovery_threshold": "ends_at", "alerts.renotify_minutes": "remind",
}  # fmt: skip
"""The field of the form, by the field of the body that the contract refuses."""

_CODES = {
    "invalid_timezone": "timezone", "invalid_callback_url": "url", "invalid_payload_size": "payload",
    "invalid_json": "payload", "invalid_payload": "payload", "duplicate_cue_name": "name",
    "unsupported_verification_for_transport": "verification",
}  # fmt: skip
"""The field of the form, by the code of a refusal that names none."""

WHOLE = {
    "max_attempts": ("retry", "max_attempts"),
    "timeout": ("delivery", "timeout_seconds"),
    "deadline": ("delivery", "outcome_deadline_seconds"),
    "max_wait": ("delivery", "max_wait_seconds"),
    "max_runtime": ("delivery", "max_runtime_seconds"),
    "alert_failures": ("alerts", "consecutive_failures"),
    "alert_missed": ("alerts", "missed_window_multiplier"),
    "opens_at": ("alerts", "failure_threshold"),
    "ends_at": ("alerts", "recovery_threshold"),
    "remind": ("alerts", "renotify_minutes"),
}
"""Fields that hold a whole number, and where it stands in the body."""

NUMBER = "must be a whole number"

LONGEST = 1_000
"""Characters of a field that are read, unless the next says another number; more than the contract takes of any."""

LONGER = {"url": 4_000, "fail_webhook": 4_000, "description": 16_000, "headers": 16_000, "assertions": 64_000}


class FieldProblems(Exception):
    """What cannot be sent: by field, what is wrong."""

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__(problems)
        self.problems = problems


def typed(form: Form) -> dict[str, Any]:
    """What was typed, field by field, as the form shows it again."""
    texts = {name: form.whole_text(name) for name in TEXTS}
    return EMPTY | texts | {name: form.has(name) for name in BOXES}


def fitting(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """
    *values* with the texts that are too long cut, and what is wrong with each of those.

    What is shown again or parsed costs little then; the payload is bounded as the body of a request is.
    """
    most = {name: LONGER.get(name, LONGEST) for name in TEXTS if name != "payload"}
    long = {name: len(values[name]) for name, limit in most.items() if len(values[name]) > limit}
    problems = {
        name: f"has {length:,} characters, of which the first {most[name]:,} were kept: no more are taken"
        for name, length in long.items()
    }
    return values | {name: values[name][: most[name]] for name in long}, problems


def schedule_of(values: dict[str, Any]) -> dict[str, Any]:
    """The schedule in the body."""
    kind = values["kind"] or "recurring"
    time = {"cron": values["cron"].strip()} if kind == "recurring" else {"at": values["at"].strip()}
    given = {
        "timezone": values["timezone"].strip() or "UTC",
        "catchup": values["catchup"],
        "overlap": values["overlap"],
    }
    return {"type": kind, **time, **{name: value for name, value in given.items() if value}}


def body_of(values: dict[str, Any], *, changes: bool = False) -> dict[str, Any]:
    """
    The body that creates the cue, or *changes* it: then what is empty is cleared. Raises FieldProblems.

    What only the contract can refuse is left to it.
    """
    problems: dict[str, str] = {}
    body: dict[str, Any] = {"name": values["name"].strip(), "schedule": schedule_of(values)}
    # Browsers send each line break of a text as two characters (HTML, 4.10.21.4).
    body |= {name: values[name].replace("\r\n", "\n").strip() or None for name in ("description", "group")}
    body["payload"] = _object(values["payload"], problems)
    body["callback"] = _callback(values, problems, changes=changes)
    body["retry"] = {"backoff_minutes": minutes} if (minutes := _minutes(values["backoff"], problems)) else {}
    body |= {"delivery": {}, "alerts": {}}
    for name, (part, field) in WHOLE.items():
        if (number := _whole(values[name], name, problems)) is not None:
            body[part][field] = number
    body["on_failure"] = {
        "email": values["fail_email"], "pause": values["fail_pause"], "webhook": values["fail_webhook"].strip() or None,
    }  # fmt: skip
    body["verification"] = _verification(values, problems, changes=changes)
    if problems:
        raise FieldProblems(problems)
    return _to_change(body) if changes else _to_create(body, values["transport"])


def _verification(values: dict[str, Any], problems: dict[str, str], *, changes: bool) -> dict[str, Any]:
    """What a success needs; of what is usual a new cue says nothing."""
    try:
        assertions = read_lines(values["assertions"])
    except ValueError as error:
        problems["assertions"], assertions = str(error), []
    mode, on_failed = values["verification"] or "none", values["on_failed"] or "keep"
    asked = {"assert": assertions} if assertions or changes else {}
    return {"mode": mode} | asked | ({"on_failed": on_failed} if on_failed != "keep" or changes else {})


def _to_create(body: dict[str, Any], transport: str) -> dict[str, Any]:
    given = {**body, "transport": transport}
    if given["on_failure"] == {"email": True, "pause": False, "webhook": None}:
        given["on_failure"] = None
    if given["verification"] == {"mode": "none"}:
        given["verification"] = None
    return {name: value for name, value in given.items() if value not in (None, {})}


def _to_change(body: dict[str, Any]) -> dict[str, Any]:
    """Empty deadlines and alerts are cleared; empty attempts stay as they are."""
    given = {**body, "delivery": body["delivery"] or None, "alerts": body["alerts"] or None}
    return {name: value for name, value in given.items() if not (name == "retry" and not value)}


def _callback(values: dict[str, Any], problems: dict[str, str], *, changes: bool) -> dict[str, Any]:
    callback = {
        "url": values["url"].strip(),
        "method": values["method"],
        "headers": _headers(values["headers"], problems),
    }
    if values["transport"] == "worker" and not callback["url"]:
        return {}
    kept = {name: value for name, value in callback.items() if value}
    return kept | ({"headers": callback["headers"]} if changes else {})


def _headers(text: str, problems: dict[str, str]) -> dict[str, str]:
    """A header a line."""
    found = {}
    for line in filter(None, (line.strip() for line in text.splitlines())):
        name, colon, value = line.partition(":")
        if not colon:
            problems["headers"] = f"needs a colon behind each name: {line[:60]!r} has none"
        if name.strip() in found:
            problems["headers"] = f"names {name.strip()[:60]!r} twice"
        found[name.strip()] = value.strip()
    return found


def _object(text: str, problems: dict[str, str]) -> dict[str, Any]:
    """A JSON object; empty where nothing was typed."""
    try:
        value = typed_json(text or "{}")
    except ValueError as error:
        problems["payload"] = str(error)
        return {}
    if not isinstance(value, dict):
        problems["payload"] = 'must be a JSON object, for example {"task": "daily_brief"}'
        return {}
    return value


def _minutes(text: str, problems: dict[str, str]) -> list[int]:
    parts = [part for part in re.split(r"[\s,]+", text) if part]
    numbers = [_whole(part, "backoff", problems) for part in parts]
    if "backoff" in problems:
        problems["backoff"] = "must be minutes with commas between them, for example 1, 5, 15"
    return [number for number in numbers if number is not None]


def _whole(text: str, name: str, problems: dict[str, str]) -> int | None:
    text = text.strip()
    if text and not re.fullmatch(r"[0-9]{1,9}", text):
        problems[name] = NUMBER
        return None
    return int(text) if text else None


def problems_of(code: str, message: str, fields: dict[str, str], kind: str) -> dict[str, str]:
    """A refusal of the contract, by field of the form; "" is the form as a whole."""
    if fields:
        return {_place(name): text for name, text in fields.items()}
    if code == "invalid_schedule":
        return {"cron" if kind == "recurring" else "at": message}
    # Both URLs of a cue are refused under one code; of this one the message says so.
    if code == "invalid_callback_url" and message.startswith("on_failure.webhook: "):
        return {"fail_webhook": message.removeprefix("on_failure.webhook: ")}
    return {_CODES.get(code, ""): message}


def _place(name: str) -> str:
    """The field of the form for `retry.backoff_minutes.2`."""
    while name and name not in _PLACES:
        name = name.rpartition(".")[0]
    return _PLACES.get(name, "")


def values_of(cue: dict[str, Any]) -> dict[str, Any]:
    """The form of a cue that is there, as the contract shows it."""
    schedule, callback, failure = cue["schedule"], cue["callback"], cue["on_failure"]
    parts = {"retry": cue["retry"], "delivery": cue["delivery"] or {}, "alerts": cue["alerts"] or {}}
    numbers = {name: parts[part].get(field) for name, (part, field) in WHOLE.items()}
    texts = {
        "name": cue["name"], "description": cue["description"], "group": cue["group"], "kind": schedule["type"],
        "cron": schedule.get("cron"), "at": schedule.get("at"), "timezone": schedule["timezone"],
        "catchup": schedule["catchup"], "overlap": schedule["overlap"], "transport": cue["transport"],
        "url": callback["url"], "method": callback["method"],
        "headers": "\n".join(f"{name}: {value}" for name, value in callback["headers"].items()),
        "payload": json.dumps(cue["payload"], indent=2, ensure_ascii=False) if cue["payload"] else "",
        "backoff": ", ".join(map(str, cue["retry"]["backoff_minutes"])), "verification": cue["verification"]["mode"],
        "assertions": lines_of(cue["verification"].get("assert", [])),
        "on_failed": cue["verification"].get("on_failed", "keep"),
        "fail_webhook": failure["webhook"],
    }  # fmt: skip
    shown = {name: "" if value is None else str(value) for name, value in (texts | numbers).items()}
    return EMPTY | shown | {"fail_email": failure["email"], "fail_pause": failure["pause"]}
