"""Executions: list, show, claim, extend, replay."""

from functools import partial
from uuid import UUID

from attrs import asdict, evolve, frozen
from quart import Blueprint, Response, g

from cueapi.api.by_hand import BRAKED, FORCE, fire_by_hand, forced
from cueapi.api.claimants import CLAIMANT, worker_named
from cueapi.api.claimed_states import ClaimedStates
from cueapi.api.execution_filters import CUE_ID, CUE_NAME, EXECUTION_FILTERS, GROUP, LIMIT, filter_of
from cueapi.api.http.body import read
from cueapi.api.http.cursors import Cursor
from cueapi.api.http.idempotency import idempotent
from cueapi.api.http.identities import identity_in
from cueapi.api.http.operations import operation, shows_secret
from cueapi.api.http.parameters import (
    COUNTED,
    IDEMPOTENCY_KEY,
    IDEMPOTENT,
    OFFSET,
    WORKER_ID,
    Seconds,
    Text,
)
from cueapi.api.models.rendering import answer, long_answer, page_of, size_of
from cueapi.api.models.requests.executions import ClaimBody
from cueapi.api.models.responses import executions as responses
from cueapi.domain.attempt import ReportUrl
from cueapi.domain.clock import iso
from cueapi.domain.errors import Refusal
from cueapi.domain.execution import FINAL, Status
from cueapi.domain.ids import new_uuid7
from cueapi.security.vault import Vault
from cueapi.storage import execution_pages, executions, fires, worker_claims
from cueapi.storage.database import Database, Executor
from cueapi.storage.execution_pages import Filter
from cueapi.storage.executions import ExecutionRow
from cueapi.storage.fires import FiredExecution, ManualFire
from cueapi.storage.worker_claims import ClaimRequest, LeaseTerms
from cueapi.wakeups.hub import WakeupHub
from cueapi.wakeups.long_poll import ANYTHING, Found, Recheck

TASK = Text("task", "Only executions whose `payload.task` is this.", names_one=True)
AGENT = Text(
    "agent", "Only executions whose `payload.agent` is this, a text of at most 255 characters.", names_one=True
)
WAIT_SECONDS = Seconds("wait_seconds", "Seconds to wait for something claimable, 0 to 30.", 30)

MOST_CLAIMABLE = 50


