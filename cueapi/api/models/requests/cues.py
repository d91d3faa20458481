"""Bodies about cues."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from cueapi.api.models.requests.bodies import (
    NULL_CLEARS,
    ONLY_ON_CREATE,
    Bounded,
    Closed,
    Open,
    Reason,
    ReasonBody,
    Short,
    Url,
    optional,
    patch_of,
)
from cueapi.api.models.values import (
    GROUP,
    BudgetPer,
    CatchUp,
    Catchup,
    Method,
    Mode,
    OnFailed,
    OnLimit,
    Overlap,
    Transport,
)
from cueapi.domain.budget import COST_LIMIT

Name = Annotated[str, Field(min_length=1, max_length=255)]
Group = Annotated[str, Field(pattern=GROUP)]
Attempts = Annotated[int, Field(ge=1, le=11)]
Backoff = Annotated[list[Annotated[int, Field(ge=0, le=1440)]], Field(min_length=1, max_length=10)]
Description = Annotated[str, Field(max_length=10_000)]
HeaderText = Annotated[str, Field(max_length=10_000)]
Headers = Annotated[dict[HeaderText, HeaderText], Field(max_length=1_000)]
Payload = dict[str, Any]
EMPTY_IS_NULL = BeforeValidator(lambda given: None if given == "" else given)
"""Forms send an empty text for no URL."""


class ScheduleFields(Bounded):
    """When a cue fires."""

    type: Short | None = optional("`recurring` (has `cron`) or `once` (has `at`).", left_out="follows from these")
    cron: Short | None = optional("The five fields of crontab(5), a macro, `L` or `MON#2`.")
    at: Short | None = optional("ISO 8601, in the future, to 9998; without an offset it is local time in `timezone`.")
    timezone: Short | None = optional("IANA time zone in which `cron` and `at` are read.", "UTC")
    catchup: Catchup | None = optional("After a standstill: one firing for all missed times, all, or none.", "latest")
    catch_up: CatchUp | None = optional("Another name of `catchup`: `latest`, `none` and `all` in other words.")
    overlap: Overlap | None = optional("Whether to fire while an earlier execution is unfinished.", "allow")


class ScheduleBody(Open, ScheduleFields):
    """When a cue fires."""


class PreviewedSchedule(Closed, ScheduleFields):
    """When a cue would fire."""


class CallbackBody(Open):
    """Where a webhook goes, and how."""

    url: Url | None = optional("Where deliveries are sent.", left_out="refused, unless workers pull")
    method: Method | None = optional("HTTP method of a delivery; GET has no body.", "POST")
    headers: Annotated[Headers | None, NULL_CLEARS] = optional("Headers to add to a delivery.", {})


class RetryBody(Open):
    """How many attempts an execution has, and the pauses between them."""

    max_attempts: Attempts | None = optional(
        "Attempts in all, the first one included.", left_out="one more than `backoff_minutes` has entries"
    )
    backoff_minutes: Backoff | None = optional("Minutes before each further attempt; the last one repeats.", [1, 5, 15])


class OnFailureBody(Open):
    """What follows after the last failed attempt."""

    email: bool | None = optional("Whether to send the account a mail.", True)
    webhook: Annotated[Url | None, EMPTY_IS_NULL, NULL_CLEARS] = optional("URL to tell of the failure.", None)
    pause: bool | None = optional("Whether to pause the cue.", False)


class AssertionBody(Closed):
    """One thing that a success report must say of the work."""

    field: Short = Field(
        description="`metadata.NAME` (`metadata.a.b`: deeper), `duration_ms`, `artifacts.count`, `result.length`, "
        "`external_id`, `result_url` or `summary`."
    )
    op: Short = Field(description="`exists`, `=`, `!=`, `<`, `<=`, `>`, `>=` or `in`.")
    value: Any = optional("What the field is compared with, of its own JSON type; with `in` a list.")


class VerificationBody(Open):
    """What a success report must bring to be believed."""

    mode: Mode | None = optional("The evidence that a success report needs; `manual`: a person decides.", "none")
    assertions: Annotated[list[AssertionBody], Field(max_length=1_000)] | None = optional(
        "What the report must say of the work; at most 10.", [], alias="assert"
    )
    on_failed: OnFailed | None = optional(
        "`fail`: a success report that brings less is a failed attempt, with retries.", "keep"
    )


class DeliveryBody(Open):
    """Deadlines of the cue's own."""

    timeout_seconds: Annotated[int, Field(ge=1, le=3_600)] | None = optional(
        "Seconds in which a webhook must answer; at most the server's `WEBHOOK_TIMEOUT_MAX_SECONDS`.",
        left_out="the server's `WEBHOOK_TIMEOUT_SECONDS`",
    )
    outcome_deadline_seconds: Annotated[int, Field(ge=1, le=604_800)] | None = optional(
        "Seconds after delivery in which an outcome must be reported.",
        left_out="no deadline for webhooks, the server's `WORKER_OUTCOME_DEADLINE_SECONDS` for workers",
    )
    max_wait_seconds: Annotated[int, Field(ge=60, le=604_800)] | None = optional(
        "Seconds for which a delivery waits for a host that is down, before its attempt fails.", 86_400
    )
    max_runtime_seconds: Annotated[int, Field(ge=1, le=2_592_000)] | None = optional(
        "Seconds from the start of an attempt beyond which its heartbeats move no deadline.", left_out="7 days"
    )


