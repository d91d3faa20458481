"""JSON in: what a body may hold, and a helpful word about what it may not."""

import json
import re
from sys import float_info
from typing import Annotated, Any, Literal, NoReturn, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, RootModel, ValidationError
from quart import request

from cueapi.domain.errors import Invalid, Problem, Refusal
from cueapi.domain.outcome import DEPTH_LIMIT

# What json.loads lets pass and PostgreSQL or a double cannot hold can only be written with one of these.
_SUSPECT = re.compile(r"\\u|[0-9][eE]|[0-9]{300}")


async def read_object() -> dict[str, Any]:
    """The request's body as a JSON object, whatever its Content-Type says; an empty one is `{}`."""
    data = await _read()
    if not data.strip():
        return {}
    value = parse(data)
    if not isinstance(value, dict):
        raise Invalid(Problem("body", "must be a JSON object"))
    return value


async def read_json(limit: int) -> tuple[bytes, Any]:
    """The request's body, which may be any JSON value of at most *limit* bytes: as it came, and what it says."""
    data = await _read()
    if len(data) > limit:
        raise Refusal("request_too_large", f"The body has more than {limit // 1024} KiB.")
    return data, parse(data)


async def read_form() -> dict[str, str] | None:
    """What an HTML form sent (`application/x-www-form-urlencoded`); None where the body is JSON after all."""
    data = await _read()
    if request.mimetype != "application/x-www-form-urlencoded" or data.lstrip().startswith(b"{"):
        return None
    try:
        return dict(parse_qsl(data.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=20))
    except ValueError:
        raise Invalid(Problem("body", "has too many fields")) from None


async def _read() -> bytes:
    if request.mimetype.startswith("multipart/"):
        raise Refusal("unsupported_media_type", "The body must be JSON; multipart is not taken.")
    data = await request.get_data(as_text=False)
    assert isinstance(data, bytes)
    return data


def parse(data: bytes) -> Any:  # noqa: ANN401 (JSON)
    """
    RFC 8259 JSON in UTF-8; a byte order mark is passed over. Of a repeated key the last counts.

    Refuses what the contract cannot carry.
    """
    try:
        text = data.decode("utf-8-sig")
        value = json.loads(text, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise Refusal("invalid_json", "The body is not UTF-8.") from None
    except RecursionError:
        raise Refusal("invalid_json", _TOO_DEEP) from None
    except json.JSONDecodeError as error:
        raise Refusal("invalid_json", f"The body is not JSON: {str(error)[:200]}") from None
    except ValueError:
        # Python reads no whole number of more than 4,300 digits.
        raise Refusal("invalid_json", _TOO_LARGE) from None
    if text.count("[") + text.count("{") > DEPTH_LIMIT or _SUSPECT.search(text):
        _check(value, 1)
    return value


_TOO_LARGE = "The body holds a number that is beyond a double."
_TOO_DEEP = f"The body is nested more than {DEPTH_LIMIT} deep."


def _no_constant(name: str) -> NoReturn:
    raise Refusal("invalid_json", f"The body holds {name}, which is no JSON.")


def _check(value: object, depth: int) -> None:
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, dict | list):
        if depth > DEPTH_LIMIT:
            raise Refusal("invalid_json", _TOO_DEEP)
        if isinstance(value, dict):
            for key in value:
                _check_text(key)
        for item in value.values() if isinstance(value, dict) else value:
            _check(item, depth + 1)
    elif isinstance(value, int | float) and not -float_info.max <= value <= float_info.max:
        raise Refusal("invalid_json", _TOO_LARGE)


def _check_text(text: str) -> None:
    if "\x00" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
        raise Refusal("invalid_payload", "The body holds U+0000 or a lone surrogate, which cannot be stored.")


class Open(BaseModel):
    """Keys that are not known are kept, to be named."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    def unknown(self, prefix: str = "") -> list[str]:
        """The unknown keys, here and below."""
        names = [prefix + name for name in self.model_extra or ()]
        for name in type(self).model_fields:
            below = getattr(self, name)
            if isinstance(below, Open):
                names += below.unknown(f"{prefix}{name}.")
        return names


class Closed(BaseModel):
    """Keys that are not known are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