@frozen
class Executions:
    """`/v1/executions`, but for outcomes."""

    database: Database
    vault: Vault
    terms: LeaseTerms
    hub: WakeupHub
    claimed: ClaimedStates
    recheck: Recheck
    report_url: ReportUrl

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("executions", __name__, url_prefix="/v1/executions")
        routes.get("")(self.list)
        routes.get("/claimable")(self.claimable)
        routes.post("/claim")(self.claim)
        routes.get("/<execution_id>")(self.show)
        routes.post("/<execution_id>/claim")(self.claim_one)
        routes.post("/<execution_id>/heartbeat")(self.heartbeat)
        routes.post("/<execution_id>/replay")(self.replay)
        return routes

    @operation(
        responses.ExecutionList,
        parameters=(CUE_ID, CUE_NAME, GROUP, *EXECUTION_FILTERS),
        refuses=("invalid_filter",),
        scope="read",
        in_groups=True,
    )
    async def list(self) -> Response:
        """List executions, newest first."""
        wanted = filter_of(CUE_ID.read())
        return await self.listed(evolve(wanted, cue_name=CUE_NAME.read(), group=GROUP.read()))

    async def listed(self, wanted: Filter) -> Response:
        """One page of executions; by offset, or behind a cursor."""
        cursor = Cursor.over(**asdict(wanted))
        before = cursor.read()
        limit, offset = LIMIT.read(), 0 if before else OFFSET.read()
        page = await execution_pages.page(
            self.database, evolve(wanted, before=before), limit=limit, offset=offset,
            counted=COUNTED.read() is not False,
        )  # fmt: skip
        last = page.rows[-1] if page.rows and page.more else None
        rest = page_of(page, limit=limit, offset=offset)
        rest["next_cursor"] = last and cursor.write(last.created_at, last.id)
        return await long_answer(
            lambda: {"executions": [responses.Execution.render(row) for row in page.rows], **rest},
            size_of(page.rows, "outcome_metadata", "artifacts"),
        )

    @operation(responses.LoggedExecution, scope="read", refuses=("execution_not_found",))
    async def show(self, execution_id: str) -> Response:
        """Show an execution with its payload and its log of attempts."""
        identity = identity_of(execution_id)
        row = await executions.detail(self.database, execution=identity, user=g.account.id)
        if row is None:
            raise not_found()
        log = await executions.attempts(self.database, identity)
        shown = responses.DetailedExecution.render(row)
        return answer({**shown, "attempt_log": [responses.Attempt.render(one) for one in log]})

    @shows_secret
    @operation(responses.ClaimableList, scope="work", in_groups=True, parameters=(TASK, AGENT, WAIT_SECONDS))
    async def claimable(self) -> Response:
        """
        List the executions that a worker could claim, the oldest first.

        With `wait_seconds` the call waits until there is something, and otherwise answers with an empty list.
        """
        patience, task, agent = WAIT_SECONDS.read(), TASK.read(), AGENT.read()
        groups = g.account.grant.groups
        kind = ANYTHING if task is agent is groups is None else ("list", task, agent, groups)
        query = partial(self._claimable, g.account.id, task, agent, groups)
        rows = await self.hub.long_poll.find(g.account.id, kind, query, patience=patience, recheck=self.recheck)
        return await long_answer(
            lambda: {
                "executions": [
                    {**responses.Work.render(row), "report_url": self.report_url(row.id, row.attempts + 1)}
                    for row in rows
                ]
            },
            size_of(rows, "payload"),
        )

    async def _claimable(self, user: int, task: str | None, agent: str | None, groups: tuple[str, ...] | None) -> Found:
        rows = await worker_claims.claimable(
            self.database, user=user, task=task, agent=agent, groups=groups, most=MOST_CLAIMABLE
        )
        # Each caller that is shown the list will claim one of them.
        return Found(rows, others=len(rows) - 1)

    @shows_secret
    @operation(
        responses.Claimed,
        scope="work",
        in_groups=True,
        body=ClaimBody,
        parameters=(CLAIMANT,),
        refuses=("claim_failed",),
    )
    async def claim(self) -> Response:
        """
        Claim the oldest execution of the handlers that the worker's last heartbeat has named; all, where it named none.

        With `task` those of that task.
        """
        body = await read(ClaimBody)
        self._refuse_while_draining()
        worker, groups = worker_named(body.worker_id), g.account.grant.groups
        wanted = ClaimRequest(g.account.id, worker, 1, task=body.task, groups=groups)
        if not (rows := await worker_claims.claim_work(self.database, wanted, self.terms)):
            raise Refusal("claim_failed", "There is nothing to claim.")
        self.claimed.keep(wanted.user, wanted.worker, rows)
        return self._claimed(rows[0].id, rows[0].attempts)

    @shows_secret
    @operation(
        responses.Claimed, scope="work", body=ClaimBody, parameters=(CLAIMANT,),
        refuses=("claim_failed", "execution_not_found"),
    )  # fmt: skip
    async def claim_one(self, execution_id: str) -> Response:
        """
        Claim an execution.

        Of any number of callers at once exactly one succeeds.
        """
        body = await read(ClaimBody)
        self._refuse_while_draining()
        identity = identity_of(execution_id)
        worker = worker_named(body.worker_id)
        attempt = await worker_claims.claim_one(
            self.database, user=g.account.id, execution=identity, worker=worker, terms=self.terms
        )
        if attempt is not None:
            return self._claimed(identity, attempt)
        row = await find(self.database, execution_id)
        raise Refusal("claim_failed", f"This execution cannot be claimed: {_why_unclaimable(row)}.")

    def _refuse_while_draining(self) -> None:
        if self.hub.long_poll.is_closed:
            raise Refusal("claim_failed", "This daemon is being stopped, and hands out nothing more.")

    def _claimed(self, identity: UUID, attempt: int) -> Response:
        lease, url = int(self.terms.lease), self.report_url(identity, attempt)
        return answer({"claimed": True, "execution_id": identity, "lease_seconds": lease, "report_url": url})

    @shows_secret
    @operation(
        responses.LeaseExtended,
        parameters=(WORKER_ID,),
        refuses=("execution_not_claiming", "not_execution_owner", "execution_not_found"),
        scope="work",
    )
    async def heartbeat(self, execution_id: str) -> Response:
        """Extend the lease of a claimed execution."""
        identity, worker = identity_of(execution_id), WORKER_ID.read()
        held = await worker_claims.extend_lease(
            self.database, user=g.account.id, execution=identity, worker=worker, lease=self.terms.lease
        )
        if held is not None:
            url = self.report_url(identity, held.attempts)
            extended = {"execution_id": identity, "lease_extended_until": held.lease_until, "acknowledged": True}
            return answer({**extended, "report_url": url})
        row = await find(self.database, execution_id)
        if row.status == Status.DELIVERING and row.transport == "worker":
            raise Refusal("not_execution_owner", f"This execution is claimed by {row['claimed_by_worker']}.")
        raise Refusal("execution_not_claiming", f"No worker holds a claim on this execution: it is {row['status']}.")

    @operation(
        responses.Replayed,
        parameters=(FORCE, IDEMPOTENCY_KEY),
        refuses=("execution_in_flight", "execution_not_found", *BRAKED, *IDEMPOTENT),
        scope="fire",
    )
    async def replay(self, execution_id: str) -> Response:
        """
        Replay an execution that has ended.

        A new execution with the same payload is due at once; the earlier one stays as it is.
        """
        force = forced()  # Before a repeat is answered, too.
        async with idempotent(self.database, self.vault) as once:
            identity = identity_of(execution_id)
            made = await self._replay(await once.begin(), identity, force=force)
            shown = {name: made[name] for name in ("id", "cue_id", "scheduled_for", "status")}
            shown |= {"triggered_by": "replay", "replayed_from": identity}
            return once.keep(answer(shown), then=partial(wake_after_fire, self.hub, made))

    async def _replay(self, db: Executor, identity: UUID, *, force: bool) -> FiredExecution:
        old = await fires.replayable(db, execution=identity, user=g.account.id)
        if old is None:
            raise not_found()
        if old.status not in FINAL:
            raise Refusal("execution_in_flight", f"Only what has ended can be replayed; this one is {old['status']}.")
        manual_fire = ManualFire(new_uuid7(), old.payload, old.task, None, identity, forced=force)
        made = await fire_by_hand(db, old.cue_id, manual_fire)
        if made is None:
            raise not_found()
        return made


