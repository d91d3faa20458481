"""Outcomes: what handlers report, how far it is believed, and the evidence."""

from collections.abc import Sequence
from functools import partial
from operator import attrgetter
from typing import Any
from uuid import UUID

from attrs import field, frozen
from quart import Blueprint, Response, g

from cueapi.api.claimed_states import ClaimedStates
from cueapi.api.executions import find, identity_of, not_found, wake_handlers
from cueapi.api.http.acting import REASON, act, act_of_body
from cueapi.api.http.body import read
from cueapi.api.http.off_loop import off_loop
from cueapi.api.http.operations import operation
from cueapi.api.http.parameters import WORKER_ID
from cueapi.api.models.rendering import answer
from cueapi.api.models.requests.bodies import ReasonBody
from cueapi.api.models.requests.executions import EvidenceBody, OutcomeBody, VerifyBody
from cueapi.api.models.responses import outcomes as responses
from cueapi.domain.audit import REASON_LIMIT, Act
from cueapi.domain.clock import iso
from cueapi.domain.errors import Invalid, Problem, Refusal
from cueapi.domain.execution import ExecutionState, Transition, apply_report
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
from cueapi.storage import executions
from cueapi.storage.database import Database
from cueapi.storage.executions import Addition, ExecutionRow
from cueapi.storage.grouping import Grouped
from cueapi.storage.transitions import TransitionResult, has_alerts, log_transition, write_transitions
from cueapi.wakeups.hub import WakeupHub

ROUNDS = 5
"""How often a report is decided anew where the execution was written meanwhile."""

REASON_KEPT = REASON_LIMIT
"""Characters of a verdict's reason that are kept."""


@frozen
class Outcomes:
    """
    `/v1/executions/…/outcome`, `…/verify`, `…/verification-pending`, `…/evidence`.

    Reports that come at the same time share their statements.
    """

    database: Database
    metrics: Metrics
    hub: WakeupHub
    claimed: ClaimedStates
    _states: Grouped[tuple[UUID, int], ExecutionState | None] = field(init=False)
    _apply: Grouped[Transition, TransitionResult | None] = field(init=False)

    @_states.default
    def _make_states(self) -> Grouped[tuple[UUID, int], ExecutionState | None]:
        return Grouped(partial(executions.states, self.database), key=lambda wanted: wanted)

    @_apply.default
    def _make_apply(self) -> Grouped[Transition, TransitionResult | None]:
        return Grouped(self._apply_all, key=attrgetter("fence.execution_id"))

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("outcomes", __name__, url_prefix="/v1/executions/<execution_id>")
        routes.post("/outcome")(self.report)
        routes.post("/verify")(self.verify)
        routes.post("/verification-pending")(self.verification_pending)
        routes.patch("/evidence")(self.evidence)
        return routes

    @operation(
        responses.OutcomeRecorded,
        body=OutcomeBody,
        parameters=(WORKER_ID,),
        refuses=("outcome_already_recorded", "not_execution_owner", "metadata_too_large", "execution_not_found"),
        scope="work",
    )
    async def report(self, execution_id: str) -> Response:
        """
        Report the outcome of an attempt.

        The first report for an attempt counts. A reported failure is followed by the next attempt, unless `retry` is
        false or none is left.
        """
        report = await off_loop(_report, await read(OutcomeBody))
        kept = self.claimed.take(identity_of(execution_id), g.account.id)
        for _ in range(ROUNDS):
            state, kept = kept or await self._state(execution_id), None
            transition = apply_report(state, report, worker_id=WORKER_ID.read())
            if (written := await self._apply(transition)) is not None:
                log_transition(transition, written)
                self.metrics.settled(transition)
                if not transition.ends and transition.pause == 0.0:
                    wake_handlers(self.hub, state.transport)
                return _recorded(state, transition, written)
        raise Refusal("outcome_already_recorded", "The execution is being changed by other requests; look again.")

    async def _apply_all(self, transitions: Sequence[Transition]) -> list[TransitionResult | None]:
        done = await write_transitions(self.database, transitions)
        if has_alerts(done):
            self.hub.notice_ready(done.alerts)
        return [done.get(transition.fence.execution_id) for transition in transitions]

    @operation(
        responses.Verified,
        scope="write",
        body=VerifyBody,
        parameters=(REASON,),
        refuses=("invalid_state", "execution_not_found"),
    )
    async def verify(self, execution_id: str) -> Response:
        """
        Verify or reject an outcome.

        Verifying acknowledges its `verification_failed` alert. A reason of a rejection is added to the evidence.
        """
        body = await read(VerifyBody)
        valid, given = body.valid is not False, body.reason and body.reason[:REASON_KEPT]
        row = await find(self.database, execution_id)
        verification = manual_verdict(row.outcome_state, valid=valid)
        await self._write_verdict(row, verification, None if valid or not given else given, act(given))
        shown = {"execution_id": row.id, "outcome_state": verification.state, "valid": valid, "reason": given}
        return answer(shown)

    @operation(
        responses.VerificationPending,
        scope="write",
        body=ReasonBody,
        parameters=(REASON,),
        refuses=("no_outcome", "invalid_state", "execution_not_found"),
    )
    async def verification_pending(self, execution_id: str) -> Response:
        """Mark an outcome as waiting for a person's verdict."""
        why, row = await act_of_body(), await find(self.database, execution_id)
        _recorded_state(row)
        await self._write_verdict(row, Verification(OutcomeState.VERIFICATION_PENDING), None, why)
        return answer({"execution_id": row.id, "outcome_state": OutcomeState.VERIFICATION_PENDING})

    async def _write_verdict(self, row: ExecutionRow, verification: Verification, reason: str | None, why: Act) -> None:
        written = await executions.verify(
            self.database, execution=row.id, user=g.account.id, seen=row.outcome_state, verification=verification,
            reason=reason, act=why,
        )  # fmt: skip
        if not written:
            raise Refusal("invalid_state", "The outcome has changed meanwhile; look at it again.")

    @operation(
        responses.EvidenceUpdated,
        body=EvidenceBody,
        refuses=("no_outcome", "invalid_state", "metadata_too_large", "execution_not_found"),
        scope="work",
    )
    async def evidence(self, execution_id: str) -> Response:
        """
        Add evidence to a recorded outcome.

        What is left out stays. An outcome whose evidence was missing becomes `verified_success` as soon as it is there.
        """
        body = await read(EvidenceBody)
        evidence = await off_loop(_evidence, body)
        for _ in range(ROUNDS):
            row = await find(self.database, execution_id)
            seen = _recorded_state(row)
            state = await self._state(execution_id)
            verification = completed(state.mode, seen, row.validation_state, evidence)
            outcome_state = await executions.add_evidence(
                self.database, execution=row.id, user=g.account.id, seen=row.outcome_state,
                addition=Addition(evidence, body.metadata, verification),
            )  # fmt: skip
            if outcome_state is not None:
                self.hub.notice_ready()
                return answer({"execution_id": row.id, "outcome_state": outcome_state, "evidence_updated": True})
        raise Refusal("invalid_state", "The outcome is being changed by other requests; send this one again.")

    async def _state(self, execution_id: str) -> ExecutionState:
        state = await self._states((identity_of(execution_id), g.account.id))
        if state is None:
            raise not_found()
        return state


