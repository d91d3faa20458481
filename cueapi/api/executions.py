"""Executions: list, show, claim, report, verify, replay."""

from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from attrs import evolve, frozen
from quart import Blueprint, Response, g, request

from cueapi.api.http import params
from cueapi.api.http.body import given_fields, read
from cueapi.api.http.idempotency import Done, Effect, once
from cueapi.api.http.operations import (
    CURSOR,
    IDEMPOTENCY_KEY,
    IDEMPOTENT,
    WORKER_ID,
    Parameter,
    moment,
    operation,
    paged,
    text,
    words,
)
from cueapi.api.http.params import Cursor
from cueapi.api.models import rendering, responses
from cueapi.api.models.rendering import answer
from cueapi.api.models.requests import ClaimBody, EvidenceBody, OutcomeBody, VerifyBody
from cueapi.domain.clock import iso
from cueapi.domain.errors import Invalid, Problem, Refusal
from cueapi.domain.execution import FINAL, SHOWN, ExecutionState, Status, Transition, apply_report
from cueapi.domain.ids import new_uuid7, parse_uuid
from cueapi.domain.outcome import (
    ARTIFACTS_LIMIT,
    EVIDENCE_LENGTHS,
    METADATA_LIMIT,
    Evidence,
    OutcomeState,
    Report,
    Verification,
    artifacts_fit,
    completed,
    manual_verdict,
    metadata_fits,
    shortened,
)
from cueapi.metrics import Metrics
from cueapi.storage import executions, fires, worker_claims
from cueapi.storage.database import Database, Executor
from cueapi.storage.executions import Addition, ExecutionRow, Filter
from cueapi.storage.fires import ManualFire
from cueapi.storage.paging import Page
from cueapi.storage.transitions import TransitionResult, apply_transitions, has_alerts
from cueapi.storage.worker_claims import ClaimRequest, LeaseTerms
from cueapi.wakeups.hub import WakeupHub
from cueapi.wakeups.long_poll import ANYTHING, Found

EXECUTION_FILTERS = (
    words("status", list(SHOWN), "In this status."),
    words("outcome_state", list(OutcomeState), "With an outcome in this state."),
    words("triggered_by", ["scheduled", "manual_fire", "replay"], "Made this way."),
    moment("since", "Not made before this."),
    moment("until", "Not made after this."),
    *paged(20),
    CURSOR,
)

MOST_CLAIMABLE = 50
TRIES = 5
"""How often a report is decided anew where the execution has moved meanwhile."""

REASON_KEPT = 500


