"""What a notification says: the body of an alert or failure webhook, the text of a mail."""

from collections.abc import Mapping
from typing import Any, TypeAlias
from uuid import UUID

from cueapi.domain.incident import FOLLOWS, IncidentKind, one_line
from cueapi.domain.signature import Headers, canonical_json, notice_headers

Content: TypeAlias = Mapping[str, Any]


def message_id(kind: str, content: Content, number: int) -> str:
    """
    What names a notification to its receiver, on each attempt the same.

    An alert has its own id. A failure is named by its execution, which has one, or where a cue has failed without one,
    by the *number* of the notification. Raises KeyError where the content is damaged.
    """
    if kind == "alert_webhook":
        return str(content["alert_id"])
    execution, cue = content["execution_id"], content["cue_id"]
    return f"failure-{cue}-{number}" if execution is None else f"failure-{execution}"


def channel_message_id(content: Content, channel: UUID, number: int) -> str:
    """
    What names a message to a channel, on each attempt the same.

    A digest is named by the *number* of the notification. Raises KeyError where the content is damaged.
    """
    event = content["event"].removeprefix("incident.")
    if "incident" not in content:
        return f"{event}-{channel}-{number}"
    repeated = f"-{content['number']}" if event == "reminder" else ""
    return f"{event}-{content['incident']['id']}-{channel}{repeated}"


def webhook_headers(kind: str, content: Content, *, number: int, secret: str, timestamp: int, body: bytes) -> Headers:
    """The headers of an alert or failure webhook, signed over *body*; *number* is the notification's."""
    headers = notice_headers(secret, message_id(kind, content, number), timestamp, body)
    if kind == "alert_webhook":
        headers += [
            ("X-CueAPI-Alert-Id", str(content["alert_id"])),
            ("X-CueAPI-Alert-Type", str(content["alert_type"])),
        ]
    return headers


def webhook_content(content: Content) -> bytes:
    """The body, in the form that receivers arrive at when they parse and serialise again."""
    return canonical_json(content)


def failure_subject(content: Content) -> str:
    """The subject of a failure mail."""
    return f"CueAPI: {one_line(content['cue_name'])} failed"


def failure_text(content: Content, shown_at: str) -> str:
    """What a failure mail says; *shown_at* is the URL below which cues and executions are shown."""
    execution = content["execution_id"]
    failed = "cannot be fired" if execution is None else f"failed for good, after {content['attempts']} attempts"
    lines = [
        f"The cue {one_line(content['cue_name'])} {failed}.",
        "",
        f"Reason:     {one_line(content['last_error'] or '') or 'none was given'}",
        f"Failed at:  {content['failed_at']}",
        *_incident_lines(content, shown_at),
        f"Cue:        {shown_at}/cues/{content['cue_id']}",
    ]
    if execution is not None:
        lines.append(f"Execution:  {shown_at}/executions/{execution}")
    if content.get("incident_id") is not None:
        lines += ["", f"Its incident has a button that replays it. {FOLLOWS[IncidentKind.FAILING]}"]
    if content.get("last"):
        lines += [
            "",
            f"This is the tenth mail within an hour; until it is over only incidents that open are told of. Look at"
            f" {shown_at}/alerts.",
        ]
    lines += ["", "To get no such mails, set on_failure.email of the cue to false."]
    return "\n".join(lines) + "\n"


def _incident_lines(content: Content, shown_at: str) -> list[str]:
    """Since when, and where it is shown as one with the failures before; none where no incident is open."""
    if content.get("incident_id") is None:
        return []
    return [
        f"Since:      {content['since']}",
        f"Incident:   {shown_at}/incidents/{content['incident_id']}",
    ]


SIGN_IN_SUBJECT = "Sign in to CueAPI"


