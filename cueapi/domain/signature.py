"""What a webhook says and how it is signed: body, headers, two signatures over the bytes as they are sent."""

import base64
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

from cueapi.domain.attempt import Delivery
from cueapi.domain.clock import iso
from cueapi.domain.errors import Problem

Headers: TypeAlias = list[tuple[str, str]]

USER_AGENT = "CueAPI/1.0"
HEADERS_LIMIT = 50
HEADER_NAME_LIMIT = 256
HEADERS_SIZE_LIMIT = 8192

# Belong to the connection, which writes its own.
FRAMING = frozenset(
    {
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
    }
)

# Belong to the connection or to us; a cue that sets them is not refused, they are not sent.
RESERVED = FRAMING | frozenset(
    {
        "x-cueapi-signature",
        "x-cueapi-timestamp",
        "x-cueapi-cue-id",
        "x-cueapi-execution-id",
        "x-cueapi-scheduled-for",
        "x-cueapi-attempt",
        "x-cueapi-report-url",
        "x-cueapi-alert-id",
        "x-cueapi-alert-type",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "user-agent",
        "accept-encoding",
        "expect",
    }
)


def is_reserved(name: str) -> bool:
    """Whether only we set this header. Many servers read `_` in a name as `-`."""
    return name.lower().replace("_", "-") in RESERVED


def canonical_json(value: object) -> bytes:
    """The one form that receivers arrive at when they parse and serialise again."""
    return json.dumps(value, sort_keys=True).encode("ascii")


def canonical_body(
    *, execution_id: object, cue_id: str, name: str, scheduled_for: datetime, attempt: int, payload: object
) -> bytes:
    """The body of a delivery."""
    return canonical_json(
        {
            "execution_id": str(execution_id),
            "cue_id": cue_id,
            "name": name,
            "scheduled_for": iso(scheduled_for),
            "attempt": attempt,
            "payload": payload,
        }
    )


def sign(secret: str, timestamp: int, body: bytes) -> str:
    """`X-CueAPI-Signature`: the key is the secret as it stands. Raises ValueError where there is none."""
    return f"v1={hmac.digest(_some(secret.encode()), b'%d.' % timestamp + body, 'sha256').hex()}"


def is_signed(signature: str, secret: str, timestamp: str, body: bytes) -> bool:
    """Whether *signature* is `sign`'s of that timestamp, as it stands in its header, and *body*."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 16):
        return False
    return hmac.compare_digest(sign(secret, int(timestamp), body).encode(), signature.encode("utf-8", "replace"))


def key_of(secret: str) -> bytes:
    """The decoded part behind `whsec_`. Raises ValueError where it is not base64, or nothing."""
    return _some(base64.b64decode(secret.removeprefix("whsec_")))


def standard_signature(secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> str:
    """
    `webhook-signature`: one signature for each secret; the key is the decoded part behind `whsec_`.

    It binds the message's id, the time and the body. `X-CueAPI-Signature` binds time and body only: of two deliveries
    by GET in one second, which have none, the signatures are equal.
    """
    content = f"{message_id}.{timestamp}.".encode() + body
    digests = (hmac.digest(key_of(secret), content, "sha256") for secret in secrets)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


def notice_headers(secret: str, message_id: str, timestamp: int, body: bytes) -> Headers:
    """What alert and failure webhooks carry: both signatures, with an id that is the same on each attempt."""
    return [
        *_signed(secret, timestamp, body),
        *_standard([secret], message_id, timestamp, body),
        *_DEFAULTS,
    ]


def headers(delivery: Delivery, timestamp: int) -> Headers:
    """All that a handler sees of *delivery* besides its body; the first of its secrets is the present one."""
    body, message_id = sent_body(delivery), str(delivery.execution_id)
    theirs = [(name, value.strip(" \t")) for name, value in delivery.headers.items() if _fits(name, value)]
    given = {name.lower() for name, _ in theirs}
    return [
        *_signed(delivery.secrets[0], timestamp, body),
        ("X-CueAPI-Cue-Id", delivery.cue_id),
        ("X-CueAPI-Execution-Id", message_id),
        ("X-CueAPI-Scheduled-For", iso(delivery.scheduled_for)),
        ("X-CueAPI-Attempt", str(delivery.attempt)),
        ("X-CueAPI-Report-URL", delivery.report_url),
        *_standard(delivery.secrets, message_id, timestamp, body),
        *theirs,
        *(default for default in _DEFAULTS[: 2 if body else 1] if default[0].lower() not in given),
    ]


def sent_body(delivery: Delivery) -> bytes:
    """The bytes that go out and are signed: none with GET."""
    return b"" if delivery.method == "GET" else delivery.body


def check_headers(given: Mapping[str, str], field: str = "body.callback.headers") -> list[Problem]:
    """What is wrong with the headers of a cue."""
    problems = [Problem(f"{field}.{name[:64]}", text) for name, value in given.items() for text in _faults(name, value)]
    if len({name.lower() for name in given}) < len(given):
        problems.append(Problem(field, "names a header twice (upper and lower case are the same)"))
    if len(given) > HEADERS_LIMIT:
        problems.append(Problem(field, f"has more than {HEADERS_LIMIT} headers"))
    if sum(len(name) + len(value) for name, value in given.items()) > HEADERS_SIZE_LIMIT:
        problems.append(Problem(field, f"has more than {HEADERS_SIZE_LIMIT:,} characters"))
    return problems


# A cue may say otherwise. Content-Type, the last one, goes with a body only.
_DEFAULTS: Headers = [("Accept-Encoding", "identity"), ("Content-Type", "application/json")]


def _some(key: bytes) -> bytes:
    """*key*, which must not be empty: with that one anybody could sign."""
    if not key:
        raise ValueError("there is no secret to sign with")
    return key


_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")


def _faults(name: str, value: str) -> list[str]:
    faults = []
    if len(name) > HEADER_NAME_LIMIT or not _TOKEN.fullmatch(name):
        faults.append("is no name of a header")
    if not _VALUE.fullmatch(value):
        faults.append("has a value with characters that a header cannot carry")
    return faults


def _fits(name: str, value: str) -> bool:
    return not is_reserved(name) and not _faults(name, value)


def _standard(secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> Headers:
    """The headers of Standard Webhooks (standardwebhooks.com, specification)."""
    return [
        ("webhook-id", message_id),
        ("webhook-timestamp", str(timestamp)),
        ("webhook-signature", standard_signature(secrets, message_id, timestamp, body)),
    ]


def _signed(secret: str, timestamp: int, body: bytes) -> Headers:
    return [
        ("User-Agent", USER_AGENT),
        ("X-CueAPI-Signature", sign(secret, timestamp, body)),
        ("X-CueAPI-Timestamp", str(timestamp)),
    ]
