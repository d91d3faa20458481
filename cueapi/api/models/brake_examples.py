"""Examples for what is said of brakes: holds and budgets."""

from typing import Any

from pydantic import BaseModel

from cueapi.api.models.requests import budgets as budget_bodies
from cueapi.api.models.requests import holds as hold_bodies
from cueapi.api.models.responses import budgets, holds

# Without `until`: any moment that is written here is past some day.
HOLD = {"reason": "The agents loop.", "mode": "everything"}
BUDGET = {"per": "day", "max_runs": 100, "max_cost": 5.0, "on_limit": "skip", "warn_at": 0.8}
USED = {
    **BUDGET, "scope": "group:briefs", "used_runs": 84, "used_cost": 3.2, "resets_at": "2026-06-03T00:00:00Z",
    "state": "warned",
}  # fmt: skip

BODIES: dict[type[BaseModel], Any] = {hold_bodies.HoldBody: HOLD, budget_bodies.ScopeBudgetBody: BUDGET}

ANSWERS: dict[type[BaseModel], Any] = {
    holds.Hold: {
        **HOLD, "held": True, "until": None, "since": "2026-06-02T16:00:31.550419Z",
        "by": {"kind": "session", "id": None, "name": "you@example.com"},
    },
    budgets.ScopeBudget: USED,
    budgets.BudgetList: {"budgets": [USED], "has_more": False, "next_cursor": None},
}  # fmt: skip
