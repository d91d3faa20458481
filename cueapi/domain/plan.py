"""What an account may use: the plan's numbers, or its own."""

from attrs import frozen


@frozen
class Limits:
    """Cues active and paused, executions a calendar month (UTC), requests in 60 seconds."""

    active_cues: int
    monthly_executions: int
    requests_per_minute: int

    def overridden(self, active: int | None, monthly: int | None, rate: int | None) -> "Limits":
        """The same where an argument is None, that number where it is not."""
        return Limits(
            self.active_cues if active is None else active,
            self.monthly_executions if monthly is None else monthly,
            self.requests_per_minute if rate is None else rate,
        )


# Bounds against accidents, not a business: self_hosted is what operators give themselves.
PLANS = {
    "self_hosted": Limits(1_000_000, 1_000_000_000, 6_000),
    "free": Limits(10, 300, 60),
}

USAGE_WARNING_SHARE = 0.8
"""Above this share of the month's executions every authenticated answer carries a warning."""
