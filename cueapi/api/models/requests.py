"""JSON in: what a body may hold, and a helpful word about what it may not."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, RootModel


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
