"""What came of an execution, in one sentence, and who was told."""

import json

from cueapi.dashboard.filters import duration
from cueapi.dashboard.states import ShownState, state_of
from cueapi.dashboard.texts import host
from cueapi.domain.clock import parse_moment
from cueapi.domain.execution import Status
from cueapi.domain.outcome import OutcomeState
from cueapi.storage.dashboard.execution import ExecutionDetails, ShownExecution


def verdict(details: ExecutionDetails) -> tuple[ShownState, str]:
    """The state of an execution, and the sentence that its page begins with."""
    execution = details.execution
    state = state_of(execution)
    if execution.status == Status.SUCCESS:
        return state, _delivered(execution, state)
    sentence = {
        Status.PENDING: _waiting,
        Status.DELIVERING: _running,
        Status.FAILED: _failed,
        Status.MISSED: _missed,
        Status.OUTCOME_TIMEOUT: _no_outcome,
    }.get(Status(execution.status.replace("retry_ready", "retrying")), _retrying)
    return state, sentence(execution)


def _times(number: int) -> str:
    return "1 attempt" if number == 1 else f"{number} attempts"


def _sentence(text: str) -> str:
    """A reason as the end of a sentence."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _reason(execution: ShownExecution) -> str:
    """Why the last attempt failed: the status and the host that it came from, or what was said."""
    told = execution.outcome_error if execution.is_reported else None
    if told:
        return f"the handler said “{told[:200]}”."
    if execution.http_status is not None and not 200 <= execution.http_status < 300:
        return f"{execution.http_status} from {host(execution.callback_host)}."
    return _sentence((execution.error_message or "a failure was reported")[:300])


def _held(execution: ShownExecution) -> str | None:
    """Where it waits for a host that is down: for which, and until when it is not looked at again."""
    if execution.waiting_for is None:
        return None
    target = json.loads(execution.waiting_for)
    left = (parse_moment(target["next_probe_at"]) - execution.now).total_seconds()
    down = (execution.now - parse_moment(target["since"])).total_seconds()
    probe = f"it is probed again in {duration(left)}" if left > 0 else "it is being probed"
    where = f"{host(target['host'])}, which has been down for {duration(max(down, 0))}"
    return f"Waits for {where}: {probe}. No attempt is used."


def _waiting(execution: ShownExecution) -> str:
    if (held := _held(execution)) is not None:
        return held
    left = (execution.ready_at - execution.now).total_seconds()
    if left > 0:
        return f"Due in {duration(left)}."
    waits = "no worker has claimed it yet" if execution.transport == "worker" else "it waits to be sent"
    return f"Due for {duration(-left)}: {waits}."


def _running(execution: ShownExecution) -> str:
    age = (execution.now - (execution.last_attempt_at or execution.now)).total_seconds()
    where = f" at worker {execution.claimed_by_worker}" if execution.claimed_by_worker else ""
    return f"Attempt {execution.attempts} has been running for {duration(max(age, 0))}{where}."


def _retrying(execution: ShownExecution) -> str:
    if (held := _held(execution)) is not None:
        return f"{_times(execution.attempts)} of {execution.max_attempts} failed. {held}"
    left = max((execution.ready_at - execution.now).total_seconds(), 0)
    comes = f"follows in {duration(left)}" if left else "is due"
    failed = f"{_times(execution.attempts)} of {execution.max_attempts} failed, the next one {comes}"
    return f"{failed}: {_reason(execution)}{_all_the_same(execution)}"


def _failed(execution: ShownExecution) -> str:
    if not execution.attempts:
        return f"Failed before any attempt: {_reason(execution)}"
    return f"Failed after {_times(execution.attempts)}: {_reason(execution)}{_all_the_same(execution)}"


def _all_the_same(execution: ShownExecution) -> str:
    """What was found out of the work of an execution that has failed, or is tried again; empty where nothing was."""
    match execution.outcome_state:
        case OutcomeState.VERIFICATION_PENDING:
            return " It was reported as done all the same, and waits for your verdict."
        case OutcomeState.REPORTED_SUCCESS | OutcomeState.VERIFIED_SUCCESS:
            return " It was found to be done all the same."
        case _:
            return ""


def _missed(execution: ShownExecution) -> str:
    return _sentence(execution.error_message or "Missed")


def _no_outcome(execution: ShownExecution) -> str:
    late = f"Delivered in {_times(execution.attempts)}, and no outcome was reported before the deadline."
    return f"{late}{_all_the_same(execution)}"


def _delivered(execution: ShownExecution, state: ShownState) -> str:
    after = "" if execution.attempts == 1 else f" in {_times(execution.attempts)}"
    match state.word:
        case "reported failed":
            return f"Delivered{after}, and reported as failed: {_reason(execution)}"
        case "not verified" if execution.validation_state == "missing":
            return "Reported as done, without the evidence that it must have."
        case "not verified":
            return "Rejected: its outcome counts as a failure."
        case "to verify":
            return "Reported as done; it waits for your verdict."
        case "outcome awaited":
            return f"Delivered{after}; its outcome {_must_come(execution)}."
        case _:
            return _done(execution, after)


def _must_come(execution: ShownExecution) -> str:
    assert execution.outcome_deadline_at is not None
    left = (execution.outcome_deadline_at - execution.now).total_seconds()
    return f"must be reported within {duration(max(left, 0))}"


def _done(execution: ShownExecution, after: str) -> str:
    if not execution.is_reported:
        return (
            f"Delivered{after}: {execution.http_status} from {host(execution.callback_host)}; no outcome was reported."
        )
    result = execution.outcome_result
    return f"Succeeded{after}: “{result[:200]}”" if result else f"Succeeded{after}."


def told(details: ExecutionDetails, *, mails_leave: bool) -> str | None:
    """Who was told of a failure; None where there was none. Where no mail can leave this server, none was sent."""
    if state_of(details.execution).sign not in {"failed", "missed"}:
        return None
    alerts = sum(row.kind == "alert" for row in details.related)
    raised = {0: "No alert was raised", 1: "An alert was raised"}.get(alerts, f"{alerts} alerts were raised")
    one = details.execution
    by = {"by mail": one.on_failure_email and mails_leave, "by webhook": one.on_failure_webhook}
    ways = [way for way, is_asked_for in by.items() if is_asked_for]
    sends = " and ".join(ways) if ways else "neither by mail nor by webhook"
    return f"{raised}; the cue tells of failures {sends}."
