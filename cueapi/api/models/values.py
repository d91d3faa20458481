"""Values that fields of requests and answers share: ids, counts, and the words of the contract."""

from typing import Annotated, Literal

from pydantic import Field

CueId = Annotated[str, Field(pattern="^cue_[a-z0-9]{12}$")]
ApiKey = Annotated[str, Field(pattern="^cue_sk_[0-9a-f]{32}$")]
WebhookSecret = Annotated[str, Field(pattern="^whsec_[0-9a-f]{64}$")]
AlertSecret = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
GROUP = "^[a-z0-9][a-z0-9._-]{0,62}$"
TOPIC = "^[-_A-Za-z0-9]{1,64}$"
NOT_BLANK = r"\S"
STATUS_OR_NONE = "^([1-9][0-9]{2}|none)$"
PATTERNS = {
    GROUP: "takes lower-case letters, digits, dots, dashes and underscores, up to 63, a letter or a digit first",
    TOPIC: "takes letters, digits, dashes and underscores, up to 64",
    NOT_BLANK: "must not be blank",
    STATUS_OR_NONE: "takes a status such as 503, or none",
}
"""What forms of texts ask for, in words."""

Count = Annotated[int, Field(ge=0)]

Scope = Literal["read", "fire", "work", "write", "admin"]
Method = Literal["POST", "GET", "PUT", "PATCH"]
Transport = Literal["webhook", "worker"]
Mode = Literal["none", "require_external_id", "require_result_url", "require_artifacts", "manual"]
OnFailed = Literal["keep", "fail"]
Catchup = Literal["latest", "all", "none"]
CatchUp = Literal["run_once_if_missed", "skip_missed", "replay_all"]
Overlap = Literal["allow", "skip"]
BudgetPer = Literal["hour", "day", "week", "month"]
OnLimit = Literal["skip", "pause"]
BudgetState = Literal["ok", "warned", "reached"]
HoldMode = Literal["fires", "everything"]
CueStatus = Literal["active", "paused", "completed", "failed"]
TriggeredBy = Literal["scheduled", "manual_fire", "replay", "backfill"]
Status = Literal["pending", "delivering", "retrying", "retry_ready", "success", "failed", "missed", "outcome_timeout"]
OutcomeState = Literal[
    "reported_success", "reported_failure", "verified_success", "verification_failed", "verification_pending"
]
AlertType = Literal[
    "consecutive_failures",
    "verification_failed",
    "outcome_timeout",
    "execution_failed",
    "missed_run",
    "worker_offline",
    "budget_warning",
    "budget_reached",
]
TargetState = Literal["closed", "open", "half_open"]
Severity = Literal["warning", "critical"]
IncidentKind = Literal[
    "failing", "late", "unverified", "worker_offline", "target_down", "set_aside", "budget", "channel_failing"
]
ChannelKind = Literal["webhook", "slack", "discord", "ntfy", "email"]
NoticeEvent = Literal["opened", "resolved", "reminder", "digest"]
IncidentStatus = Literal["open", "snoozed", "resolved"]
