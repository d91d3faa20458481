"""Every budget of an account, with what is used of it: its own, those of its groups, and those of its cues."""

from typing import LiteralString

from cueapi.storage import budgets
from cueapi.storage.budgets import BudgetColumns
from cueapi.storage.cue_budgets import BUDGET
from cueapi.storage.database import Executor, Row

BUDGETS = 200
"""How many a page shows at most."""


class ShownBudget(BudgetColumns, Row):
    """A budget and its use; of a cue's the *cue_name*."""

    cue_id: str | None
    cue_name: str | None


ALL: LiteralString = (
    "(select null::text as cue_id, null::text as cue_name, " + budgets.COLUMNS + " from budgets b"
    "  where b.user_id = $1 order by b.scope limit $2) union all "
    "(select c.id, c.name, 'cue:' || c.id, c.budget_per, c.budget_max_runs, budget_max_cost, budget_on_limit,"
    "        budget_warn_at, budget_used_runs, budget_used_cost, budget_resets_at, budget_state"
    "   from (select c.id, c.name, c.budget_per, c.budget_max_runs" + BUDGET + " from cues c"
    "          where c.user_id = $1 and c.budget_per is not null and c.deleted_at is null order by c.id limit $2) c)"
)  # fmt: skip


async def read(db: Executor, user: int) -> list[ShownBudget]:
    """The budgets of *user*: the account's first, then those of groups and of cues; one more than a page shows."""
    return await db.fetch(ALL, user, BUDGETS + 1, row=ShownBudget)
