"""
What the contract promises of every answer: the fields, their types, and what may be null.

Nothing is rendered by these: `views.py` does that, and the tests hold both against each other on the wire. It is
one long file, since it is one table: the contract's.
"""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

CueId = Annotated[str, Field(pattern="^cue_[a-z0-9]{12}$")]
ApiKey = Annotated[str, Field(pattern="^cue_sk_[0-9a-f]{32}$")]
WebhookSecret = Annotated[str, Field(pattern="^whsec_[0-9a-f]{64}$")]
AlertSecret = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]

Method = Literal["POST", "GET", "PUT", "PATCH"]
Transport = Literal["webhook", "worker"]
Mode = Literal["none", "require_external_id", "require_result_url", "require_artifacts", "manual"]
TriggeredBy = Literal["scheduled", "manual_fire", "replay"]
Status = Literal["pending", "delivering", "retrying", "retry_ready", "success", "failed", "missed", "outcome_timeout"]
OutcomeState = Literal[
    "reported_success", "reported_failure", "verified_success", "verification_failed", "verification_pending"
]
AlertType = Literal[
    "consecutive_failures", "verification_failed", "outcome_timeout", "execution_failed", "missed_run", "worker_offline"
]


class ProblemDetail(BaseModel):
    """One field that is wrong."""

    field: str
    message: str


class Registered(BaseModel):
    """A new account: its key is shown this one time without being asked for."""

    api_key: ApiKey
    email: str


class Me(BaseModel):
    """The account, its limits, and what it has used."""

    email: str
    plan: str
    active_cues: Count
    active_cue_limit: Count
    executions_this_month: Count
    monthly_execution_limit: Count
    rate_limit_per_minute: Count
    has_webhook_secret: bool
    api_key_prefix: str | None
    alert_webhook_url: str | None


class Updated(BaseModel):
    """When the account was changed."""

    updated_at: datetime


class Key(BaseModel):
    """The API key once more."""

    api_key: ApiKey


class NewKey(Key):
    """A new API key; the old one is dead."""

    previous_key_revoked: Literal[True]


class Secret(BaseModel):
    """What webhooks are signed with."""

    webhook_secret: WebhookSecret


class NewSecret(Secret):
    """A new webhook secret; the former one may sign beside it for a while."""

    previous_secret_revoked: bool


class AlertWebhookSecret(BaseModel):
    """What alert webhooks are signed with."""

    alert_webhook_secret: AlertSecret


class NewAlertWebhookSecret(AlertWebhookSecret):
    """A new alert webhook secret."""

    previous_secret_revoked: Literal[True]


class DeviceCode(BaseModel):
    """Where the user of a program signs in, and for how many seconds."""

    verification_url: str
    expires_in: Count


class EmailSent(BaseModel):
    """The link is on its way, if the address may sign in."""

    status: Literal["email_sent"]


class Polled(BaseModel):
    """Where a sign-in stands; `approved` comes once, with what it opens."""

    status: Literal["pending", "email_sent", "expired", "claimed", "approved"]
    email: str | None = None
    api_key: ApiKey | None = None
    session_token: str | None = None
    existing_user: bool | None = None


class Approved(BaseModel):
    """The sign-in was confirmed."""

    status: Literal["approved"]
    email: str


class Session(BaseModel):
    """A session, to be sent as a Bearer token."""

    session_token: str
    email: str


class Schedule(BaseModel):
    """When a cue fires."""

    type: Literal["recurring", "once"]
    timezone: str
    cron: str | None = None
    at: datetime | None = None
    catchup: Literal["latest", "all", "none"]
    overlap: Literal["allow", "skip"]


class Callback(BaseModel):
    """Where a webhook goes, and how."""

    url: str | None
    method: Method
    headers: dict[str, str]


class Retry(BaseModel):
    """How often a try is repeated, and after which pauses."""

    max_attempts: Annotated[int, Field(ge=1, le=11)]
    backoff_minutes: list[Count]


class OnFailure(BaseModel):
    """What follows after the last failed try."""

    email: bool
    webhook: str | None
    pause: bool


class Verification(BaseModel):
    """How a success report is verified."""

    mode: Mode


class Delivery(BaseModel):
    """Deadlines of a cue's own, in seconds."""

    timeout_seconds: int | None = None
    outcome_deadline_seconds: int | None = None


class AlertRules(BaseModel):
    """When the user is told."""

    consecutive_failures: int | None = None
    missed_window_multiplier: int | None = None


