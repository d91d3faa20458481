"""Metrics, for whom the operator shows them to."""

import hmac
from collections.abc import Awaitable, Callable

import trio
from attrs import field, frozen
from quart import Blueprint, Response, request

from cueapi.api.http.auth import bearer
from cueapi.api.http.operations import TEXT, operation
from cueapi.domain.errors import NotSignedIn, Refusal
from cueapi.metrics import Metrics


@frozen
class MetricsRoute:
    """`/metrics`. Without a *token* it is *closed*, or open to anyone. *refresh* is awaited before gauges are read."""

    metrics: Metrics
    refresh: Callable[[], Awaitable[None]]
    token: str | None
    closed: bool = field(kw_only=True)
    one: trio.CapacityLimiter = field(init=False, factory=lambda: trio.CapacityLimiter(1))
    """A text is made beside the event loop, one at a time: of thousands of series that takes long."""

    def routes(self) -> Blueprint:
        """Its path."""
        routes = Blueprint("metrics", __name__)
        routes.get("/metrics")(self.show)
        return routes

    @operation(TEXT, refuses=("metrics_closed", "invalid_metrics_token"))
    async def show(self) -> Response:
        """
        Show metrics for Prometheus.

        Where the operator has set `METRICS_TOKEN`, send it as `Authorization: Bearer …`.
        """
        self._admit(request.headers.get("Authorization"))
        await self.refresh()
        text = await trio.to_thread.run_sync(self.metrics.text(), limiter=self.one)
        return Response(text, 200, content_type="text/plain; version=0.0.4; charset=utf-8")

    def _admit(self, authorization: str | None) -> None:
        if self.token is None:
            if self.closed:
                raise Refusal("metrics_closed", "Metrics are closed in production until METRICS_TOKEN is set.")
            return
        try:
            given = bearer(authorization).encode()
        except NotSignedIn:
            given = b""
        if not hmac.compare_digest(given, self.token.encode()):
            raise Refusal("invalid_metrics_token", "Send the header Authorization: Bearer METRICS_TOKEN.")