async def find(database: Database, execution_id: str) -> ExecutionRow:
    """The row of an execution of this account; refuses every other id."""
    row = await executions.show(database, execution=identity_of(execution_id), user=g.account.id)
    if row is None:
        raise not_found()
    return row


def _why_unclaimable(row: ExecutionRow) -> str:
    if row.transport == "webhook":
        return "it is delivered by webhook"
    if row.status in {"pending", "retrying"}:
        return f"it is {row.status}, due at {iso(row.next_retry or row.scheduled_for)}"
    return f"it is {row.status}"


def identity_of(text: str) -> UUID:
    """The id in a path; refuses what is not well-formed."""
    return identity_in(text, not_found())


def not_found() -> Refusal:
    """The same for an execution of another account and for an id that is not well-formed."""
    return Refusal("execution_not_found", "There is no such execution.")


def wake_handlers(hub: WakeupHub, transport: str) -> None:
    """Wake what takes an execution of this account that is due now."""
    if transport == "worker":
        hub.work_ready(g.account.id)
    else:
        hub.delivery_ready()


def wake_after_fire(hub: WakeupHub, made: FiredExecution) -> None:
    """Wake what takes an execution that this account has asked for, and what tells of it."""
    if made.alerts:
        hub.notice_ready(made.alerts)
    if made.due_in > 0:
        hub.cue_written(made.scheduled_for)
    else:
        wake_handlers(hub, made.transport)
