"""The report URL: who holds the token of an attempt reports on it, without a key, and does nothing else."""

from datetime import timedelta
from functools import partial
from uuid import UUID

from attrs import frozen
from quart import Blueprint, Response, g
from structlog.contextvars import bind_contextvars

from cueapi.api.http.body import read
from cueapi.api.http.operations import FORM, TEXT, operation
from cueapi.api.http.rate_limits import MINUTE, Windows
from cueapi.api.models.rendering import answer
from cueapi.api.models.requests.executions import AttemptHeartbeatBody, OutcomeBody
from cueapi.api.models.responses import outcomes as responses
from cueapi.api.outcome_writing import OutcomeWriter
from cueapi.api.report_bodies import read_report, read_text
from cueapi.domain.errors import Refusal
from cueapi.domain.ids import made_at
from cueapi.domain.outcome import Report, shortened
from cueapi.domain.reporting import ExecutionState, apply_attempt_report
from cueapi.security.report_tokens import ReportTokens
from cueapi.storage.attempt_heartbeats import AttemptHeartbeat, HeartbeatRow, beat
from cueapi.storage.clock import Clock
from cueapi.storage.executions import to_execution_state
from cueapi.storage.report_states import ReportedRow, reported
from cueapi.storage.worker_claims import LeaseTerms

BROKEN = 30
"""How many broken tokens an address may send in a minute. A good one is never refused by a limit."""

KEPT = timedelta(days=37)
"""After so long an execution that is not there any more is over: 30 days are the most that one attempt may run."""

REFUSALS = ("report_not_found", "report_expired", "rate_limit_exceeded")
OVER = "This execution has ended more than seven days ago."
WITHDRAWN = "The account has passed to the owner of its address: this report URL has ended with the keys of before."

OUTCOME_REFUSALS = (*REFUSALS, "outcome_already_recorded", "attempt_is_over")


@frozen
class Reports:
    """`/v1/report/TOKEN`."""

    writer: OutcomeWriter
    tokens: ReportTokens
    windows: Windows
    terms: LeaseTerms
    clock: Clock

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("reports", __name__, url_prefix="/v1/report/<token>")
        routes.post("")(self.report)
        routes.get("")(self.show)
        routes.post("/success")(self.succeed)
        routes.post("/fail")(self.fail)
        routes.post("/heartbeat")(self.heartbeat)
        routes.post("/<int(min=0, max=255):exit_status>")(self.exit)
        return routes

    @operation(
        responses.OutcomeRecorded,
        body=OutcomeBody,
        forms=(FORM, TEXT),
        refuses=(*OUTCOME_REFUSALS, "metadata_too_large"),
    )
    async def report(self, token: str) -> Response:
        """
        Report the outcome of an attempt, without a key.

        A success of any attempt ends the execution; a failure counts for the present attempt only. A body of plain text
        is the `result` of a success, but for one that names `success` as true or false, which is refused.
        """
        opened = await self._open(token)
        return await self._record(opened, await read_report())

    @operation(responses.OutcomeRecorded, forms=(TEXT,), refuses=OUTCOME_REFUSALS)
    async def succeed(self, token: str) -> Response:
        """Report success, without a key; the body is the `result`, as text."""
        opened = await self._open(token)
        return await self._record(opened, shortened(Report(success=True, result=await read_text())))

    @operation(responses.OutcomeRecorded, forms=(TEXT,), refuses=OUTCOME_REFUSALS)
    async def fail(self, token: str) -> Response:
        """Report failure, without a key; the body is the `error`, as text."""
        opened = await self._open(token)
        return await self._record(opened, shortened(Report(success=False, error=await read_text())))

    @operation(responses.OutcomeRecorded, forms=(TEXT,), refuses=OUTCOME_REFUSALS)
    async def exit(self, token: str, exit_status: int) -> Response:
        """
        Report the exit status of a program, without a key.

        0 is a success, and the body its `result`; every other one is a failure, and the body its `error`.
        """
        opened, text = await self._open(token), await read_text()
        if exit_status == 0:
            return await self._record(opened, shortened(Report(success=True, result=text)))
        return await self._record(opened, shortened(Report(success=False, error=text or f"exit status {exit_status}")))

    @operation(responses.AttemptHeartbeatTaken, body=AttemptHeartbeatBody, refuses=REFUSALS)
    async def heartbeat(self, token: str) -> Response:
        """
        Send a heartbeat of a handler, without a key.

        It moves the deadline of the attempt, and a worker's lease, to as far from now as they were at first; not beyond
        `delivery.max_runtime_seconds` from its start. `cancel` says that the work is wanted no more.
        """
        execution, attempt = await self._open(token)
        body = await read(AttemptHeartbeatBody)
        row = await self._beat(execution, attempt, body)
        if row is not None and row.is_written:
            g.reported_for = row.user_id
        shown = {
            "execution_id": execution,
            "attempt": attempt,
            "outcome_deadline_at": row and row.outcome_deadline_at,
            "lease_until": row and row.lease_until,
            "cancel": row is None or row.is_cancelled,
        }
        return answer(shown)

    @operation(responses.Reported, refuses=REFUSALS)
    async def show(self, token: str) -> Response:
        """Show what has become of an attempt's execution, without a key."""
        execution, attempt = await self._open(token)
        row = await self._find(execution, attempt)
        return answer({**responses.ReportedExecution.render(row), "attempt": attempt})

    async def _open(self, token: str) -> tuple[UUID, int]:
        """The execution and the attempt of a token; refuses a broken one, and an address that sends many of them."""
        opened = self.tokens.read(token)
        if opened is None:
            await self.windows.check("report", g.address, BROKEN, MINUTE)
            raise Refusal("report_not_found", "This is no report URL of this server, or a part of it is missing.")
        return opened

    async def _beat(self, execution: UUID, attempt: int, body: AttemptHeartbeatBody) -> HeartbeatRow | None:
        """What a heartbeat has led to; None where the execution was deleted. Refuses one that is over for long."""
        told = AttemptHeartbeat(execution, attempt, body.progress, body.message, self.terms.lease, self.terms.deadline)
        row = await beat(self.writer.database, told)
        age = self.clock.timestamp() - made_at(execution)
        if age > KEPT.total_seconds() if row is None else row.is_over:
            raise Refusal("report_expired", OVER)
        if row is not None and row.is_withdrawn:
            raise Refusal("report_expired", WITHDRAWN)
        return row

    async def _find(self, execution: UUID, attempt: int) -> ReportedRow:
        """The execution; refuses one that is gone, or over for long."""
        row = await reported(self.writer.database, execution, attempt=attempt)
        if row is None or row.is_gone:
            raise Refusal("report_expired", "This execution is not there any more: its cue was deleted, or it is old.")
        if row.is_over or row.is_withdrawn:
            raise Refusal("report_expired", OVER if row.is_over else WITHDRAWN)
        g.reported_for = row.user_id
        bind_contextvars(user_id=row.user_id)
        return row

    async def _state(self, execution: UUID, attempt: int) -> ExecutionState:
        return to_execution_state(await self._find(execution, attempt))

    async def _record(self, opened: tuple[UUID, int], report: Report) -> Response:
        execution, attempt = opened
        return await self.writer.write(
            partial(self._state, execution, attempt), lambda state: apply_attempt_report(state, report, attempt=attempt)
        )
