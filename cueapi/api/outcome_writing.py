"""Writing what handlers report: decided upon what is found, anew where that has moved, and answered."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import Any, Generic, TypeVar

from attrs import field, frozen
from quart import Response

from cueapi.api.http.body import as_body
from cueapi.api.models.rendering import answer
from cueapi.api.models.requests.executions import EvidenceBody, OutcomeBody
from cueapi.domain.clock import iso
from cueapi.domain.errors import Invalid, Problem, Refusal
from cueapi.domain.execution import Transition
from cueapi.domain.outcome import (
    ARTIFACTS_LIMIT,
    EVIDENCE_LENGTHS,
    METADATA_LIMIT,
    Evidence,
    Report,
    artifacts_fit,
    metadata_fits,
    names_success_twice,
    shortened,
)
from cueapi.domain.reporting import ExecutionState, complete
from cueapi.domain.verification import Verification
from cueapi.metrics import Metrics
from cueapi.storage.database import Database, Executor, TransactionRolledBack
from cueapi.storage.grouping import Grouped
from cueapi.storage.transitions import TransitionResult, has_alerts, log_transition, write_transitions
from cueapi.wakeups.hub import WakeupHub

ROUNDS = 5
"""How often a report is decided anew where the execution was written meanwhile."""

T = TypeVar("T")

SAID_TWICE = Problem("body.success", "is sent more than once, with different values: which is meant?")


@frozen
class Completion(Generic[T]):
    """
    Evidence or a verdict: what the execution is found as, and what the recorded outcome comes to, if to another thing.

    *store* writes it; it is told whether it is alone, without a transition.
    """

    state: ExecutionState
    verification: Verification | None
    store: Callable[[Executor, bool], Awaitable[T]]

    @property
    def transition(self) -> Transition | None:
        """What follows where the work was done."""
        return None if self.verification is None else complete(self.state, self.verification)


@frozen
class OutcomeWriter:
    """Writes reports. Those that come at the same time share their statements."""

    database: Database
    metrics: Metrics
    hub: WakeupHub
    _apply: Grouped[Transition, TransitionResult | None] = field(init=False)

    @_apply.default
    def _make_apply(self) -> Grouped[Transition, TransitionResult | None]:
        return Grouped(self._apply_all, key=attrgetter("fence.execution_id"))

    async def write(
        self,
        find: Callable[[], Awaitable[ExecutionState]],
        decide: Callable[[ExecutionState], Transition],
        *,
        kept: ExecutionState | None = None,
    ) -> Response:
        """Write what is decided upon what is *kept* of the execution, else upon what is found; answer the reporter."""
        for _ in range(ROUNDS):
            state, kept = kept or await find(), None
            transition = decide(state)
            if (written := await self._apply(transition)) is not None:
                log_transition(transition, written)
                self.metrics.settled(transition)
                if not transition.ends and transition.pause == 0.0:
                    self._wake(state, written)
                return _recorded(state, transition, written)
        raise Refusal("outcome_already_recorded", "The execution is being changed by other requests; look again.")

    async def complete(self, decide: Callable[[Executor], Awaitable[Completion[T]]]) -> T:
        """
        Write the evidence or the verdict that is decided in a transaction, with all that follows where it completes.

        *decide* locks the execution before it reads it, so that nothing of it moves until both are written. The
        transition comes first: it locks the cue, and the tallies behind that.
        """
        for _ in range(ROUNDS):
            with suppress(TransactionRolledBack):
                async with self.database.transaction() as tx:
                    completion = await decide(tx)
                    step = completion.transition
                    written = {} if step is None else await write_transitions(tx, [step])
                    stored = await completion.store(tx, step is None)
                if step is not None and (result := written.get(step.fence.execution_id)) is not None:
                    log_transition(step, result)
                    self.metrics.settled(step)
                return stored
        raise Refusal("invalid_state", "The outcome is being changed by other requests; send this one again.")

    async def _apply_all(self, transitions: Sequence[Transition]) -> list[TransitionResult | None]:
        done = await write_transitions(self.database, transitions)
        if has_alerts(done):
            self.hub.notice_ready(done.alerts)
        return [done.get(transition.fence.execution_id) for transition in transitions]

    def _wake(self, state: ExecutionState, written: TransitionResult) -> None:
        """Wake what makes the next attempt."""
        if state.transport == "worker":
            self.hub.work_ready(written.user_id)
        else:
            self.hub.delivery_ready()


def evidence_of(body: EvidenceBody) -> Evidence:
    """The evidence of a body; refuses what is too large."""
    if body.metadata is not None and not metadata_fits(body.metadata):
        raise Refusal("metadata_too_large", f"metadata may have {METADATA_LIMIT // 1024} KiB as JSON.")
    if body.artifacts is not None and not artifacts_fit(body.artifacts):
        raise Invalid(Problem("body.artifacts", f"may have {ARTIFACTS_LIMIT // 1024} KiB as JSON"))
    return Evidence(**{name: getattr(body, name) or None for name in (*EVIDENCE_LENGTHS, "artifacts")})


def report_in(data: bytes) -> Report:
    """The report that a JSON body holds; refuses one that says both that the work was done and that it was not."""
    body = as_body(OutcomeBody, data)
    if data.count(b"success") > 1 and names_success_twice(data.decode("utf-8-sig")):
        raise Invalid(SAID_TWICE)
    return report_of(body)


def report_of(body: OutcomeBody) -> Report:
    """The report of a body, cut to what is kept."""
    report = Report(
        success=body.success,
        result=body.result,
        error=body.error,
        metadata=body.metadata,
        evidence=evidence_of(body),
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
    """A sentence for the reporter: what the report lacked, and when the next attempt comes."""
    said = [*_lack(transition.verification)]
    if not transition.ends:
        number, of = transition.fence.attempts + 1, state.retry.max_attempts
        follows = f"attempt {number} of {of} follows at {iso(written.ready_at)}"
        return "; ".join([*(one.removesuffix(".") for one in said), follows])
    return " ".join(said) or None


def _lack(verification: Verification | None) -> Iterator[str]:
    if verification is not None and verification.lack is not None:
        # Published so: with a full stop where evidence is missing.
        yield verification.lack if verification.unmet else f"{verification.lack}."
