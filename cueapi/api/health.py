"""Health: liveness with detail, readiness."""

from collections.abc import Callable, Mapping
from datetime import datetime
from importlib.metadata import version
from typing import Any

import trio
from attrs import define, field, frozen
from quart import Blueprint, Response

from cueapi.api.http.operations import operation
from cueapi.api.http.rate_limits import Windows
from cueapi.api.models.rendering import answer
from cueapi.api.models.responses import health as responses
from cueapi.domain.breaker import TargetState
from cueapi.metrics import Gauge, Values
from cueapi.storage import health
from cueapi.storage.clock import Clock
from cueapi.storage.database import Database, StorageUnavailable
from cueapi.storage.health import QueueCounts
from supervisor.health import Entry, HealthBoard, State

VERSION = version("cueapi-daemon")

COUNTS_SERVE = 5.0
"""Seconds for which counts are reused."""

PATIENCE = 3.0
"""Seconds that the database has to answer."""

LATE_START = 5.0
"""Seconds, beyond a poll interval, after which a due delivery that no daemon has claimed is late."""

REDIS = {None: "none", True: "ok", False: "down"}

UP = {State.STARTING, State.RUNNING, State.DRAINING, State.STOPPED}


@frozen
class Polls:
    """The poller's last run: when, how many cues, how long (seconds)."""

    at: datetime | None
    cues: int
    duration: float


@define(eq=False)
class Health:
    """`/health` and `/status`."""

    database: Database
    board: HealthBoard
    stopping: trio.Event
    clock: Clock
    polls: Callable[[], Polls]
    interval: float
    windows: Windows
    _counts: QueueCounts | None = field(init=False, default=None)
    _counted: float = field(init=False, default=-COUNTS_SERVE)

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("health", __name__)
        routes.get("/health")(self.health)
        routes.get("/status")(self.status)
        return routes

    @operation(responses.Health)
    async def health(self) -> Response:
        """
        Show liveness with detail.

        The answer is 200 as long as the process runs.
        """
        # The counts may be of some seconds ago; whether PostgreSQL answers is told of this moment.
        counts = await self._count() if await self._reachable() else None
        shared = await self.windows.is_shared()
        board = self.board.snapshot()
        polls = self.polls()
        ago = None if polls.at is None else (self.clock.now() - polls.at).total_seconds()
        late = ago is not None and ago > 2 * self.interval
        punctual = counts is not None and counts.oldest_delivery <= self.interval + LATE_START
        well = punctual and shared is not False and not late and _all_up(board) and not self.stopping.is_set()
        return answer(
            {
                "status": "healthy" if well else "degraded",
                "version": VERSION,
                "timestamp": self.clock.now(),
                "services": {
                    "postgres": "ok" if counts else "down",
                    "redis": REDIS[shared],
                    "poller": "late" if late else str(board["poller"].state),
                    "worker": "ok" if counts and counts.active_workers else "none",
                },
                "poller": {
                    "last_run": polls.at,
                    "seconds_ago": None if ago is None else round(max(ago, 0.0), 3),
                    "cues_last_cycle": polls.cues,
                    "cycle_duration_ms": round(polls.duration * 1000, 1),
                },
                "workers": {"active_count": counts.active_workers if counts else None},
                "queue": _queue(counts),
                "siblings": {
                    name: {"state": entry.state, "restarts": entry.restarts, "since": entry.since}
                    for name, entry in board.items()
                },
            }
        )

    @operation(responses.Readiness, also=((503, responses.Readiness),))
    async def status(self) -> Response:
        """
        Report readiness.

        `down`, with 503, means: send requests to another daemon.
        """
        if self.stopping.is_set():
            return answer({"status": "down", "reason": "the daemon is draining"}, 503)
        if not await self._reachable():
            return answer({"status": "down", "reason": "PostgreSQL cannot be reached"}, 503)
        ill = sorted(name for name, entry in self.board.snapshot().items() if entry.state not in UP)
        if ill:
            return answer({"status": "degraded", "reason": f"not running: {', '.join(ill)}"})
        return answer({"status": "healthy"})

    async def refresh(self) -> None:
        """Count anew what the gauges show, at most every few seconds."""
        await self._count()

    def gauges(self) -> list[Gauge]:
        """What `/metrics` shows of it; of the queues nothing while PostgreSQL is away."""
        return [
            Gauge("cueapi_build_info", "1, with the version.", ("version",), lambda: [((VERSION,), 1)]),
            Gauge("cueapi_last_poll_timestamp_seconds", "When the poller last ran.", (), self._last_poll),
            Gauge("cueapi_backlog", "What is due and waits, counted up to 10,000.", ("kind",),
                    lambda: self._counted_of({"deliveries": "ready_deliveries", "work": "pending_worker_claims"})),
            Gauge("cueapi_backlog_oldest_seconds", "For how long the oldest of it has been due.", ("kind",),
                    lambda: self._counted_of({"deliveries": "oldest_delivery", "work": "oldest_work"})),
            Gauge("cueapi_targets", "Targets that have opened in the last 30 days, by state.", ("state",),
                    lambda: self._counted_of({state: f"{state}_targets" for state in TargetState})),
            Gauge("cueapi_deliveries_waiting_for_target", "What waits for a target that is down, up to 10,000.", (),
                    lambda: [((), value) for _, value in self._counted_of({"": "waiting_for_target"})]),
            Gauge("cueapi_workers_alive", "Pull workers with a heartbeat in the last 180 s.", (),
                    lambda: [((), value) for _, value in self._counted_of({"": "active_workers"})]),
            Gauge("cueapi_incidents_open", "Incidents that are not over, counted up to 10,000.", (),
                    lambda: [((), value) for _, value in self._counted_of({"": "open_incidents"})]),
        ]  # fmt: skip

    def _last_poll(self) -> Values:
        at = self.polls().at
        return [] if at is None else [((), at.timestamp())]

    def _counted_of(self, columns: Mapping[str, str]) -> Values:
        counts = self._counts
        return [] if counts is None else [((label,), counts[column]) for label, column in columns.items()]

    async def _reachable(self) -> bool:
        with trio.move_on_after(PATIENCE):
            try:
                await health.ping(self.database)
            except StorageUnavailable:
                return False
            return True
        return False

    async def _count(self) -> QueueCounts | None:
        """The counts, at most every few seconds; None while PostgreSQL is away."""
        if trio.current_time() - self._counted < COUNTS_SERVE:
            return self._counts
        counts = None
        with trio.move_on_after(PATIENCE):
            try:
                counts = await health.counts(self.database)
            except StorageUnavailable:
                counts = None
        self._counts, self._counted = counts, trio.current_time() if counts else -COUNTS_SERVE
        return counts


def _all_up(board: Mapping[str, Entry]) -> bool:
    return all(entry.state in UP for entry in board.values())


def _queue(counts: QueueCounts | None) -> dict[str, Any]:
    names = ("pending_outbox", "stale_executions", "pending_retries", "pending_worker_claims")
    queue = {name: getattr(counts, name) if counts else None for name in names}
    return queue | {"oldest_due_seconds": round(counts.oldest_delivery, 1) if counts else None}