Name = Annotated[str, Field(min_length=1, max_length=255)]
Method = Literal["POST", "GET", "PUT", "PATCH"]
Mode = Literal["none", "require_external_id", "require_result_url", "require_artifacts", "manual"]
Backoff = Annotated[list[Annotated[int, Field(ge=0, le=1440)]], Field(min_length=1, max_length=10)]
Tries = Annotated[int, Field(ge=1, le=11)]
Payload = dict[str, Any]
UrlOrNone = Annotated[str | None, BeforeValidator(lambda given: None if given == "" else given)]
"""Forms send an empty text for none."""


class ScheduleBody(Open):
    """`schedule`."""

    type: str | None = None
    cron: str | None = None
    at: str | None = None
    timezone: str | None = None
    catchup: Literal["latest", "all", "none"] | None = None
    overlap: Literal["allow", "skip"] | None = None


class CallbackBody(Open):
    """`callback`."""

    url: str | None = None
    method: Method | None = None
    headers: dict[str, str] | None = None


class RetryBody(Open):
    """`retry`."""

    max_attempts: Tries | None = None
    backoff_minutes: Backoff | None = None


class OnFailureBody(Open):
    """`on_failure`."""

    email: bool | None = None
    webhook: UrlOrNone = None
    pause: bool | None = None


class VerificationBody(Open):
    """`verification`."""

    mode: Mode | None = None


class DeliveryBody(Open):
    """`delivery`."""

    timeout_seconds: Annotated[int, Field(ge=1, le=3_600)] | None = None
    outcome_deadline_seconds: Annotated[int, Field(ge=1, le=604_800)] | None = None


class AlertsBody(Open):
    """`alerts`."""

    consecutive_failures: Annotated[int, Field(ge=1, le=100)] | None = None
    missed_window_multiplier: Annotated[int, Field(ge=1, le=100)] | None = None


class CueBody(Open):
    """A cue to be created, or its short form: cron or at, timezone, callback_url, worker at the top level."""

    name: Name
    description: str | None = None
    schedule: ScheduleBody | None = None
    transport: Literal["webhook", "worker"] | None = None
    callback: CallbackBody | None = None
    payload: Payload | None = None
    retry: RetryBody | None = None
    on_failure: OnFailureBody | None = None
    verification: VerificationBody | None = None
    delivery: DeliveryBody | None = None
    alerts: AlertsBody | None = None
    cron: str | None = None
    at: str | None = None
    timezone: str | None = None
    callback_url: str | None = None
    worker: bool | None = None


class SchedulePatch(Closed):
    """`schedule` in a PATCH; what is left out stays."""

    type: str = ""
    cron: str = ""
    at: str = ""
    timezone: str = ""
    catchup: Literal["latest", "all", "none"] = "latest"
    overlap: Literal["allow", "skip"] = "allow"


class CallbackPatch(Closed):
    """`callback` in a PATCH; null clears the headers."""

    url: str = ""
    method: Method = "POST"
    headers: dict[str, str] | None = None


class RetryPatch(Closed):
    """`retry` in a PATCH."""

    max_attempts: Tries = 1
    backoff_minutes: Backoff = Field(default_factory=list)


class OnFailurePatch(Closed):
    """`on_failure` in a PATCH; null clears the webhook."""

    email: bool = True
    webhook: UrlOrNone = None
    pause: bool = False


class VerificationPatch(Closed):
    """`verification` in a PATCH."""

    mode: Mode = "none"


class DeliveryPatch(Closed):
    """`delivery` in a PATCH."""

    timeout_seconds: Annotated[int, Field(ge=1, le=3_600)] = 1
    outcome_deadline_seconds: Annotated[int, Field(ge=1, le=604_800)] = 1


class AlertsPatch(Closed):
    """`alerts` in a PATCH."""

    consecutive_failures: Annotated[int, Field(ge=1, le=100)] = 1
    missed_window_multiplier: Annotated[int, Field(ge=1, le=100)] = 1


