"""What an execution was sent as: its headers, without secrets, and commands for a shell."""

import json
from shlex import quote

from attrs import frozen

from cueapi.domain.attempt import webhook_body
from cueapi.domain.clock import iso
from cueapi.domain.confidential import Confidential, Decrypt
from cueapi.domain.masking import MASK, is_named_secret
from cueapi.domain.signature import is_reserved
from cueapi.storage.dashboard.execution import ShownExecution

UNREADABLE = "What callback.headers holds was encrypted under another SESSION_SECRET."

SHOWN = 65_536
"""Characters of a payload that a page shows."""


@frozen
class SentRequest:
    """The request of each attempt, as far as a page may show it. *problem* says why headers are missing."""

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: str | None
    problem: str | None = None


def sent_request(execution: ShownExecution, decrypt: Decrypt) -> SentRequest | None:
    """The request of the last attempt; None for a worker's execution, which was not sent."""
    if execution.callback_url is None or execution.transport == "worker":
        return None
    own, problem = _own_headers(execution, decrypt)
    headers = [
        ("X-CueAPI-Cue-Id", execution.cue_id),
        ("X-CueAPI-Execution-Id", str(execution.id)),
        ("X-CueAPI-Scheduled-For", iso(execution.scheduled_for)),
        ("X-CueAPI-Attempt", str(max(execution.attempts, 1))),
        *((name, mask(name, value)) for name, value in own.items() if not is_reserved(name)),
    ]
    return SentRequest(execution.callback_method, execution.callback_url, headers, _body(execution), problem)


def mask(name: str, value: str) -> str:
    """The value of a header; masked where its name says that it is secret."""
    return MASK if is_named_secret(name) else value


def _own_headers(execution: ShownExecution, decrypt: Decrypt) -> tuple[dict[str, str], str | None]:
    if execution.callback_headers is None:
        return {}, None
    text = decrypt(execution.callback_headers, Confidential.CALLBACK_HEADERS, execution.cue_id)
    return ({}, UNREADABLE) if text is None else (json.loads(text), None)


def _body(execution: ShownExecution) -> str | None:
    """The body; None where there is none, or where the payload is too long to be shown whole."""
    if execution.callback_method == "GET" or execution.payload_length > SHOWN:
        return None
    return webhook_body(
        execution_id=execution.id,
        cue_id=execution.cue_id,
        name=execution.cue_name,
        scheduled_for=execution.scheduled_for,
        attempt=max(execution.attempts, 1),
        payload=execution.payload,
    ).decode("ascii")


def delivery_command(sent: SentRequest) -> str:
    """The delivery once more by hand. It is not signed, and secrets must be filled in."""
    parts = [f"curl -X {sent.method} {quote(sent.url)}"]
    parts += [f"-H {quote(f'{name}: {value}')}" for name, value in sent.headers]
    if sent.body is not None:
        parts += ["-H 'Content-Type: application/json'", f"-d {quote(sent.body)}"]
    elif sent.method != "GET":
        parts += ["-H 'Content-Type: application/json'", "-d @body.json"]
    return " \\\n  ".join(parts)


def contract_command(base_url: str, method: str, path: str, body: object = None) -> str:
    """A call of the contract; the key comes from the environment."""
    parts = [f"curl -X {method} {quote(base_url.rstrip('/') + path)}", '-H "Authorization: Bearer $CUEAPI_API_KEY"']
    if body is not None:
        parts += ["-H 'Content-Type: application/json'", f"-d {quote(json.dumps(body))}"]
    return " \\\n  ".join(parts)
