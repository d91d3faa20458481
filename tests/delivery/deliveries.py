"""Deliveries as the tests need them."""

from datetime import UTC, datetime
from uuid import UUID

from cueapi.domain.attempt import Delivery
from cueapi.domain.retry import Retry
from cueapi.storage.clock import steady


def delivery_of(*, attempt: int = 1, retry: Retry | None = None, outcome_deadline: float | None = None) -> Delivery:
    """The first attempt of an execution, with three to follow after 1, 5 and 15 minutes."""
    return Delivery(
        execution_id=UUID(int=7),
        cue_id="cue_abcdefghijkl",
        cue_name="morning",
        user_id=1,
        claim=UUID(int=8),
        attempt=attempt,
        scheduled_for=datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC),
        method="POST",
        url="http://handler.test/",
        headers={},
        body=b"{}",
        secrets=("whsec_" + "a" * 64,),
        report_url="http://cueapi.test/v1/report/run_token",
        timeout=30.0,
        host="handler.test:80",
        retry=retry or Retry(),
        outcome_deadline=outcome_deadline,
        claimed_at=steady(),
    )
