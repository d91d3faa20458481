"""Usage: what was used this month, and what that comes to at its end."""

from typing import Any

from attrs import frozen
from quart import Blueprint, Response, g

from cueapi.api.http.operations import operation
from cueapi.api.models.rendering import answer
from cueapi.api.models.responses import usage as responses
from cueapi.storage import usage
from cueapi.storage.database import Database


@frozen
class Usage:
    """`/v1/usage`."""

    database: Database

    def routes(self) -> Blueprint:
        """Its path."""
        routes = Blueprint("usage", __name__, url_prefix="/v1/usage")
        routes.get("")(self.show)
        return routes

    @operation(responses.Usage, scope="read")
    async def show(self) -> Response:
        """Show what was used this month (UTC)."""
        row = await usage.this_month(self.database, g.account.id)
        assert row is not None
        limits = g.account.limits
        period = {"start": row.starts, "end": row.ends}
        days = (row.ends - row.now).total_seconds() / 86_400
        return answer(
            {
                "plan": row.plan,
                "billing_period": {**period, "days_remaining": int(days)},
                "period": period,
                "cues": {
                    "used": row.live_cues,
                    "active": row.active,
                    **_against(row.live_cues, limits.active_cues),
                },
                "executions": _executions(row, limits.monthly_executions),
                "outcomes": {"reported": row.reported, "succeeded": row.succeeded, "failed": row.failed},
                "rate_limit": {
                    "requests_per_minute": limits.requests_per_minute,
                    # The same under the name that the published command line reads.
                    "limit": limits.requests_per_minute,
                    "current_usage": g.rate_limit.used,
                },
                "upgrade_url": None,
            }
        )


def _against(used: int, limit: int) -> dict[str, Any]:
    share = round(100 * used / limit, 2) if limit else 100.0
    return {"limit": limit, "remaining": max(limit - used, 0), "percent_used": share}


def _executions(row: usage.UsageRow, limit: int) -> dict[str, Any]:
    used = row.executions
    gone = (row.now - row.starts) / (row.ends - row.starts)
    projected = round(used / gone) if gone > 0 else used
    against = _against(used, limit)
    return {
        "used": used,
        **against,
        "percentage": against["percent_used"],
        "projected_month_end": projected,
        "will_exceed_limit": projected > limit,
    }
