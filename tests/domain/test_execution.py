"""The legal steps of an execution."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from cueapi.domain.errors import Refusal
from cueapi.domain.execution import (
    FINAL,
    LOST_CLAIMS_ALLOWED,
    AlertType,
    Fence,
    Status,
    attempt_failed,
    claim_lost,
    deadline_passed,
    released,
    succeeded,
    unclaimed,
)
from cueapi.domain.outcome import Evidence, Report
from cueapi.domain.reporting import ExecutionState, apply_report
from cueapi.domain.retry import DEFAULT_RETRY, NO_RETRY, Retry
from cueapi.domain.verification import VerificationRules, verify

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
GOOD, BAD = Report(success=True), Report(success=False, error="no paper")


def fence(attempts: int = 1, status: Status = Status.DELIVERING, outcome: int | None = None) -> Fence:
    return Fence(UUID(int=7), UUID(int=8), attempts, status, outcome)


def state(
    status: Status = Status.DELIVERING,
    *,
    attempts: int = 1,
    outcome: int = -1,
    transport: str = "webhook",
    held_by: str | None = None,
    mode: str = "none",
    retry: Retry = DEFAULT_RETRY,
) -> ExecutionState:
    return ExecutionState(fence(attempts, status, outcome), transport, VerificationRules(mode), retry, held_by, NOW)


def test_a_failed_attempt_with_attempts_left_is_followed_by_the_next_after_its_pause() -> None:
    step = attempt_failed(fence(2), DEFAULT_RETRY, error="refused")

    assert (step.status, step.pause, step.ends) == (Status.RETRYING, 300.0, False)
    assert (step.consecutive_failures, step.alert, step.logged_as) == (None, None, "failed")


@pytest.mark.parametrize(("attempts", "retry"), [(4, DEFAULT_RETRY), (1, NO_RETRY), (1, Retry(1)), (9, Retry(2))])
def test_a_failed_attempt_with_none_left_ends_it_and_somebody_is_told(attempts: int, retry: Retry) -> None:
    step = attempt_failed(fence(attempts), retry)

    assert (step.status, step.pause, step.ends) == (Status.FAILED, None, True)
    assert (step.consecutive_failures, step.alert) == (1, AlertType.EXECUTION_FAILED)


@pytest.mark.parametrize(("at_least", "pause"), [(0.0, 60.0), (59.0, 60.0), (61.0, 61.0)])
def test_the_next_attempt_comes_no_earlier_than_the_handler_says(at_least: float, pause: float) -> None:
    assert attempt_failed(fence(), DEFAULT_RETRY, at_least=at_least).pause == pause


@pytest.mark.parametrize(("attempts", "status"), [(1, Status.PENDING), (2, Status.RETRYING), (4, Status.RETRYING)])
def test_what_is_released_is_the_same_attempt_at_once(attempts: int, status: Status) -> None:
    step = released(fence(attempts))

    assert (step.status, step.pause, step.released, step.logged_as) == (status, 0.0, True, None)
    assert not step.claim_lost


@given(st.integers(0, 20))
def test_a_lost_claim_is_the_same_attempt_until_it_was_lost_too_often_in_a_row(lost_claims: int) -> None:
    step = claim_lost(fence(), DEFAULT_RETRY, lost_claims=lost_claims)

    assert step.released is step.claim_lost is (lost_claims + 1 < LOST_CLAIMS_ALLOWED)
    assert (step.logged_as == "failed") is not step.released


def test_a_delivery_that_kills_daemons_ends() -> None:
    step = claim_lost(fence(4), DEFAULT_RETRY, lost_claims=4)

    assert (step.status, step.alert) == (Status.FAILED, AlertType.EXECUTION_FAILED)


def test_what_no_worker_came_for_is_missed_and_a_failure_in_the_row() -> None:
    step = unclaimed(fence(0, Status.PENDING))

    assert (step.status, step.consecutive_failures, step.alert) == (Status.MISSED, 1, AlertType.MISSED_RUN)


@pytest.mark.parametrize(
    ("attempts", "status", "alert", "consecutive_failures"),
    [(1, Status.RETRYING, None, None), (4, Status.OUTCOME_TIMEOUT, AlertType.OUTCOME_TIMEOUT, 1)],
    ids=["tries left", "none left"],
)
def test_a_deadline_that_passes_is_a_failed_attempt(
    attempts: int, status: Status, alert: AlertType | None, consecutive_failures: int | None
) -> None:
    step = deadline_passed(fence(attempts, Status.SUCCESS), DEFAULT_RETRY)

    assert (step.status, step.alert, step.consecutive_failures, step.logged_as) == (
        status,
        alert,
        consecutive_failures,
        "outcome_timeout",
    )


OPEN = [Status.PENDING, Status.DELIVERING, Status.RETRYING]


@pytest.mark.parametrize("status", OPEN)
@pytest.mark.parametrize("attempts", [0, 1, 4])
def test_a_success_report_is_final_whenever_it_comes(status: Status, attempts: int) -> None:
    step = apply_report(state(status, attempts=attempts), GOOD, worker_id=None)

    assert (step.status, step.ends, step.consecutive_failures, step.alert) == (Status.SUCCESS, True, 0, None)
    assert (step.verification and step.verification.state, step.logged_as) == ("reported_success", "success")


def test_a_failure_report_of_the_attempt_under_way_is_a_failed_attempt() -> None:
    step = apply_report(state(attempts=2), BAD, worker_id=None)

    assert (step.status, step.pause, step.report) == (Status.RETRYING, 300.0, BAD)
    assert (step.verification and step.verification.state, step.logged_as) == ("reported_failure", "reported_failure")


@pytest.mark.parametrize("status", [Status.PENDING, Status.RETRYING])
def test_a_failure_report_between_two_attempts_leaves_the_next_one_where_it_is(status: Status) -> None:
    step = apply_report(state(status), BAD, worker_id=None)

    assert (step.status, step.pause, step.ends) == (status, None, False)
    assert step.verification is not None
    assert (step.verification.state, step.consecutive_failures, step.alert) == ("reported_failure", None, None)


@pytest.mark.parametrize("status", OPEN)
def test_a_failure_report_that_asks_for_no_retry_is_final(status: Status) -> None:
    step = apply_report(state(status), evolve(BAD, retry=False), worker_id=None)

    assert (step.status, step.consecutive_failures, step.alert) == (Status.FAILED, 1, AlertType.EXECUTION_FAILED)


def test_a_failure_report_on_the_last_attempt_is_final() -> None:
    step = apply_report(state(attempts=4), BAD, worker_id=None)

    assert (step.status, step.consecutive_failures, step.alert) == (Status.FAILED, 1, AlertType.EXECUTION_FAILED)


@pytest.mark.parametrize("status", sorted(FINAL))
@pytest.mark.parametrize("report", [GOOD, BAD], ids=["success", "failure"])
def test_a_report_on_what_has_ended_is_stored_and_the_status_stays(status: Status, report: Report) -> None:
    step = apply_report(state(status), report, worker_id=None)

    assert (step.status, step.report, step.pause) == (status, report, None)
    assert step.consecutive_failures == (0 if report.success else 1 if status is Status.SUCCESS else None)


def test_a_failure_posted_for_what_was_delivered_leaves_success_and_somebody_is_told() -> None:
    step = apply_report(state(Status.SUCCESS), BAD, worker_id=None)

    assert (step.status, step.alert, step.consecutive_failures) == (Status.SUCCESS, AlertType.EXECUTION_FAILED, 1)


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize(("outcome", "again"), [(-1, True), (1, True), (2, False)], ids=["none", "earlier", "this"])
def test_one_report_counts_for_each_attempt(status: Status, outcome: int, *, again: bool) -> None:
    def tell() -> None:
        apply_report(state(status, attempts=2, outcome=outcome), GOOD, worker_id=None)

    if again:
        tell()
    else:
        with pytest.raises(Refusal, match="already recorded") as refused:
            tell()
        assert refused.value.code == "outcome_already_recorded"


@pytest.mark.parametrize(
    ("held_by", "worker_id", "allowed"),
    [("a", "a", True), ("a", None, True), (None, "a", True), (None, None, True), ("a", "b", False)],
    ids=["the holder", "who does not say", "nobody holds it", "neither", "a stranger"],
)
def test_a_worker_that_says_who_it_is_must_be_the_holder(
    held_by: str | None, worker_id: str | None, *, allowed: bool
) -> None:
    found = state(transport="worker", held_by=held_by)

    if allowed:
        assert apply_report(found, GOOD, worker_id=worker_id).status is Status.SUCCESS
    else:
        with pytest.raises(Refusal) as refused:
            apply_report(found, GOOD, worker_id=worker_id)
        assert refused.value.code == "not_execution_owner"


def test_a_stranger_is_told_that_it_is_one_before_anything_else() -> None:
    with pytest.raises(Refusal) as refused:
        apply_report(state(held_by="a", outcome=1), GOOD, worker_id="b")

    assert refused.value.code == "not_execution_owner"


@pytest.mark.parametrize(
    ("evidence", "consecutive_failures"), [(Evidence(external_id="x"), 0), (Evidence(), None)], ids=["there", "missing"]
)
def test_success_without_its_evidence_leaves_the_row_of_failures(
    evidence: Evidence, consecutive_failures: int | None
) -> None:
    step = succeeded(fence(), GOOD, verify(VerificationRules("require_external_id"), evolve(GOOD, evidence=evidence)))

    assert (step.status, step.consecutive_failures) == (Status.SUCCESS, consecutive_failures)


@given(
    st.sampled_from(list(Status)),
    st.integers(0, 6),
    st.integers(-1, 6),
    st.booleans(),
    st.booleans(),
    st.integers(0, 5),
)
def test_no_report_leads_out_of_the_states_that_are_left_to_it(
    status: Status, attempts: int, outcome: int, success: bool, retry: bool, tries: int
) -> None:
    found = state(status, attempts=attempts, outcome=outcome, retry=Retry(tries))
    report = Report(success=success, retry=retry)

    try:
        step = apply_report(found, report, worker_id=None)
    except Refusal:
        assert 0 <= attempts <= outcome
        return

    legal = {status} if status in FINAL else {Status.SUCCESS} if success else {status, Status.RETRYING, Status.FAILED}
    assert step.status in legal
    assert step.fence is found.fence
    assert (step.status is Status.FAILED and status not in FINAL) is (
        step.status is Status.FAILED and step.consecutive_failures == 1
    )
