"""Answers about cues."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field

from cueapi.api.models.rendering import Column, Columns, Computed, Rendered, json_in
from cueapi.api.models.responses.audit import Actor
from cueapi.api.models.responses.executions import Execution
from cueapi.api.models.responses.lists import Page
from cueapi.api.models.responses.received import BodyReceived
from cueapi.api.models.values import (
    BudgetPer,
    BudgetState,
    Catchup,
    Count,
    CueId,
    CueStatus,
    Method,
    Mode,
    OnFailed,
    OnLimit,
    Overlap,
    TargetState,
    Transport,
)
from cueapi.domain.budget import BUDGET_FIELDS


class Schedule(Rendered):
    """When a cue fires."""

    columns: ClassVar[Columns] = {"type": Column("schedule_type"), "at": Column("schedule_at")}

    type: Literal["recurring", "once"] = Field(description="`recurring` has `cron`, `once` has `at`.")
    timezone: str = Field(description="IANA time zone in which `cron` is read.")
    cron: str | None = Field(default=None, description="The five fields of crontab(5), or a macro.")
    at: datetime | None = Field(default=None, description="The one time at which the cue fires, in UTC.")
    catchup: Catchup = Field(description="What becomes of times that were missed: one firing for all, all, or none.")
    overlap: Overlap = Field(description="Whether the cue fires while an earlier execution is unfinished.")


class Callback(Rendered):
    """Where a webhook goes, and how."""

    columns: ClassVar[Columns] = {
        "url": Column("callback_url"),
        "method": Column("callback_method"),
        # Encrypted: who renders a cue replaces it.
        "headers": Column("callback_headers"),
    }

    url: str | None = Field(description="Where deliveries are sent; null where a worker cue has none.")
    method: Method = Field(description="HTTP method of a delivery; GET has no body.")
    headers: dict[str, str] = Field(description="Headers added to a delivery.")


class Retry(Rendered):
    """How many attempts an execution has, and the pauses between them."""

    max_attempts: Annotated[int, Field(ge=1, le=11)] = Field(description="Attempts in all, the first one included.")
    backoff_minutes: list[Count] = Field(description="Minutes before each further attempt; the last one repeats.")


class OnFailure(Rendered):
    """What follows after the last failed attempt."""

    columns: ClassVar[Columns] = {name: Column(f"on_failure_{name}") for name in ("email", "webhook", "pause")}

    email: bool = Field(description="Whether the account gets a mail.")
    webhook: str | None = Field(description="URL that is told of the failure; null: none.")
    pause: bool = Field(description="Whether the cue is paused.")


class Assertion(BaseModel):
    """One thing that a success report must say of the work."""

    field: str = Field(description="What it is about.")
    op: str = Field(description="How it is compared.")
    value: Any = Field(default=None, description="What it is compared with; left out with `exists`.")


class Verification(Rendered):
    """What a success report must bring to be believed."""

    columns: ClassVar[Columns] = {
        "mode": Column("verification"),
        "assertions": json_in("assertions"),
        "on_failed": Computed("verification_on_failed", lambda kept: None if kept == "keep" else kept),
    }

    mode: Mode = Field(description="The evidence that a success report needs; `manual`: a person decides.")
    assertions: list[Assertion] | None = Field(
        default=None, alias="assert", description="What the report must say of the work; left out where nothing is."
    )
    on_failed: OnFailed | None = Field(
        default=None, description="`fail`: a report that brings less is a failed attempt; left out: it is kept."
    )


class Delivery(Rendered):
    """Deadlines of the cue's own."""

    timeout_seconds: int | None = Field(default=None, description="Seconds in which a webhook must answer.")
    outcome_deadline_seconds: int | None = Field(
        default=None, description="Seconds after delivery in which an outcome must be reported."
    )
    max_wait_seconds: int | None = Field(
        default=None, description="Seconds for which a delivery waits for a host that is down; else 86,400."
    )
    max_runtime_seconds: int | None = Field(
        default=None, description="Seconds from its start beyond which heartbeats of an attempt move no deadline."
    )


class AlertRules(Rendered):
    """When the account is alerted."""

    columns: ClassVar[Columns] = {
        name: Column(f"alert_{name}")
        for name in (
            "consecutive_failures",
            "missed_window_multiplier",
            "failure_threshold",
            "recovery_threshold",
            "renotify_minutes",
        )
    }

    consecutive_failures: int | None = Field(
        default=None,
        description="An alert is raised at so many failed executions in a row; else at 3.",
    )
    missed_window_multiplier: int | None = Field(
        default=None,
        description="An alert is raised where a firing is late by so many intervals; else never.",
    )
    failure_threshold: int | None = Field(
        default=None, description="An incident opens at so many failed executions in a row; else at 1."
    )
    recovery_threshold: int | None = Field(
        default=None, description="An incident ends after so many good executions in a row; else after 1."
    )
    renotify_minutes: int | None = Field(
        default=None, description="Minutes between reminders of an open incident; else, and at 0, there are none."
    )


class StatusChange(Rendered):
    """When the status of a cue last changed, by whom, and why."""

    columns: ClassVar[Columns] = {
        "at": Column("status_changed_at"),
        "by": json_in("status_changed_by"),
        "reason": Column("status_change_reason"),
    }

    at: datetime = Field(description="When it changed.")
    by: Actor = Field(description="Who changed it.")
    reason: str | None = Field(description="Why; null where nothing was said.")