class AlertsBody(Open):
    """When the account is alerted."""

    consecutive_failures: Annotated[int, Field(ge=1, le=100)] | None = optional(
        "Raise an alert at so many failed executions in a row, and at each multiple.", 3
    )
    missed_window_multiplier: Annotated[int, Field(ge=1, le=100)] | None = optional(
        "Raise an alert where a firing is late by so many times the interval to the one after.", left_out="never"
    )
    failure_threshold: Annotated[int, Field(ge=1, le=720)] | None = optional(
        "Open an incident at so many failed executions in a row.", 1
    )
    recovery_threshold: Annotated[int, Field(ge=1, le=720)] | None = optional(
        "End an incident after so many good executions in a row.", 1
    )
    renotify_minutes: Annotated[int, Field(ge=0, le=10_080)] | None = optional(
        "Remind of an open incident in these intervals until it is acknowledged, snoozed or over; 0: never.", 0
    )


class BudgetFields(Bounded):
    """How much may run in a period of the calendar."""

    per: BudgetPer | None = optional(
        "The period, which begins anew by the calendar; weeks begin on Monday.", left_out="refused"
    )
    max_runs: Annotated[Annotated[int, Field(ge=1, le=10**12)] | None, NULL_CLEARS] = optional(
        "Executions in a period, replays included and retries not.", left_out="any number"
    )
    max_cost: Annotated[Annotated[float, Field(gt=0, le=COST_LIMIT)] | None, NULL_CLEARS] = optional(
        "Sum of `metadata.cost` of the outcomes in a period, in your unit.", left_out="any cost"
    )
    on_limit: OnLimit | None = optional("Whether the cue goes on in the next period, or is paused.", "skip")
    warn_at: Annotated[float, Field(ge=0.1, le=1)] | None = optional(
        "The part of a limit at which a `budget_warning` is raised.", 0.8
    )


class BudgetBody(Open, BudgetFields):
    """How much a cue may run in a period of the calendar of its zone."""


class CueBody(Open):
    """A cue; or its short form, with `cron` or `at`, `timezone`, `callback_url` and `worker` at the top level."""

    name: Name = Field(description="Name of the cue, unique in the account.")
    description: Annotated[Description | None, NULL_CLEARS] = optional("Text for people.", None)
    group: Annotated[Group | None, NULL_CLEARS] = optional("The group that the cue belongs to.", None)
    schedule: ScheduleBody | None = optional("When the cue fires.", left_out="the short form says it")
    transport: Annotated[Transport | None, ONLY_ON_CREATE] = optional(
        "Whether executions are sent to a URL or pulled by workers.", "webhook"
    )
    callback: CallbackBody | None = optional("Where a webhook goes, and how.")
    payload: Payload | None = optional("What each execution carries to its handler, up to 1 MiB as JSON.", {})
    retry: RetryBody | None = optional("How many attempts an execution has, and the pauses between them.")
    on_failure: OnFailureBody | None = optional("What follows after the last failed attempt.")
    verification: VerificationBody | None = optional("What a success report must bring to be believed.")
    delivery: Annotated[DeliveryBody | None, NULL_CLEARS] = optional("Deadlines of the cue's own.", None)
    alerts: Annotated[AlertsBody | None, NULL_CLEARS] = optional("When the account is alerted.", None)
    budget: Annotated[BudgetBody | None, NULL_CLEARS] = optional("How much the cue may run in a period.", None)
    catch_up: CatchUp | None = optional("Short for `schedule.catch_up`.")
    cron: Annotated[Short | None, ONLY_ON_CREATE] = optional("Short for `schedule.cron`.")
    at: Annotated[Short | None, ONLY_ON_CREATE] = optional("Short for `schedule.at`.")
    timezone: Annotated[Short | None, ONLY_ON_CREATE] = optional("Short for `schedule.timezone`.")
    callback_url: Annotated[Url | None, ONLY_ON_CREATE] = optional("Short for `callback.url`.")
    worker: Annotated[bool | None, ONLY_ON_CREATE] = optional('`true` is short for `"transport": "worker"`.')
    reason: Reason | None = optional("Why, for the audit; the header X-Reason says it as well.")


CuePatch = patch_of(
    CueBody, status=(Literal["active", "paused"], optional("Pause the cue, or make it active again; applies last."))
)


class PreviewBody(Closed):
    """A schedule whose fire times are asked for."""

    schedule: PreviewedSchedule | None = optional("When a cue would fire.", left_out="refused")
    count: Annotated[int, Field(ge=1, le=50)] | None = optional("Fire times to show, at most.", 5)


class FireBody(Closed):
    """A fire by hand; may be empty."""

    payload_override: Payload | None = optional("Payload of this execution, merged into the cue's.")
    merge_strategy: Literal["merge", "replace"] | None = optional(
        "`merge`: keys of the override replace those of the cue's payload; `replace`: the override is the payload.",
        "merge",
    )
    idempotency_key: Annotated[str, Field(pattern=r"^[\x20-\x7e]{1,255}$")] | None = optional(
        "The key that the header Idempotency-Key may bring as well: a repeat has no further effect."
    )
    send_at: Short | None = optional("ISO 8601, to 9998: when to fire. Up to a minute past means now.", left_out="now")


class Ids(ReasonBody):
    """Cues to delete."""

    ids: Annotated[list[Short], Field(min_length=1, max_length=100)] = Field(description="Ids of 1 to 100 cues.")
