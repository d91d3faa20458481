"""Cues: creating one schedules it, in one statement."""

from datetime import datetime
from decimal import Decimal
from typing import Any, LiteralString, NamedTuple

from attrs import field, frozen

from cueapi.domain.assertion import stored_assertions
from cueapi.domain.audit import Act
from cueapi.domain.budget import BUDGET_FIELDS, DEFAULTS
from cueapi.domain.cue import Cue, payload_task
from cueapi.storage.cue_budgets import BUDGET, BUDGET_COLUMNS
from cueapi.storage.cue_targets import TARGET_STATE
from cueapi.storage.cue_warnings import WARNING
from cueapi.storage.database import Executor, Row
from cueapi.storage.numbers import decimal
from cueapi.storage.paging import Page, conditions, paged
from cueapi.storage.statements import columns_of, load


class CueColumns:
    """The columns of a cue as it is shown; *payload* is JSON, *callback_headers* is encrypted JSON."""

    __slots__ = ()

    id: str
    name: str
    description: str | None
    group_name: str | None
    status: str
    transport: str
    schedule_type: str
    cron: str | None
    schedule_at: datetime | None
    timezone: str
    catchup: str
    overlap: str
    callback_url: str | None
    callback_method: str
    callback_headers: bytes | None
    payload: str
    max_attempts: int
    backoff_minutes: list[int]
    on_failure_email: bool
    on_failure_webhook: str | None
    on_failure_pause: bool
    verification: str
    assertions: str | None
    verification_on_failed: str
    timeout_seconds: int | None
    outcome_deadline_seconds: int | None
    max_wait_seconds: int | None
    max_runtime_seconds: int | None
    alert_consecutive_failures: int | None
    alert_missed_window_multiplier: int | None
    alert_failure_threshold: int | None
    alert_recovery_threshold: int | None
    alert_renotify_minutes: int | None
    budget_per: str | None
    budget_max_runs: int | None
    budget_max_cost: float | None
    budget_on_limit: str | None
    budget_warn_at: float | None
    budget_used_runs: int | None
    budget_used_cost: float | None
    budget_resets_at: datetime | None
    budget_state: str | None
    next_run: datetime | None
    last_run: datetime | None
    run_count: int
    fired_count: int
    held_count: int
    created_at: datetime
    updated_at: datetime
    status_changed_at: datetime | None
    status_changed_by: str | None
    status_change_reason: str | None
    warning: str | None
    target_state: str | None

    @property
    def on_failure(self) -> dict[str, Any]:
        """What follows the last failed attempt."""
        return {
            "email": self.on_failure_email,
            "webhook": self.on_failure_webhook,
            "pause": self.on_failure_pause,
        }

    @property
    def delivery(self) -> dict[str, int] | None:
        """The deadlines of the cue's own; None where it has none."""
        return _given(
            timeout_seconds=self.timeout_seconds,
            outcome_deadline_seconds=self.outcome_deadline_seconds,
            max_wait_seconds=self.max_wait_seconds,
            max_runtime_seconds=self.max_runtime_seconds,
        )

    @property
    def alerts(self) -> dict[str, int] | None:
        """When its user wants alerts; None where the cue has no settings of its own."""
        return _given(
            consecutive_failures=self.alert_consecutive_failures,
            missed_window_multiplier=self.alert_missed_window_multiplier,
            failure_threshold=self.alert_failure_threshold,
            recovery_threshold=self.alert_recovery_threshold,
            renotify_minutes=self.alert_renotify_minutes,
        )

    @property
    def budget(self) -> dict[str, Any] | None:
        """What the cue may run in a period; None where it has no budget."""
        return None if self.budget_per is None else {name: getattr(self, f"budget_{name}") for name in BUDGET_FIELDS}


def _given(**numbers: int | None) -> dict[str, int] | None:
    return {name: number for name, number in numbers.items() if number is not None} or None


class CueRow(CueColumns, Row):
    """A cue, its revision, the reading that *schedule_at* was given as, and the warning that is stored of its URLs."""

    revision: int
    schedule_local: datetime | None
    url_warning: str | None


COLUMNS: LiteralString = (
    columns_of(CueColumns, "c.{}", but=("warning", "target_state", *BUDGET_COLUMNS))
    + BUDGET
    + ", c.revision, c.schedule_local, c.warning as url_warning, "
    + WARNING
    + ", "
    + TARGET_STATE
)


@frozen
class CueRecord:
    """
    A cue with what is stored beside it: the host that fairness counts by, the payload as text, a warning.

    *headers* are stored as they stand here, encrypted.
    """

    cue: Cue
    payload: str
    host: str | None
    warning: str | None
    headers: bytes | None = field(default=None, repr=False)


