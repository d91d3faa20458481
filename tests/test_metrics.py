"""What is counted of attempts, executions and outcomes is what came of them."""

import threading

import pytest
import trio
from attrs import evolve
from prometheus_client.parser import text_string_to_metric_families

from cueapi.domain.attempt import Answered, Result, Unreachable, evaluate_attempt
from cueapi.domain.execution import (
    Fence,
    Status,
    Transition,
    deadline_passed,
    released,
    unclaimed,
)
from cueapi.domain.outcome import Evidence, Report
from cueapi.domain.reporting import ExecutionState, apply_report
from cueapi.domain.retry import DEFAULT_RETRY, NO_RETRY, Retry
from cueapi.domain.verification import VerificationRules
from cueapi.metrics import Gauge, Metrics, Values
from tests.delivery.deliveries import delivery_of
from tests.storage.rows import ago

FENCE = delivery_of().fence
GOOD, BAD = Report(success=True), Report(success=False, error="no paper")


def counted(metrics: Metrics) -> dict[str, float]:
    """Every counter that is not 0, by its name without our prefix, and the value of its last label."""
    samples = [one for family in text_string_to_metric_families(metrics.text()().decode()) for one in family.samples]
    return {
        " ".join([one.name.removeprefix("cueapi_").removesuffix("_total"), *one.labels.values()]): one.value
        for one in samples
        if one.name.endswith("_total") and one.value
    }


def attempt(result: Result, retry: Retry = NO_RETRY, **changes: object) -> Transition:
    """What the first attempt of a webhook comes to."""
    return evaluate_attempt(evolve(delivery_of(retry=retry), **changes), result, duration=0.1, now=ago())


def reported(report: Report, status: Status, *, mode: str = "none", retry: Retry = NO_RETRY) -> Transition:
    """What a report on the first attempt of an execution in *status* comes to."""
    fence = Fence(FENCE.execution_id, FENCE.claim, 1, status, -1)
    return apply_report(
        ExecutionState(fence, "webhook", VerificationRules(mode), retry, None, ago()), report, worker_id=None
    )


TOLD_BAD = Answered(200, b'{"success": false}')
COUNTED: dict[str, tuple[Transition, set[str]]] = {
    "taken": (attempt(Answered(202)), {"attempts_settled delivered", "executions_ended success"}),
    "taken and done": (
        attempt(Answered(200, b'{"success": true}')),
        {"attempts_settled success", "executions_ended success", "outcomes_recorded reported_success"},
    ),
    "taken and not done": (
        attempt(TOLD_BAD),
        {"attempts_settled reported_failure", "executions_ended failed", "outcomes_recorded reported_failure"},
    ),
    "taken, not done, again": (
        attempt(TOLD_BAD, DEFAULT_RETRY),
        {"attempts_settled reported_failure", "attempts_retried", "outcomes_recorded reported_failure"},
    ),
    "refused": (attempt(Answered(500)), {"attempts_settled failed", "executions_ended failed"}),
    "not reached, again": (
        attempt(Unreachable("no answer"), DEFAULT_RETRY),
        {"attempts_settled failed", "attempts_retried"},
    ),
    "released": (released(FENCE), {"attempts_settled released"}),
    "claimed by no worker": (unclaimed(FENCE), {"executions_ended missed"}),
    "too late": (
        deadline_passed(FENCE, NO_RETRY),
        {"attempts_settled outcome_timeout", "executions_ended outcome_timeout"},
    ),
    "done by a worker": (
        reported(GOOD, Status.DELIVERING),
        {"attempts_settled success", "executions_ended success", "outcomes_recorded reported_success"},
    ),
    "done by a worker, without evidence": (
        reported(GOOD, Status.DELIVERING, mode="require_external_id"),
        {"attempts_settled success", "executions_ended success", "outcomes_recorded verification_failed"},
    ),
    "not done by a worker": (
        reported(BAD, Status.DELIVERING, retry=DEFAULT_RETRY),
        {"attempts_settled reported_failure", "attempts_retried", "outcomes_recorded reported_failure"},
    ),
    "taken before, and done": (reported(GOOD, Status.SUCCESS), {"outcomes_recorded reported_success"}),
    "taken before, and not done": (reported(BAD, Status.SUCCESS), {"outcomes_recorded reported_failure"}),
    "taken before, with evidence": (
        reported(Report(success=True, evidence=Evidence("x")), Status.SUCCESS, mode="require_external_id"),
        {"outcomes_recorded verified_success"},
    ),
    "failed before, and not done": (
        reported(BAD, Status.RETRYING, retry=DEFAULT_RETRY),
        {"outcomes_recorded reported_failure"},
    ),
    "failed before, and done after all": (
        reported(GOOD, Status.RETRYING),
        {"executions_ended success", "outcomes_recorded reported_success"},
    ),
}


@pytest.mark.parametrize(("transition", "expected"), COUNTED.values(), ids=COUNTED)
def test_an_attempt_counts_once_as_what_came_of_it_and_a_report_as_an_outcome(
    transition: Transition, expected: set[str]
) -> None:
    metrics = Metrics()

    metrics.settled(transition)

    assert counted(metrics) == dict.fromkeys(expected, 1)


def test_a_counter_is_there_before_anything_was_counted() -> None:
    families = {family.name: family for family in text_string_to_metric_families(Metrics().text()().decode())}

    assert {one.labels["state"] for one in families["cueapi_outcomes_recorded"].samples} == {
        "reported_success", "reported_failure", "verified_success", "verification_failed", "verification_pending",
    }  # fmt: skip
    assert len(families["cueapi_notification_attempts"].samples) == 27


async def test_the_text_is_made_in_any_thread_of_gauges_that_were_read_in_the_event_loop_s() -> None:
    metrics, read_in = Metrics(), []

    def read() -> Values:
        read_in.append(threading.get_ident())
        return [((), 7)]

    metrics.read(Gauge("cueapi_places", "Places.", (), read))
    text = await trio.to_thread.run_sync(metrics.text())

    assert b"cueapi_places 7.0" in text
    assert b"cueapi_executions_fired_total" in text
    assert read_in == [threading.get_ident()]
