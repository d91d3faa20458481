"""What the account has used this month."""

from datetime import datetime

from pydantic import BaseModel, Field

from cueapi.api.models.values import Count


class Period(BaseModel):
    """A calendar month (UTC)."""

    start: datetime = Field(description="Its first moment.")
    end: datetime = Field(description="The first moment after it.")


class BillingPeriod(Period):
    """The current month."""

    days_remaining: Count = Field(description="Whole days that are left of it.")


class Used(BaseModel):
    """What was used of a limit."""

    used: Count = Field(description="What was used.")
    limit: Count = Field(description="What the plan allows.")
    remaining: Count = Field(description="What is left.")
    percent_used: float = Field(description="Per cent that were used.")


class CuesUsed(Used):
    """Active and paused cues."""

    active: Count = Field(description="Cues that are active.")


class ExecutionsUsed(Used):
    """Executions of the month."""

    percentage: float = Field(description="The same as `percent_used`.")
    projected_month_end: Count = Field(description="Executions at the end of the month, at the pace so far.")
    will_exceed_limit: bool = Field(description="Whether that is more than the plan allows.")


class OutcomesCounted(BaseModel):
    """Outcomes reported this month."""

    reported: Count = Field(description="All outcomes.")
    succeeded: Count = Field(description="Those that reported success.")
    failed: Count = Field(description="Those that reported failure.")


class RateLimit(BaseModel):
    """Requests of the last 60 seconds."""

    requests_per_minute: Count = Field(description="Requests in 60 seconds that the plan allows.")
    limit: Count = Field(description="The same as `requests_per_minute`.")
    current_usage: Count = Field(description="Requests in the last 60 seconds.")


class Usage(BaseModel):
    """What the account has used this month (UTC)."""

    plan: str = Field(description="Name of the account's plan.")
    billing_period: BillingPeriod = Field(description="The current month.")
    period: Period = Field(description="The same month.")
    cues: CuesUsed = Field(description="Active and paused cues.")
    executions: ExecutionsUsed = Field(description="Executions of the month.")
    outcomes: OutcomesCounted = Field(description="Outcomes reported this month.")
    rate_limit: RateLimit = Field(description="Requests of the last 60 seconds.")
    upgrade_url: None = Field(description="Always null: a server of your own has nothing to sell.")