class Cue(BaseModel):
    """A schedule and where to call."""

    id: CueId
    name: str
    description: str | None
    status: Literal["active", "paused", "completed", "failed"]
    transport: Transport
    schedule: Schedule
    callback: Callback
    payload: dict[str, Any]
    retry: Retry
    on_failure: OnFailure
    verification: Verification
    delivery: Delivery | None
    alerts: AlertRules | None
    next_run: datetime | None
    last_run: datetime | None
    run_count: Count
    fired_count: Count
    warning: str | None
    created_at: datetime
    updated_at: datetime


class Page(BaseModel):
    """What every list carries; `total` is exact up to 10,000."""

    total: Annotated[int, Field(ge=0, le=10_000)]
    total_capped: bool | None = None
    limit: Annotated[int, Field(ge=1, le=100)]
    offset: Annotated[int, Field(ge=0, le=10_000)]
    has_more: bool


class CueList(Page):
    """Cues, newest first."""

    cues: list[Cue]


class Outcome(BaseModel):
    """What the handler's owner reported."""

    success: bool
    result: str | None
    error: str | None
    metadata: dict[str, Any] | None
    recorded_at: datetime


class Evidence(BaseModel):
    """What proves the work."""

    external_id: str | None
    result_url: str | None
    result_ref: str | None
    result_type: str | None
    summary: str | None
    artifacts: list[Any] | None
    validation_state: Literal["valid", "missing", "rejected"] | None


class Execution(BaseModel):
    """One firing of a cue."""

    id: UUID
    execution_id: UUID
    cue_id: CueId
    cue_name: str
    scheduled_for: datetime
    status: Status
    triggered_by: TriggeredBy
    attempts: Count
    http_status: int | None
    response_body: str | None
    error_message: str | None
    started_at: datetime | None
    delivered_at: datetime | None
    last_attempt_at: datetime | None
    next_retry: datetime | None
    next_run: datetime | None
    claimed_by_worker: str | None
    claimed_at: datetime | None
    outcome: Outcome | None
    outcome_success: bool | None
    outcome_state: OutcomeState | None
    evidence: Evidence | None
    outcome_deadline_at: datetime | None
    missed_runs: Count
    created_at: datetime
    updated_at: datetime


class Attempt(BaseModel):
    """One line of the log of tries."""

    attempt: int
    started_at: datetime | None
    duration_ms: int | None
    http_status: int | None
    error: str | None
    outcome: str | None


class LoggedExecution(Execution):
    """An execution with its log of tries."""

    attempt_log: list[Attempt]


class ExecutionList(Page):
    """Executions, newest first; `next_cursor` goes on behind them."""

    executions: list[Execution]
    next_cursor: str | None


class CueWithHistory(Cue):
    """A cue with its newest executions."""

    executions: list[Execution]
    execution_total: Count
    execution_limit: Count
    execution_offset: Count


class Upcoming(BaseModel):
    """The next fire times."""

    upcoming: list[datetime]


class BulkDeleted(BaseModel):
    """Which cues are gone, and which were not there."""

    deleted: list[str]
    not_found: list[str]


class Fired(BaseModel):
    """A new execution, made by hand."""

    id: UUID
    cue_id: CueId
    scheduled_for: datetime
    status: Literal["pending", "failed"]
    triggered_by: TriggeredBy


class Replayed(Fired):
    """A new execution with the payload of an old one."""

    replayed_from: UUID


class Work(BaseModel):
    """What a worker can claim."""

    execution_id: UUID
    cue_id: CueId
    cue_name: str
    task: str | None
    scheduled_for: datetime
    payload: dict[str, Any]
    attempt: Count


class ClaimableList(BaseModel):
    """What a worker could claim, the oldest first."""

    executions: list[Work]


class Claimed(BaseModel):
    """A claim, held for so many seconds."""

    claimed: Literal[True]
    execution_id: UUID
    lease_seconds: Count


class LeaseExtended(BaseModel):
    """Until when the claim is held now."""

    execution_id: UUID
    lease_extended_until: datetime
    acknowledged: Literal[True]


class OutcomeRecorded(BaseModel):
    """What a report came to; `truncated` names what was longer than is kept."""

    execution_id: UUID
    outcome_recorded: Literal[True]
    outcome_state: OutcomeState
    will_retry: bool
    reason: str | None
    truncated: list[str] | None = None


class Verified(BaseModel):
    """A person's word on an outcome."""

    execution_id: UUID
    outcome_state: OutcomeState
    valid: bool
    reason: str | None


class VerificationPending(BaseModel):
    """A person will look at the outcome."""

    execution_id: UUID
    outcome_state: OutcomeState


class EvidenceUpdated(BaseModel):
    """What later evidence made of the outcome."""

    execution_id: UUID
    outcome_state: OutcomeState
    evidence_updated: Literal[True]


