"""Outcomes: what handlers report, how far it is believed, and the evidence."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from attrs import asdict, evolve, field, frozen
from quart import Blueprint, Response, g

from cueapi.api.claimed_states import ClaimedStates
from cueapi.api.executions import identity_of, not_found
from cueapi.api.http.acting import REASON, act, act_of_body
from cueapi.api.http.body import read, read_bytes
from cueapi.api.http.off_loop import off_loop
from cueapi.api.http.operations import operation
from cueapi.api.http.parameters import WORKER_ID
from cueapi.api.models.rendering import answer
from cueapi.api.models.requests.bodies import ReasonBody
from cueapi.api.models.requests.executions import EvidenceBody, OutcomeBody, VerifyBody
from cueapi.api.models.responses import outcomes as responses
from cueapi.api.outcome_writing import Completion, OutcomeWriter, evidence_of, report_in
from cueapi.domain.audit import REASON_LIMIT, Act
from cueapi.domain.errors import Refusal
from cueapi.domain.outcome import EVIDENCE_LENGTHS, Evidence, OutcomeState, Report
from cueapi.domain.reporting import ExecutionState, apply_report
from cueapi.domain.verification import Verification, completed, manual_verdict
from cueapi.storage import executions
from cueapi.storage.database import Database, Executor
from cueapi.storage.executions import Addition, ExecutionRow
from cueapi.storage.grouping import Grouped

REASON_KEPT = REASON_LIMIT
"""Characters of a verdict's reason that are kept."""


@frozen
class Outcomes:
    """`/v1/executions/…/outcome`, `…/verify`, `…/verification-pending`, `…/evidence`."""

    database: Database
    writer: OutcomeWriter
    claimed: ClaimedStates
    _states: Grouped[tuple[UUID, int], ExecutionState | None] = field(init=False)

    @_states.default
    def _make_states(self) -> Grouped[tuple[UUID, int], ExecutionState | None]:
        return Grouped(partial(executions.states, self.database), key=lambda wanted: wanted)

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
        report = await off_loop(report_in, await read_bytes())
        worker, kept = WORKER_ID.read(), self.claimed.take(identity_of(execution_id), g.account.id)
        return await self.writer.write(
            partial(self._state, execution_id),
            lambda state: apply_report(state, report, worker_id=worker),
            kept=kept,
        )

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

        Verifying acknowledges its `verification_failed` alert, and counts like a success that is reported late: it ends
        an execution that is under way, and makes good one that has failed. A reason of a rejection is added to the
        evidence.
        """
        body = await read(VerifyBody)
        valid, given = body.valid is not False, body.reason and body.reason[:REASON_KEPT]

        def verdict_on(row: ExecutionRow) -> Verification:
            return manual_verdict(row.outcome_state, valid=valid)

        verification = await self._write_verdict(
            execution_id, verdict_on, None if valid or not given else given, act(given)
        )
        shown = {"execution_id": identity_of(execution_id), "outcome_state": verification.state}
        return answer(shown | {"valid": valid, "reason": given})

    @operation(
        responses.VerificationPending,
        scope="write",
        body=ReasonBody,
        parameters=(REASON,),
        refuses=("no_outcome", "invalid_state", "execution_not_found"),
    )
    async def verification_pending(self, execution_id: str) -> Response:
        """Mark an outcome as waiting for a person's verdict."""
        why = await act_of_body()

        def verdict_on(row: ExecutionRow) -> Verification:
            _recorded_state(row)
            return Verification(OutcomeState.VERIFICATION_PENDING)

        verification = await self._write_verdict(execution_id, verdict_on, None, why)
        return answer({"execution_id": identity_of(execution_id), "outcome_state": verification.state})

    async def _write_verdict(
        self, execution_id: str, verdict_on: Callable[[ExecutionRow], Verification], reason: str | None, why: Act
    ) -> Verification:
        """Write the verdict that *verdict_on* comes to on the execution as it stands; the verdict."""

        async def decide(db: Executor) -> Completion[Verification]:
            row, state = await self._locked(db, execution_id)
            verification = verdict_on(row)

            async def store(db: Executor, alone: bool) -> Verification:
                await executions.verify(
                    db, execution=row.id, user=g.account.id, seen=row.outcome_state, verification=verification,
                    reason=reason, act=why, alone=alone,
                )  # fmt: skip
                return verification

            accepts = verification.state == OutcomeState.VERIFIED_SUCCESS
            return Completion(state, verification if accepts else None, store)

        verification = await self.writer.complete(decide)
        self.writer.hub.notice_ready()
        return verification

    @operation(
        responses.EvidenceUpdated,
        body=EvidenceBody,
        refuses=("no_outcome", "invalid_state", "metadata_too_large", "execution_not_found"),
        scope="work",
    )
    async def evidence(self, execution_id: str) -> Response:
        """
        Add evidence to a recorded outcome.

        What is left out stays. An outcome whose evidence was missing becomes `verified_success` as soon as it is there,
        which counts like a success that is reported late: it ends an execution that is under way, and makes good one
        that has failed.
        """
        body = await read(EvidenceBody)
        evidence = await off_loop(evidence_of, body)

        async def decide(db: Executor) -> Completion[str]:
            row, state = await self._locked(db, execution_id)
            seen = _recorded_state(row)
            merged = await off_loop(_with_evidence, row, evidence, body.metadata)
            elapsed = await executions.reported_after(db, row.id)
            verification = completed(state.rules, seen, row.validation_state, merged, elapsed)
            addition = Addition(evidence, body.metadata, verification)

            async def store(db: Executor, alone: bool) -> str:
                stored = await executions.add_evidence(
                    db, execution=row.id, user=g.account.id, seen=seen, addition=addition, alone=alone
                )
                assert stored is not None, "it was locked"
                return stored

            return Completion(state, verification, store)

        outcome_state = await self.writer.complete(decide)
        self.writer.hub.notice_ready()
        shown = {"execution_id": identity_of(execution_id), "outcome_state": outcome_state}
        return answer(shown | {"evidence_updated": True})

    async def _locked(self, db: Executor, execution_id: str) -> tuple[ExecutionRow, ExecutionState]:
        """An execution of this account, as it stays until the transaction ends; refuses every other id."""
        wanted = identity_of(execution_id), g.account.id
        await executions.lock(db, execution=wanted[0], user=wanted[1])
        row = await executions.show(db, execution=wanted[0], user=wanted[1])
        (state,) = await executions.states(db, [wanted])
        if row is None or state is None:
            raise not_found()
        return row, state

    async def _state(self, execution_id: str) -> ExecutionState:
        state = await self._states((identity_of(execution_id), g.account.id))
        if state is None:
            raise not_found()
        return state


def _with_evidence(row: ExecutionRow, added: Evidence, metadata: dict[str, Any] | None) -> Report:
    """The report of an execution as if what was *added* had come with it."""
    kept = Evidence(**{name: getattr(row, name) for name in EVIDENCE_LENGTHS}, artifacts=_json(row.artifacts))
    given = {name: value for name, value in asdict(added, recurse=False).items() if value is not None}
    told = _json(row.outcome_metadata) if metadata is None else metadata
    return Report(True, result=row.outcome_result, metadata=told, evidence=evolve(kept, **given))


def _json(text: str | None) -> Any:  # noqa: ANN401 (JSON)
    return None if text is None else json.loads(text)


def _recorded_state(row: ExecutionRow) -> str:
    """The state of the execution's outcome; refuses an execution that has none yet."""
    if row.outcome_state is None:
        raise Refusal("no_outcome", "This execution has no outcome yet.")
    return row.outcome_state
