"""What follows from the report of one attempt, by its token."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cueapi.domain.assertion import Assertion
from cueapi.domain.errors import Refusal
from cueapi.domain.execution import FINAL, AlertType, Fence, Status
from cueapi.domain.outcome import Report
from cueapi.domain.reporting import ExecutionState, apply_attempt_report, apply_report
from cueapi.domain.retry import DEFAULT_RETRY, NO_RETRY, Retry
from cueapi.domain.verification import NO_RULES, VerificationRules

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
GOOD, BAD = Report(success=True), Report(success=False, error="no paper")
ASKS = VerificationRules(assertions=(Assertion("metadata.items", ">=", 1),))
FAILS = VerificationRules(assertions=ASKS.assertions, on_failed="fail")


def state(
    status: str = "delivering",
    *,
    attempts: int = 2,
    outcome: int = -1,
    rules: VerificationRules = NO_RULES,
    retry: Retry = DEFAULT_RETRY,
) -> ExecutionState:
    return ExecutionState(Fence(UUID(int=7), None, attempts, status, outcome), "webhook", rules, retry, None, NOW)


def refused(found: ExecutionState, report: Report, attempt: int) -> str:
    with pytest.raises(Refusal) as refusal:
        apply_attempt_report(found, report, attempt=attempt)
    return refusal.value.code


@pytest.mark.parametrize("status", ["pending", "delivering", "retrying"])
@pytest.mark.parametrize("attempt", [1, 2, 3])
@pytest.mark.parametrize("outcome", [-1, 1, 2])
def test_a_success_of_any_attempt_ends_what_is_unfinished(status: str, attempt: int, outcome: int) -> None:
    step = apply_attempt_report(state(status, outcome=outcome), GOOD, attempt=attempt)

    assert (step.status, step.reported_attempt, step.fence.attempts) == (Status.SUCCESS, attempt, 2)
    assert step.consecutive_failures == 0


@pytest.mark.parametrize("status", list(Status))
def test_a_failure_of_an_earlier_attempt_counts_in_no_status(status: Status) -> None:
    assert refused(state(status), BAD, 1) == "attempt_is_over"


def test_a_failure_of_the_present_attempt_counts_once() -> None:
    step = apply_attempt_report(state(), BAD, attempt=2)

    assert (step.status, step.error, step.reported_attempt) == (Status.RETRYING, "no paper", 2)
    assert refused(state("retrying", outcome=2), BAD, 2) == "outcome_already_recorded"


@pytest.mark.parametrize("status", sorted(FINAL))
def test_what_has_ended_keeps_its_status_and_takes_one_report(status: Status) -> None:
    step = apply_attempt_report(state(status), GOOD, attempt=1)

    assert (step.status, step.is_late) == (status, True)
    assert refused(state(status, outcome=2), GOOD, 2) == "outcome_already_recorded"


@pytest.mark.parametrize(
    ("retry", "status", "alert"),
    [(DEFAULT_RETRY, Status.RETRYING, None), (NO_RETRY, Status.FAILED, AlertType.EXECUTION_FAILED)],
    ids=["attempts left", "none left"],
)
def test_a_success_that_fails_its_verification_may_be_a_failed_attempt(
    retry: Retry, status: Status, alert: AlertType | None
) -> None:
    step = apply_report(state(rules=FAILS, retry=retry), GOOD, worker_id=None)

    assert (step.status, step.alert, step.logged_as) == (status, alert, "verification_failed")
    assert step.error == "metadata.items is missing, wanted >= 1."
    assert step.verification is not None
    assert (step.verification.state, step.reason) == ("verification_failed", "The outcome does not meet an assertion.")


def test_such_a_success_is_no_success_of_an_earlier_attempt_either() -> None:
    assert refused(state(rules=FAILS), GOOD, 1) == "attempt_is_over"


def test_it_is_kept_where_it_is_not_asked_to_fail_and_leaves_the_failures_in_a_row() -> None:
    step = apply_attempt_report(state(rules=ASKS), GOOD, attempt=1)

    assert (step.status, step.consecutive_failures, step.alert) == (Status.SUCCESS, None, None)
    assert step.verification is not None
    assert step.verification.state == "verification_failed"


def test_after_a_delivery_it_counts_as_a_failure_that_is_reported_late() -> None:
    step = apply_report(state("success", rules=FAILS), GOOD, worker_id=None)

    assert (step.status, step.consecutive_failures, step.alert) == (Status.SUCCESS, 1, AlertType.EXECUTION_FAILED)


@given(
    st.sampled_from(list(Status)), st.integers(0, 4), st.integers(-1, 4), st.integers(1, 5), st.booleans(),
    st.booleans(), st.sampled_from([NO_RULES, ASKS, FAILS]),
)  # fmt: skip
def test_no_report_by_token_ends_what_has_ended_or_fails_for_an_earlier_attempt(
    status: Status, attempts: int, outcome: int, attempt: int, success: bool, retry: bool, rules: VerificationRules
) -> None:
    found, report = state(status, attempts=attempts, outcome=outcome, rules=rules), Report(success, retry=retry)
    try:
        step = apply_attempt_report(found, report, attempt=attempt)
    except Refusal:
        assert attempt < attempts or attempts <= outcome
        return

    assert (
        step.status == status
        if status in FINAL
        else step.status in {Status.SUCCESS, Status.FAILED, Status.RETRYING, status}
    )
    assert (step.fence, step.reported_attempt) == (found.fence, attempt)
    fails = not success or rules is FAILS
    assert not fails or attempt >= attempts
    assert step.status is not Status.SUCCESS or status is Status.SUCCESS or not fails
