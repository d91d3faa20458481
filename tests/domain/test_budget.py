"""What a budget is merged to, and what an outcome costs."""

from datetime import UTC, datetime, timedelta

import pytest

from cueapi.domain.budget import COST_LIMIT, cost_of, merged_budget
from cueapi.domain.errors import Invalid, Refusal
from cueapi.domain.hold import LONGEST, hold_until

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
DAILY = {"per": "day", "max_runs": 5, "max_cost": None, "on_limit": "skip", "warn_at": 0.8}


def test_what_is_left_out_has_its_default_or_stays() -> None:
    assert merged_budget(None, {"per": "day", "max_runs": 5}) == DAILY
    assert merged_budget(DAILY, {"on_limit": "pause"}) == DAILY | {"on_limit": "pause"}
    assert merged_budget(DAILY, {"max_runs": None, "max_cost": 1}) == DAILY | {"max_runs": None, "max_cost": 1}
    assert merged_budget(DAILY, None) is None
    assert merged_budget(None, {}) is None


def test_a_budget_needs_a_period_and_a_limit() -> None:
    for before, given, field in ((None, {"max_runs": 5}, "body.budget.per"), (DAILY, {"max_runs": None}, "max_runs")):
        with pytest.raises(Invalid, match=field):
            merged_budget(before, given)


@pytest.mark.parametrize(
    ("cost", "counts"), [(0.1, 0.1), (3, 3.0), (0, None), (-1, None), (True, None), ("1", None), (1e300, COST_LIMIT)]
)
def test_a_cost_is_a_number_from_nought(cost: object, counts: float | None) -> None:
    assert cost_of({"cost": cost}) == counts
    assert cost_of(None) is None


@pytest.mark.parametrize("ahead", [timedelta(seconds=1), LONGEST], ids=str)
def test_a_hold_ends_at_a_moment_within_a_year(ahead: timedelta) -> None:
    assert hold_until((NOW + ahead).isoformat(), NOW) == NOW + ahead


@pytest.mark.parametrize("ahead", [timedelta(0), -timedelta(days=1), LONGEST + timedelta(seconds=1)], ids=str)
def test_a_hold_ends_neither_in_the_past_nor_beyond_a_year(ahead: timedelta) -> None:
    with pytest.raises(Refusal, match="until") as refused:
        hold_until((NOW + ahead).isoformat(), NOW)

    assert refused.value.code == "invalid_schedule"