class ClaimedWork(Work):
    """What a heartbeat has claimed."""

    lease_seconds: Count


class HeartbeatTaken(BaseModel):
    """The worker is known to live; with `claim`, what it got."""

    acknowledged: Literal[True]
    server_time: datetime
    worker_id: str
    executions: list[ClaimedWork] | None = None


class Worker(BaseModel):
    """A pull worker."""

    worker_id: str
    last_heartbeat: datetime
    seconds_since_heartbeat: Count
    heartbeat_status: Literal["active", "stale", "dead"]
    handlers: list[str]
    registered_since: datetime


class WorkerList(BaseModel):
    """The workers of an account, the latest heard of first."""

    workers: list[Worker]


class Alert(BaseModel):
    """Something that went wrong."""

    id: UUID
    cue_id: CueId | None
    execution_id: UUID | None
    alert_type: AlertType
    severity: Literal["warning", "critical"]
    message: str
    metadata: dict[str, Any]
    acknowledged: bool
    created_at: datetime


class AlertList(Page):
    """Alerts, newest first."""

    alerts: list[Alert]
    next_cursor: str | None


class Period(BaseModel):
    """A calendar month (UTC)."""

    start: datetime
    end: datetime


class BillingPeriod(Period):
    """The running month, and how many whole days are left of it."""

    days_remaining: Count


class Used(BaseModel):
    """What was used of a limit."""

    used: Count
    limit: Count
    remaining: Count
    percent_used: float


class CuesUsed(Used):
    """Active and paused cues; `active` are those that fire."""

    active: Count


class ExecutionsUsed(Used):
    """Executions of the month, and where it leads."""

    percentage: float
    projected_month_end: Count
    will_exceed_limit: bool


class OutcomesCounted(BaseModel):
    """Reports of the month."""

    reported: Count
    succeeded: Count
    failed: Count


class RateLimit(BaseModel):
    """Requests of the last 60 seconds."""

    requests_per_minute: Count
    limit: Count
    current_usage: Count


class Usage(BaseModel):
    """What the month has seen."""

    plan: str
    billing_period: BillingPeriod
    period: Period
    cues: CuesUsed
    executions: ExecutionsUsed
    outcomes: OutcomesCounted
    rate_limit: RateLimit
    upgrade_url: None


class Stored(BaseModel):
    """The echo was kept."""

    stored: Literal[True]


class Echo(BaseModel):
    """What a token was sent last."""

    status: Literal["waiting", "delivered"]
    payload: Any = None
    headers: dict[str, str] | None = None
    received_at: datetime | None = None


class Services(BaseModel):
    """How everything is that the daemon needs or is made of."""

    postgres: str
    redis: str
    poller: str
    worker: str


class LastPoll(BaseModel):
    """The poller's last turn."""

    last_run: datetime | None
    seconds_ago: float | None
    cues_last_cycle: Count
    cycle_duration_ms: float


class WorkersCounted(BaseModel):
    """Live pull workers, of all accounts."""

    active_count: int | None


class Queue(BaseModel):
    """What waits, counted up to 10,000 each; null while PostgreSQL is away."""

    pending_outbox: int | None
    stale_executions: int | None
    pending_retries: int | None
    pending_worker_claims: int | None


class Sibling(BaseModel):
    """One part of the daemon."""

    state: str
    restarts: Count
    since: datetime


class Health(BaseModel):
    """Liveness with detail."""

    status: Literal["healthy", "degraded"]
    version: str
    timestamp: datetime
    services: Services
    poller: LastPoll
    workers: WorkersCounted
    queue: Queue
    siblings: dict[str, Sibling]


class Readiness(BaseModel):
    """Whether requests should come here."""

    status: Literal["healthy", "degraded", "down"]
    reason: str | None = None


class DeliverySent(BaseModel):
    """What a webhook handler is sent, but for GET."""

    execution_id: UUID
    cue_id: CueId
    name: str
    scheduled_for: datetime
    attempt: Annotated[int, Field(ge=1)]
    payload: dict[str, Any]


class AlertSent(BaseModel):
    """What an alert webhook is sent."""

    alert_id: UUID
    alert_type: AlertType
    severity: Literal["warning", "critical"]
    message: str
    execution_id: UUID | None
    cue_id: CueId | None
    created_at: datetime
    metadata: dict[str, Any]


class FailureSent(BaseModel):
    """What `on_failure.webhook` is sent."""

    event: Literal["cue.failed"]
    cue_id: CueId
    cue_name: str
    execution_id: UUID | None
    attempts: Count
    last_http_status: int | None
    last_error: str | None
    failed_at: datetime