class CueValues(NamedTuple):
    """What is stored of a cue's description, and beside it."""

    name: str
    description: str | None
    group_name: str | None
    schedule_type: str
    cron: str | None
    schedule_at: datetime | None
    schedule_local: datetime | None
    timezone: str
    catchup: str
    overlap: str
    callback_url: str | None
    callback_method: str
    callback_headers: bytes | None
    payload: str
    task: str | None
    max_attempts: int
    backoff_minutes: list[int]
    on_failure_email: bool
    on_failure_webhook: str | None
    on_failure_pause: bool
    verification: str
    assertions: str | None
    verification_on_failed: str
    timeout_seconds: int | None
    outcome_deadline_seconds: int | None
    max_wait_seconds: int | None
    max_runtime_seconds: int | None
    alert_consecutive_failures: int | None
    alert_missed_window_multiplier: int | None
    alert_failure_threshold: int | None
    alert_recovery_threshold: int | None
    alert_renotify_minutes: int | None
    budget_per: str | None
    budget_max_runs: int | None
    budget_max_cost: Decimal | None
    budget_on_limit: str
    budget_warn_at: Decimal | None
    warning: str | None

    @staticmethod
    def of(placed: CueRecord) -> "CueValues":
        """The values of a cue, with what is stored beside it."""
        cue, schedule = placed.cue, placed.cue.schedule
        delivery, alerts, budget = cue.delivery or {}, cue.alerts or {}, cue.budget or DEFAULTS
        return CueValues(
            name=cue.name,
            description=cue.description,
            group_name=cue.group,
            schedule_type=schedule.type,
            cron=schedule.cron,
            schedule_at=schedule.at,
            schedule_local=schedule.local,
            timezone=schedule.timezone,
            catchup=str(schedule.catchup),
            overlap=str(schedule.overlap),
            callback_url=cue.callback.url,
            callback_method=cue.callback.method,
            callback_headers=placed.headers,
            payload=placed.payload,
            task=payload_task(cue.payload),
            max_attempts=cue.retry.max_attempts,
            backoff_minutes=list(cue.retry.backoff_minutes),
            on_failure_email=cue.on_failure["email"],
            on_failure_webhook=cue.on_failure["webhook"],
            on_failure_pause=cue.on_failure["pause"],
            verification=str(cue.verification.mode),
            assertions=stored_assertions(cue.verification.assertions),
            verification_on_failed=str(cue.verification.on_failed),
            timeout_seconds=delivery.get("timeout_seconds"),
            outcome_deadline_seconds=delivery.get("outcome_deadline_seconds"),
            max_wait_seconds=delivery.get("max_wait_seconds"),
            max_runtime_seconds=delivery.get("max_runtime_seconds"),
            alert_consecutive_failures=alerts.get("consecutive_failures"),
            alert_missed_window_multiplier=alerts.get("missed_window_multiplier"),
            alert_failure_threshold=alerts.get("failure_threshold"),
            alert_recovery_threshold=alerts.get("recovery_threshold"),
            alert_renotify_minutes=alerts.get("renotify_minutes"),
            budget_per=budget.get("per"),
            budget_max_runs=budget.get("max_runs"),
            budget_max_cost=decimal(budget.get("max_cost")),
            budget_on_limit=budget["on_limit"],
            budget_warn_at=decimal(budget["warn_at"]),
            warning=placed.warning,
        )


ADD = load(
    "add_cue",
    ("user", "act", "room", "cue_id", "transport", "next_run", "next_local", "callback_host", *CueValues._fields),
    columns=COLUMNS,
    names=columns_of(CueValues, "{}"),
    values=columns_of(CueValues, ":{}"),
)


async def add(  # noqa: PLR0913 (one argument a fact)
    db: Executor, placed: CueRecord, *, cue_id: str, user: int, act: Act, limit: int, next_run: datetime
) -> CueRow | None:
    """The new cue; None where the plan has no room. Raises Duplicate where its name is taken."""
    local = placed.cue.schedule.reading_at(next_run)
    return await db.fetch_one(
        ADD, user, act.text(), limit, cue_id, placed.cue.transport, next_run, local, placed.host,
        *CueValues.of(placed), row=CueRow,
    )  # fmt: skip


SHOW: LiteralString = "select " + COLUMNS + " from cues c where c.id = $1 and c.user_id = $2 and c.deleted_at is null"


async def show(db: Executor, *, cue_id: str, user: int) -> CueRow | None:
    """One cue; None where it is not this user's."""
    return await db.fetch_one(SHOW, cue_id, user, row=CueRow)


@frozen
class CueFilter:
    """Which cues of a user; None leaves a condition out."""

    user: int
    status: str | None = None
    name: str | None = None
    group: str | None = None
    groups: tuple[str, ...] | None = None
    """Those that the key is limited to."""


async def page(db: Executor, wanted: CueFilter, *, limit: int, offset: int, counted: bool = True) -> Page[CueRow]:
    """One page of cues, newest first, ties by id; with their number unless they are not to be *counted*."""
    where, values = conditions(
        [
            ("c.user_id = ?", wanted.user),
            ("c.status = ?", wanted.status),
            ("c.name = ?", wanted.name),
            ("c.group_name = ?", wanted.group),
            ("c.group_name = any (?::text[])", wanted.groups and list(wanted.groups)),
        ]
    )
    return await paged(
        db, row=CueRow, columns=COLUMNS, source="cues c", where=where + " and c.deleted_at is null", values=values,
        counted="" if counted else None, alias="c", limit=limit, offset=offset,
    )  # fmt: skip