@frozen
class Executions:
    """`/v1/executions`."""

    database: Database
    terms: LeaseTerms
    metrics: Metrics
    hub: WakeupHub

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("executions", __name__, url_prefix="/v1/executions")
        routes.get("")(self.list)
        routes.get("/claimable")(self.claimable)
        routes.post("/claim")(self.claim)
        routes.get("/<execution_id>")(self.show)
        routes.post("/<execution_id>/claim")(self.claim_one)
        routes.post("/<execution_id>/heartbeat")(self.heartbeat)
        routes.post("/<execution_id>/outcome")(self.outcome)
        routes.post("/<execution_id>/verify")(self.verify)
        routes.post("/<execution_id>/verification-pending")(self.verification_pending)
        routes.patch("/<execution_id>/evidence")(self.evidence)
        routes.post("/<execution_id>/replay")(self.replay)
        return routes

    @operation(
        responses.ExecutionList,
        parameters=(text("cue_id", "Of this cue."), *EXECUTION_FILTERS),
        refuses=("invalid_filter",),
    )
    async def list(self) -> Response:
        """One page of executions."""
        return await self.listed(params.text("cue_id"))

    async def listed(self, cue_id: str | None) -> Response:
        """One page of executions, of one cue where *cue_id* is given; by offset, or behind a cursor."""
        wanted = _filter(cue_id)
        cursor = Cursor.over(
            cue=cue_id, status=wanted.status, outcome=wanted.outcome_state, by=wanted.triggered_by,
            since=wanted.since, until=wanted.until,
        )  # fmt: skip
        before = cursor.read()
        limit, offset = params.limit(20), 0 if before else params.offset()
        page = await self._page(wanted, before=before, limit=limit, offset=offset)
        last = page.rows[-1] if page.rows and page.more else None
        return answer(
            {
                "executions": [rendering.execution(row) for row in page.rows],
                **rendering.listed(page, limit=limit, offset=offset),
                "next_cursor": last and cursor.write(last.created_at, last.id),
            }
        )

    async def _page(
        self, wanted: Filter, *, before: tuple[datetime, UUID] | None, limit: int, offset: int
    ) -> Page[ExecutionRow]:
        return await executions.page(self.database, evolve(wanted, before=before), limit=limit, offset=offset)

    @operation(responses.LoggedExecution, refuses=("execution_not_found",))
    async def show(self, execution_id: str) -> Response:
        """One execution, with its log of tries."""
        row = await self._row(execution_id)
        log = await executions.attempts(self.database, row.id)
        return answer({**rendering.execution(row), "attempt_log": [rendering.attempt(one) for one in log]})

    @operation(
        responses.ClaimableList,
        parameters=(
            text("task", "Only those whose `payload.task` is this."),
            Parameter(
                "wait_seconds", {"type": "number", "minimum": 0, "maximum": 30}, "How long to wait for something."
            ),
        ),
    )
    async def claimable(self) -> Response:
        """What a worker could claim, the oldest first; waits for something where it is asked to."""
        patience = params.seconds("wait_seconds", most=30)
        task = params.text("task")
        kind = ANYTHING if task is None else ("list", task)
        look = partial(self._look, g.account.id, task)
        rows = await self.hub.long_poll.find(g.account.id, kind, look, patience=patience)
        return answer({"executions": [rendering.work(row) for row in rows]})

    async def _look(self, user: int, task: str | None) -> Found:
        rows = await worker_claims.claimable(self.database, user=user, task=task, most=MOST_CLAIMABLE)
        # Each of those who see the list will claim one of them.
        return Found(rows, others=len(rows) - 1)

    @operation(responses.Claimed, body=ClaimBody, refuses=("claim_failed",))
    async def claim(self) -> Response:
        """The oldest execution that this worker can do."""
        body = await read(ClaimBody)
        wish = ClaimRequest(g.account.id, body.worker_id or "default", 1, task=body.task)
        rows = await worker_claims.claim_work(self.database, wish, self.terms)
        if not rows:
            raise Refusal("claim_failed", "There is nothing to claim.")
        return self._claimed(rows[0].id)

    @operation(responses.Claimed, body=ClaimBody, refuses=("claim_failed", "execution_not_found"))
    async def claim_one(self, execution_id: str) -> Response:
        """This execution; of any number of callers one wins."""
        body = await read(ClaimBody)
        identity = _identity(execution_id)
        worker = body.worker_id or "default"
        if await worker_claims.claim_one(
            self.database, user=g.account.id, execution=identity, worker=worker, terms=self.terms
        ):
            return self._claimed(identity)
        row = await self._row(execution_id)
        raise Refusal("claim_failed", f"This execution cannot be claimed: it is {row.status}.")

    def _claimed(self, identity: UUID) -> Response:
        return answer({"claimed": True, "execution_id": str(identity), "lease_seconds": int(self.terms.lease)})

    @operation(
        responses.LeaseExtended,
        parameters=(WORKER_ID,),
        refuses=("execution_not_claiming", "not_execution_owner", "execution_not_found"),
    )
    async def heartbeat(self, execution_id: str) -> Response:
        """The worker still has it."""
        identity, worker = _identity(execution_id), _worker_id()
        until = await worker_claims.extend_lease(
            self.database, user=g.account.id, execution=identity, worker=worker, lease=self.terms.lease
        )
        if until is not None:
            return answer({"execution_id": identity, "lease_extended_until": until, "acknowledged": True})
        row = await self._row(execution_id)
        if row.status == Status.DELIVERING and row.transport == "worker":
            raise Refusal("not_execution_owner", f"This execution is claimed by {row.claimed_by_worker}.")
        raise Refusal("execution_not_claiming", f"Nobody holds a claim of this execution: it is {row.status}.")

    @operation(
        responses.OutcomeRecorded,
        body=OutcomeBody,
        parameters=(WORKER_ID,),
        refuses=("outcome_already_recorded", "not_execution_owner", "metadata_too_large", "execution_not_found"),
    )
    async def outcome(self, execution_id: str) -> Response:
        """A report, the first for its try."""
        body = await read(OutcomeBody)
        report = shortened(_report(body))
        for _ in range(TRIES):
            state = await self._state(execution_id)
            step = apply_report(state, report, worker_id=_worker_id())
            done = await apply_transitions(self.database, [step])
            if (written := done.get(state.fence.execution_id)) is not None:
                self.metrics.settled(step)
                if has_alerts(done):
                    self.hub.notice_ready()
                return self._reported(state, step, written)
        raise Refusal("outcome_already_recorded", "The execution is being decided by others; look again.")

    def _reported(self, state: ExecutionState, step: Transition, written: TransitionResult) -> Response:
        if not step.ends and step.pause == 0.0:
            self.hub.work_ready(g.account.id) if state.transport == "worker" else self.hub.delivery_ready()
        assert step.verification is not None
        assert step.report is not None
        answered: dict[str, Any] = {
            "execution_id": str(state.fence.execution_id),
            "outcome_recorded": True,
            "outcome_state": step.verification.state,
            "will_retry": not step.ends,
            "reason": _reason(state, step, written),
        }
        if step.report.truncated:
            answered["truncated"] = list(step.report.truncated)
        return answer(answered)

    @operation(responses.Verified, body=VerifyBody, refuses=("invalid_state", "execution_not_found"))
    async def verify(self, execution_id: str) -> Response:
        """A person's word."""
        body = await read(VerifyBody)
        valid = body.valid is not False
        row = await self._row(execution_id)
        verification = manual_verdict(row.outcome_state, valid=valid)
        reason = None if valid or not body.reason else body.reason[:REASON_KEPT]
        await self._write_verdict(row, verification, reason)
        return answer(
            {
                "execution_id": str(row.id),
                "outcome_state": verification.state,
                "valid": valid,
                "reason": body.reason and body.reason[:REASON_KEPT],
            }
        )

    @operation(responses.VerificationPending, refuses=("no_outcome", "invalid_state", "execution_not_found"))
    async def verification_pending(self, execution_id: str) -> Response:
        """A person will look at it."""
        row = await self._row(execution_id)
        _has_outcome(row)
        await self._write_verdict(row, Verification(OutcomeState.VERIFICATION_PENDING), None)
        return answer({"execution_id": str(row.id), "outcome_state": OutcomeState.VERIFICATION_PENDING})

    async def _write_verdict(self, row: ExecutionRow, verification: Verification, reason: str | None) -> None:
        written = await executions.verify(
            self.database, execution=row.id, user=g.account.id, seen=row.outcome_state, verification=verification,
            reason=reason,
        )  # fmt: skip
        if not written:
            raise Refusal("invalid_state", "The outcome has changed meanwhile; look at it again.")

    @operation(
        responses.EvidenceUpdated,
        body=EvidenceBody,
        refuses=("no_outcome", "invalid_state", "metadata_too_large", "execution_not_found"),
    )
    async def evidence(self, execution_id: str) -> Response:
        """More evidence; it completes an outcome that lacked it."""
        body = await read(EvidenceBody)
        evidence = _evidence(body)
        for _ in range(TRIES):
            row = await self._row(execution_id)
            seen = _has_outcome(row)
            state = await self._state(execution_id)
            verification = completed(state.mode, seen, row.validation_state, evidence)
            outcome_state = await executions.add_evidence(
                self.database, execution=row.id, user=g.account.id, seen=row.outcome_state,
                addition=Addition(evidence, body.metadata, verification),
            )  # fmt: skip
            if outcome_state is not None:
                return answer({"execution_id": str(row.id), "outcome_state": outcome_state, "evidence_updated": True})
        raise Refusal("invalid_state", "The outcome is being changed by others; try again.")

    @operation(
        responses.Replayed,
        parameters=(IDEMPOTENCY_KEY,),
        refuses=("execution_in_flight", "execution_not_found", *IDEMPOTENT),
    )
    async def replay(self, execution_id: str) -> Response:
        """The same once more: a new execution with the same payload."""
        return await once(self.database, partial(self._replaying, execution_id))

    async def _replaying(self, execution_id: str) -> Effect:
        return partial(self._replay, _identity(execution_id))

    async def _replay(self, identity: UUID, db: Executor) -> Done:
        old = await fires.replayable(db, execution=identity, user=g.account.id)
        if old is None:
            raise not_found()
        if old.status not in FINAL:
            raise Refusal("execution_in_flight", f"Only what has ended can be replayed; this one is {old['status']}.")
        manual_fire = ManualFire(new_uuid7(), old.payload, old.task, None, identity)
        monthly = g.account.limits.monthly_executions
        made = await fires.fire(db, cue_id=old.cue_id, user=g.account.id, manual_fire=manual_fire, monthly=monthly)
        if made is None:
            raise not_found()
        shown = {
            "id": str(made.id),
            "cue_id": made.cue_id,
            "scheduled_for": made.scheduled_for,
            "status": made.status,
            "triggered_by": "replay",
            "replayed_from": str(identity),
        }
        poke = partial(self.hub.work_ready, g.account.id) if made.transport == "worker" else self.hub.delivery_ready
        return Done(answer(shown), poke)

    async def _row(self, execution_id: str) -> ExecutionRow:
        row = await executions.show(self.database, execution=_identity(execution_id), user=g.account.id)
        if row is None:
            raise not_found()
        return row

    async def _state(self, execution_id: str) -> ExecutionState:
        state = await executions.state(self.database, execution=_identity(execution_id), user=g.account.id)
        if state is None:
            raise not_found()
        return state