class CuePatch(Closed):
    """A change of a cue. Only what was given counts: the defaults are never looked at."""

    name: Name = "-"
    description: str | None = None
    status: Literal["active", "paused"] = "active"
    schedule: SchedulePatch = SchedulePatch()
    callback: CallbackPatch = CallbackPatch()
    payload: Payload = Field(default_factory=dict)
    retry: RetryPatch = RetryPatch()
    on_failure: OnFailurePatch = OnFailurePatch()
    verification: VerificationPatch = VerificationPatch()
    delivery: DeliveryPatch | None = None
    alerts: AlertsPatch | None = None


class FireBody(Open):
    """A fire by hand."""

    payload_override: Payload | None = None
    merge_strategy: Literal["merge", "replace"] | None = None
    send_at: str | None = None


class Ids(Open):
    """Cues to be deleted."""

    ids: Annotated[list[str], Field(min_length=1, max_length=100)]


class EvidenceBody(Open):
    """Evidence, and metadata."""

    external_id: Annotated[str, Field(max_length=500)] | None = None
    result_url: Annotated[str, Field(max_length=2_000)] | None = None
    result_ref: Annotated[str, Field(max_length=500)] | None = None
    result_type: Annotated[str, Field(max_length=100)] | None = None
    summary: Annotated[str, Field(max_length=500)] | None = None
    artifacts: list[Any] | None = None
    metadata: dict[str, Any] | None = None


class OutcomeBody(EvidenceBody):
    """A report."""

    success: bool
    result: str | None = None
    error: str | None = None
    retry: bool | None = None


class VerifyBody(Open):
    """A person's word on an outcome."""

    valid: bool | None = None
    reason: str | None = None


class Anything(RootModel[Any]):
    """Any JSON value."""


class ClaimBody(Open):
    """A worker's wish for the next execution, or for a certain one."""

    worker_id: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    task: str | None = None


class HeartbeatBody(Open):
    """A worker's sign of life."""

    worker_id: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    handlers: Annotated[list[Annotated[str, Field(max_length=255)]], Field(max_length=1_000)] | None = None
    running: Annotated[list[str], Field(max_length=1_000)] | None = None
    claim: Annotated[int, Field(ge=0, le=50)] | None = None
    wait_seconds: Annotated[float, Field(ge=0, le=30, strict=False)] | None = None


class RegisterBody(Open):
    """A new account."""

    email: str


class CodeBody(Open):
    """A sign-in, by its device code."""

    device_code: str


class SubmitBody(CodeBody):
    """Who signs in."""

    email: str


class ConfirmBody(CodeBody):
    """What the button of the confirming page sends."""

    token: str


class SessionBody(Open):
    """The one-time token of a sign-in."""

    token: str


class MePatch(Closed):
    """A change of the account; an empty URL clears it."""

    email: str | None = None
    alert_webhook_url: str | None = None


Body = TypeVar("Body", bound=BaseModel)


async def read(kind: type[Body]) -> Body:
    """The request's body as *kind*; refuses with every field that is wrong."""
    return validated(kind, await read_object())


def validated(kind: type[Body], value: dict[str, Any]) -> Body:
    """*value* as *kind*."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        problems = [
            Problem(".".join(["body", *(str(part) for part in one["loc"])]), _sentence(one["type"], one["msg"]))
            for one in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise Invalid(*problems) from None


def _sentence(kind: str, message: str) -> str:
    """pydantic's message, in the words of JSON."""
    if kind == "missing":
        return "is required"
    if kind == "extra_forbidden":
        return "is not a field that can be changed"
    for ours, theirs in (("object", "dictionary"), ("array", "list"), ("text", "string")):
        message = message.replace(f"valid {theirs}", f"valid {ours}")
    return message[0].lower() + message[1:]


def given(body: BaseModel) -> dict[str, Any]:
    """What was given of *body*, nested; what was left out, or null, is not in it."""
    return body.model_dump(exclude_unset=True, exclude_none=True)
