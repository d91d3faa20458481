"""Outcomes: what handlers report, how far it is believed, and the evidence."""

import json
from functools import partial
from typing import Any
from uuid import UUID

from attrs import asdict, evolve, field, frozen
from quart import Blueprint, Response, g

from cueapi.api.claimed_states import ClaimedStates
from cueapi.api.executions import find, identity_of, not_found
from cueapi.api.http.acting import REASON, act, act_of_body
from cueapi.api.http.body import read, read_bytes
from cueapi.api.http.off_loop import off_loop
from cueapi.api.http.operations import operation
from cueapi.api.http.parameters import WORKER_ID
from cueapi.api.models.rendering import answer
from cueapi.api.models.requests.bodies import ReasonBody
from cueapi.api.models.requests.executions import EvidenceBody, OutcomeBody, VerifyBody
from cueapi.api.models.responses import outcomes as responses
from cueapi.api.outcome_writing import ROUNDS, OutcomeWriter, evidence_of, report_in
from cueapi.domain.audit import REASON_LIMIT, Act
from cueapi.domain.errors import Refusal
from cueapi.domain.execution import Status
from cueapi.domain.outcome import EVIDENCE_LENGTHS, Evidence, OutcomeState, Report
from cueapi.domain.reporting import ExecutionState, apply_report
from cueapi.domain.verification import Verification, completed, manual_verdict
from cueapi.storage import executions
from cueapi.storage.database import Database
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
        write = partial(
            executions.verify, execution=row.id, user=g.account.id, seen=row.outcome_state, verification=verification,
            reason=reason, act=why,
        )  # fmt: skip
        # What was delivered and lacked nothing has counted when it was reported.
        counts = verification.state == OutcomeState.VERIFIED_SUCCESS and row.status != Status.SUCCESS
        accepted = verification if counts else None
        if not await self.writer.complete(await self._state(str(row.id)), accepted, write):
            raise Refusal("invalid_state", "The outcome has changed meanwhile; look at it again.")
        self.writer.hub.notice_ready()

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
        for _ in range(ROUNDS):
            row = await find(self.database, execution_id)
            seen = _recorded_state(row)
            state = await self._state(execution_id)
            merged = await off_loop(_with_evidence, row, evidence, body.metadata)
            elapsed = await executions.reported_after(self.database, row.id)
            verification = completed(state.rules, seen, row.validation_state, merged, elapsed)
            add = partial(
                executions.add_evidence, execution=row.id, user=g.account.id, seen=row.outcome_state,
                addition=Addition(evidence, body.metadata, verification),
            )  # fmt: skip
            outcome_state = await self.writer.complete(state, verification, add)
            if outcome_state is not None:
                self.writer.hub.notice_ready()
                return answer({"execution_id": row.id, "outcome_state": outcome_state, "evidence_updated": True})
        raise Refusal("invalid_state", "The outcome is being changed by other requests; send this one again.")

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