def sign_in_text(link: str, device_code: str) -> str:
    """What a sign-in mail says."""
    return (
        f"A request to sign in to CueAPI was made for this address, most likely by you.\n\n"
        f"The code on your screen should be {device_code}. If it is, open this link and confirm it there:\n\n"
        f"{link}\n\n"
        f"The link works once, within 15 minutes. If you did not ask for it, do nothing.\n"
    )


def browser_link_text(link: str) -> str:
    """What a mail says whose link signs a browser in."""
    return (
        f"A request to sign in to CueAPI was made for this address, most likely by you.\n\n"
        f"Open this link to sign in:\n\n"
        f"{link}\n\n"
        f"The link works once, within 15 minutes. If you did not ask for it, do nothing.\n"
    )


ADDRESS_SUBJECT = "Confirm your address for CueAPI"


def address_text(link: str) -> str:
    """What a mail says whose link shows whose mail box it is."""
    return (
        f"An account of CueAPI was given this address, most likely by you.\n\n"
        f"If it is yours, open this link and confirm it there:\n\n"
        f"{link}\n\n"
        f"The link works once, within 24 hours. If you did not ask for it, do nothing.\n"
    )


def channel_link_text(link: str, asked_by: str) -> str:
    """What a mail says whose link lets a channel lead to a mail box; *asked_by* is the address of its account."""
    return (
        f"The account of {asked_by} wants to send messages about incidents to this address.\n\n"
        f"If you want them, open this link and confirm it there:\n\n"
        f"{link}\n\n"
        f"The link works once, within 24 hours. If you do nothing, nothing is sent.\n"
    )


NOTICES = {
    "key_replaced": (
        "the API key was replaced",
        "The API key of your account was replaced. The former one and every session have ended.",
    ),
    "key_made": (
        "an API key was made",
        "An API key was made for your account.",
    ),
    "key_rotated": (
        "an API key was replaced",
        "An API key of your account was given another text.",
    ),
    "alert_url_changed": (
        "the alert URL was changed",
        "Alerts of your account are posted to another URL from now on, or to none.",
    ),
    "webhook_secret_replaced": (
        "the webhook secret was replaced",
        "The secret that your webhooks are signed with was replaced. Handlers must verify with the new one.",
    ),
    "alert_secret_replaced": (
        "the alert webhook secret was replaced",
        "The secret that your alert webhooks are signed with was replaced. Receivers must verify with the new one.",
    ),
    "address_asked_for": (
        "another address was asked for",
        "Another e-mail address was asked for. Your account has it once the link that went there is confirmed.",
    ),
    "address_changed": (
        "the address was changed",
        "Your account has another e-mail address from now on. No further mails come to this one.",
    ),
}
"""What owners are told of their accounts: subject and first sentences, by name."""


def notice_subject(content: Content) -> str:
    """The subject of a mail about a change of the account."""
    return f"CueAPI: {NOTICES[content['what']][0]}"


def _key_line(name: str | None) -> str:
    """The line that names a key; nothing that is typed into a name makes another line."""
    if name is None:
        return ""
    return f"Key:         {''.join(sign if sign.isprintable() else ' ' for sign in name)}\n"


def notice_text(content: Content, base_url: str) -> str:
    """What a mail about a change of the account says: what, when, from where, and what to do."""
    return (
        f"{NOTICES[content['what']][1]}\n\n"
        f"{_key_line(content.get('name'))}"
        f"When:        {content['at']}\n"
        f"Where from:  {content['from']}\n\n"
        f"If this was you, there is nothing to do. If not, replace the key at once: that ends the former key, every\n"
        f"session and every link that waits.\n\n"
        f'  curl -X POST {base_url}/v1/auth/key/regenerate -H "Authorization: Bearer YOUR_API_KEY" \\\n'
        f'    -H "X-Confirm-Destructive: true"\n\n'
        f"Then end each other key that is not yours: GET and DELETE {base_url}/v1/keys list and end them.\n\n"
        f"Where your key works no more, ask the operator of the server for a new one.\n"
    )