def _filter(cue_id: str | None) -> Filter:
    return Filter(
        g.account.id,
        cue=cue_id,
        status=params.word("status", SHOWN),
        outcome_state=params.word("outcome_state", OutcomeState),
        triggered_by=params.word("triggered_by", {"scheduled", "manual_fire", "replay"}),
        since=params.when("since"),
        until=params.when("until"),
    )


def _worker_id() -> str | None:
    """Of the header, which the server reads as Latin-1 and clients write as UTF-8, as they do in a body."""
    text = request.headers.get("X-Worker-Id")
    try:
        return text and text.encode("latin-1").decode()
    except UnicodeError:
        return text


def _identity(text: str) -> UUID:
    identity = parse_uuid(text)
    if identity is None:
        raise not_found()
    return identity


def not_found() -> Refusal:
    """The same for an execution that is another user's, and for an id that is none."""
    return Refusal("execution_not_found", "There is no such execution.")


def _has_outcome(row: ExecutionRow) -> str:
    """The state of its outcome; refused where it has none."""
    if row.outcome_state is None:
        raise Refusal("no_outcome", "This execution has no outcome yet.")
    return row.outcome_state


def _evidence(body: EvidenceBody) -> Evidence:
    """The evidence of a body; refuses what is too large."""
    if body.metadata is not None and not metadata_fits(body.metadata):
        raise Refusal("metadata_too_large", f"metadata may have {METADATA_LIMIT // 1024} KiB as JSON.")
    if body.artifacts is not None and not artifacts_fit(body.artifacts):
        raise Invalid(Problem("body.artifacts", f"may have {ARTIFACTS_LIMIT // 1024} KiB as JSON"))
    fields = given_fields(body)
    return Evidence(**{name: fields.get(name) or None for name in EVIDENCE_LENGTHS}, artifacts=body.artifacts or None)


def _report(body: OutcomeBody) -> Report:
    return Report(
        success=body.success,
        result=body.result,
        error=body.error,
        metadata=body.metadata,
        evidence=_evidence(body),
        retry=body.retry is not False,
    )


def _reason(state: ExecutionState, step: Transition, written: TransitionResult) -> str | None:
    """A sentence for the reporter: when the next try comes, or what was missing."""
    if step.verification is not None and step.verification.missing is not None:
        return f"{step.verification.missing} is required and was not given."
    if step.ends:
        return None
    return f"try {step.fence.attempts + 1} of {state.retry.max_attempts} follows at {iso(written.ready_at)}"