USE_FIELDS = ("used_runs", "used_cost", "resets_at", "state")


class Budget(Rendered):
    """How much may run in a period."""

    columns: ClassVar[Columns] = {name: Column(f"budget_{name}") for name in BUDGET_FIELDS}

    per: BudgetPer = Field(description="The period, which begins anew by the calendar; weeks begin on Monday.")
    max_runs: int | None = Field(description="Executions in a period; null: any number.")
    max_cost: float | None = Field(description="Cost in a period, in the account's unit; null: any.")
    on_limit: OnLimit = Field(description="Whether the cue goes on in the next period, or is paused.")
    warn_at: float = Field(description="The part of a limit at which a `budget_warning` is raised.")


class BudgetUse(Rendered):
    """What of a budget is used in the present period."""

    columns: ClassVar[Columns] = {name: Column(f"budget_{name}") for name in USE_FIELDS}

    used_runs: Count = Field(description="Executions of the period that are counted: retries are not.")
    used_cost: float = Field(description="Cost that the outcomes of the period have brought.")
    resets_at: datetime = Field(description="When the next period begins.")
    state: BudgetState = Field(description="`warned` from `warn_at` on, `reached` at a limit: nothing more runs.")


class Cue(Rendered):
    """A schedule and where to call."""

    columns: ClassVar[Columns] = {"group": Column("group_name"), "payload": json_in("payload")}

    id: CueId = Field(description="Id of the cue.")
    name: str = Field(description="Name, unique in the account.")
    description: str | None = Field(description="Text for people; null where there is none.")
    group: str | None = Field(description="The group that the cue belongs to.", examples=["briefs"])
    status: CueStatus = Field(description="Only an `active` cue fires by itself.")
    status_changed: StatusChange | None = Field(
        description="When the status last changed, by whom, and why; null where it is as the cue was made."
    )
    transport: Transport = Field(description="Whether executions are sent to a URL or pulled by workers.")
    schedule: Schedule = Field(description="When the cue fires.")
    callback: Callback = Field(description="Where a webhook goes, and how.")
    payload: dict[str, Any] = Field(description="What each execution carries to its handler.")
    retry: Retry = Field(description="How many attempts an execution has, and the pauses between them.")
    on_failure: OnFailure = Field(description="What follows after the last failed attempt.")
    verification: Verification = Field(description="What a success report must bring to be believed.")
    delivery: Delivery | None = Field(description="Deadlines of the cue's own; null: those of the server.")
    alerts: AlertRules | None = Field(description="When the account is alerted; null: at 3 failed executions in a row.")
    budget: Budget | None = Field(
        description="How much the cue may run in a period; null: any number.", examples=[None]
    )
    budget_use: BudgetUse | None = Field(
        description="What of the budget is used; null where there is none.", examples=[None]
    )
    next_run: datetime | None = Field(description="When the cue fires next; null where it does not.")
    last_run: datetime | None = Field(description="When the cue last fired; null where it has not yet.")
    run_count: Count = Field(description="Executions that have ended.")
    fired_count: Count = Field(description="Executions made, by schedule or by hand.")
    held_count: Count = Field(description="Times that came while the account was held: they do not fire.", examples=[0])
    warning: str | None = Field(
        description="What keeps, or may keep, executions from their handler: when and why `on_failure` has paused the"
        " cue, that no worker is alive, a host that does not resolve; null where nothing does."
    )
    target_state: TargetState | None = Field(
        description="Whether the host that it calls is sent to (`closed`), waits until it can serve again (`open`), or"
        " is being probed (`half_open`); null of a worker cue.",
        examples=["closed"],
    )
    created_at: datetime = Field(description="When the cue was created.")
    updated_at: datetime = Field(description="When the cue was last changed.")


class WrittenCue(BodyReceived, Cue):
    """A cue that was created or changed."""


class CueList(Page):
    """Cues, newest first."""

    cues: list[Cue] = Field(description="The cues of this page.")


class CueWithHistory(Cue):
    """A cue with its newest executions."""

    executions: list[Execution] = Field(description="Its executions, newest first.")
    execution_total: Count = Field(description="Executions of the cue, exact up to 10,000.")
    execution_limit: Count = Field(description="Executions shown here, at most.")
    execution_offset: Count = Field(description="Executions that were skipped.")


class Upcoming(BaseModel):
    """The next fire times."""

    upcoming: list[datetime] = Field(description="Fire times in UTC, the earliest first.")


class FireTime(BaseModel):
    """One fire time."""

    at: datetime = Field(description="The moment, in UTC.")
    local: datetime = Field(
        description="The same moment as the clock of the schedule's zone shows it, with its offset."
    )


class PreviewedTimes(BaseModel):
    """The fire times of a schedule that is not stored."""

    upcoming: list[FireTime] = Field(description="Fire times, the earliest first; fewer where no more come.")


class BulkDeleted(BaseModel):
    """Which cues were deleted."""

    deleted: list[str] = Field(description="Ids of cues that were deleted.")
    not_found: list[str] = Field(description="Ids that are not those of a cue of the account.")
    skipped: list[str] = Field(description="The same ids as in `not_found`.")