def _recorded_state(row: ExecutionRow) -> str:
    """The state of the execution's outcome; refuses an execution that has none yet."""
    if row.outcome_state is None:
        raise Refusal("no_outcome", "This execution has no outcome yet.")
    return row.outcome_state


def _evidence(body: EvidenceBody) -> Evidence:
    """The evidence of a body; refuses what is too large."""
    if body.metadata is not None and not metadata_fits(body.metadata):
        raise Refusal("metadata_too_large", f"metadata may have {METADATA_LIMIT // 1024} KiB as JSON.")
    if body.artifacts is not None and not artifacts_fit(body.artifacts):
        raise Invalid(Problem("body.artifacts", f"may have {ARTIFACTS_LIMIT // 1024} KiB as JSON"))
    return Evidence(**{name: getattr(body, name) or None for name in (*EVIDENCE_LENGTHS, "artifacts")})


def _report(body: OutcomeBody) -> Report:
    report = Report(
        success=body.success,
        result=body.result,
        error=body.error,
        metadata=body.metadata,
        evidence=_evidence(body),
        retry=body.retry is not False,
    )
    return shortened(report)


def _recorded(state: ExecutionState, transition: Transition, written: TransitionResult) -> Response:
    assert transition.verification is not None
    assert transition.report is not None
    shown: dict[str, Any] = {
        "execution_id": state.fence.execution_id,
        "outcome_recorded": True,
        "outcome_state": transition.verification.state,
        "will_retry": not transition.ends,
        "reason": _reason(state, transition, written),
    }
    if transition.report.truncated:
        shown["truncated"] = [*transition.report.truncated]
    return answer(shown)


def _reason(state: ExecutionState, transition: Transition, written: TransitionResult) -> str | None:
    """A sentence for the reporter: which evidence was missing, or when the next attempt comes."""
    if transition.verification is not None and transition.verification.missing is not None:
        return f"{transition.verification.missing} is required and was not given."
    if transition.ends:
        return None
    return f"attempt {transition.fence.attempts + 1} of {state.retry.max_attempts} follows at {iso(written.ready_at)}"
