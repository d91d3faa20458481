"""A budget: how much a cue, a group or an account may run in a period, and what follows at its limit."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cueapi.domain.clock import iso
from cueapi.domain.errors import Invalid, Problem, Refusal

DEFAULTS: dict[str, Any] = {"on_limit": "skip", "warn_at": 0.8}

BUDGET_FIELDS = ("per", "max_runs", "max_cost", "on_limit", "warn_at")
"""What a budget says."""

SCOPE = re.compile(r"account|group:[a-z0-9][a-z0-9._-]{0,62}")

COST_LIMIT = 1e15
"""The most that one outcome may cost; what says more counts as that."""


def merged_budget(
    before: Mapping[str, Any] | None, given: Mapping[str, Any] | None, *, path: str = "body.budget"
) -> dict[str, Any] | None:
    """
    The budget *before* with what was *given* at *path*; null clears it, and in it a limit.

    Refuses one without a period, or without any limit.
    """
    if given is None:
        return None
    if before is None and not given:
        return None
    budget = {**DEFAULTS, "max_runs": None, "max_cost": None, **(before or {}), **given}
    if budget.get("per") is None:
        raise Invalid(Problem(f"{path}.per", "must be hour, day, week or month"))
    if budget["max_runs"] is None and budget["max_cost"] is None:
        raise Invalid(Problem(f"{path}.max_runs", "give max_runs, max_cost, or both"))
    return budget


def cost_of(metadata: Mapping[str, Any] | None) -> float | None:
    """What an outcome says that its work has cost: `metadata.cost`, a number from 0; None where it says nothing."""
    cost = (metadata or {}).get("cost")
    if isinstance(cost, bool) or not isinstance(cost, int | float) or cost <= 0:
        return None
    return float(min(cost, COST_LIMIT))


def budget_reached(sentence: str, ends: datetime | None) -> Refusal:
    """Why nothing can be fired by hand until the next period."""
    return Refusal("budget_reached", f"{sentence}.", resets_at=ends and iso(ends))
