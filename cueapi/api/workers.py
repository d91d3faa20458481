"""Workers: heartbeat, list, forget."""

from collections.abc import Hashable, Sequence
from datetime import timedelta
from functools import partial
from math import inf
from uuid import UUID

import trio
from attrs import frozen
from quart import Blueprint, Response, g

from cueapi.api.claimants import CLAIMANT, worker_named
from cueapi.api.claimed_states import ClaimedStates
from cueapi.api.http.body import read
from cueapi.api.http.cursors import CURSOR, Cursor
from cueapi.api.http.incoming import incoming
from cueapi.api.http.operations import operation, shows_secret
from cueapi.api.http.parameters import page_limit
from cueapi.api.models.rendering import Shown, answer, long_answer, size_of
from cueapi.api.models.requests.executions import HeartbeatBody
from cueapi.api.models.responses import workers as responses
from cueapi.api.models.responses.executions import Work
from cueapi.domain.attempt import ReportUrl
from cueapi.domain.errors import Refusal
from cueapi.domain.execution import Fence, Status, attempt_failed, released
from cueapi.domain.ids import parse_uuid
from cueapi.metrics import Metrics
from cueapi.storage import daemons, key_groups, worker_claims, workers
from cueapi.storage.database import STATEMENT_PATIENCE, Database
from cueapi.storage.transitions import apply_transitions, has_alerts
from cueapi.storage.worker_claims import ClaimRequest, LeaseTerms
from cueapi.storage.worker_claims import Work as FoundWork
from cueapi.wakeups.hub import WakeupHub
from cueapi.wakeups.long_poll import ANYTHING, Found, Recheck

LIMIT = page_limit(100)


@frozen
class Workers:
    """`/v1/worker` and `/v1/workers`."""

    database: Database
    terms: LeaseTerms
    hub: WakeupHub
    metrics: Metrics
    claimed: ClaimedStates
    recheck: Recheck
    report_url: ReportUrl

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("workers", __name__, url_prefix="/v1")
        routes.post("/worker/heartbeat")(self.heartbeat)
        routes.get("/workers")(self.list)
        routes.delete("/workers/<path:worker_id>")(self.forget)
        return routes

    @shows_secret
    @operation(
        responses.HeartbeatTaken,
        scope="work",
        in_groups=True,
        body=HeartbeatBody,
        parameters=(CLAIMANT,),
        refuses=("worker_limit_exceeded",),
    )
    async def heartbeat(self) -> Response:
        """
        Send a worker's heartbeat, and claim work with it.

        Without `claim` nothing is claimed. With it, the answer has up to so many `executions`; `wait_seconds` holds
        the call until there is one. What `running` does not name was dropped by the worker, and is a failed attempt.
        An account has 1,000 workers at most; those that were silent for a day make room for new ones.
        """
        body = await read(HeartbeatBody)
        user, worker = g.account.id, worker_named(body.worker_id)
        now = await workers.heartbeat(self.database, user=user, worker=worker, handlers=body.handlers)
        if now is None:
            told = f"An account has {workers.MOST_WORKERS:,} workers at most; forget one first."
            raise Refusal("worker_limit_exceeded", told)
        if body.running is not None:
            await self._take_back(user, worker, [one for one in map(parse_uuid, body.running) if one is not None])
        answered = {"acknowledged": True, "server_time": now, "worker_id": worker}
        if body.claim is None:
            return answer(answered)
        incoming().drop()  # The call may wait for long.
        begun = trio.current_time()
        rows = await self._work(
            ClaimRequest(user, worker, body.claim, body.handlers, groups=g.account.grant.groups), body.wait_seconds or 0
        )
        answered["server_time"] = now + timedelta(seconds=trio.current_time() - begun)
        return await long_answer(
            lambda: {**answered, "executions": [self._shown(row) for row in rows]}, size_of(rows, "payload")
        )

    def _shown(self, row: FoundWork) -> Shown:
        url = self.report_url(row.id, row.attempts)
        return {**Work.render(row), "lease_seconds": int(self.terms.lease), "report_url": url}

    async def _work(self, wanted: ClaimRequest, patience: float) -> Sequence[FoundWork]:
        if not wanted.most or self.hub.long_poll.is_closed:
            return []
        if wanted.handlers or wanted.groups is not None:
            kind: Hashable = ("claim", tuple(sorted(wanted.handlers or ())), wanted.groups)
        else:
            kind = ANYTHING
        claim = partial(self._claim, wanted)
        return await self.hub.long_poll.find(wanted.user, kind, claim, patience=patience, recheck=self.recheck)

    async def _claim(self, wanted: ClaimRequest) -> Found:
        """Claim as a whole or not at all: what was claimed for a client that hung up meanwhile is released."""
        with trio.CancelScope(deadline=trio.current_time() + STATEMENT_PATIENCE, shield=True):
            rows = await worker_claims.claim_work(self.database, wanted, self.terms)
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except trio.Cancelled:
            with trio.CancelScope(deadline=trio.current_time() + STATEMENT_PATIENCE, shield=True):
                fences = [Fence(row.id, row.claim, row.attempts, Status.DELIVERING) for row in rows]
                await apply_transitions(self.database, [released(fence) for fence in fences])
            self.hub.work_ready(wanted.user)
            raise
        self.claimed.keep(wanted.user, wanted.worker, rows)
        return Found(rows, others=inf if len(rows) == wanted.most else 0)

    async def _take_back(self, user: int, worker: str, running: list[UUID]) -> None:
        """What the worker holds and does not run is a failed attempt."""
        lost = await daemons.dropped(self.database, user=user, worker=worker, running=running)
        if lost and (groups := g.account.grant.groups) is not None:
            held = [one.state.fence.execution_id for one in lost]
            known = await key_groups.executions_of(self.database, user=user, groups=groups, ids=held)
            lost = [one for one in lost if one.state.fence.execution_id in known]
        message = f"Worker {worker} does not run it any more."
        steps = [attempt_failed(one.state.fence, one.state.retry, error=message) for one in lost]
        if not steps:
            return
        written = await apply_transitions(self.database, steps)
        for step in steps:
            if step.fence.execution_id in written:
                self.metrics.settled(step)
        if has_alerts(written):
            self.hub.notice_ready(written.alerts)
        if any(step.pause == 0 for step in steps):
            self.hub.work_ready(user)

    @operation(responses.WorkerList, scope="read", parameters=(LIMIT, CURSOR), refuses=("invalid_filter",))
    async def list(self) -> Response:
        """
        List the workers of the account, the one heard of last first.

        One that is heard of while you page stands on the first page again. They name what they work on, of any group:
        a key that is limited to groups is refused.
        """
        cursor = Cursor.over()
        page = await workers.page(self.database, g.account.id, behind=cursor.read_named(), limit=LIMIT.read())
        last = page.rows[-1] if page.more else None
        rest = {"has_more": page.more, "next_cursor": last and cursor.write(last.last_heartbeat, last.worker_id)}
        return await long_answer(
            lambda: {"workers": [responses.Worker.render(row) for row in page.rows], **rest},
            # Most names are short, and no name is long.
            16 * size_of(page.rows, "handlers"),
        )

    @operation(None, scope="write", status=204, refuses=("worker_not_found",))
    async def forget(self, worker_id: str) -> Response:
        """Forget a worker."""
        # PostgreSQL cannot hold U+0000, so no worker has such a name.
        if "\x00" in worker_id or not await workers.forget(self.database, user=g.account.id, worker=worker_id):
            raise Refusal("worker_not_found", "There is no such worker.")
        return Response(b"", 204)
