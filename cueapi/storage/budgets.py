"""Budgets of groups and of accounts: set, list, delete. The statements that make executions count in these rows."""

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from typing import Any, LiteralString, NamedTuple

from cueapi.domain.audit import Act
from cueapi.storage.database import Executor, Row
from cueapi.storage.numbers import decimal
from cueapi.storage.statements import load


class BudgetColumns:
    """A budget, and what is used of it in the present period."""

    scope: str
    budget_per: str
    budget_max_runs: int | None
    budget_max_cost: float | None
    budget_on_limit: str
    budget_warn_at: float
    budget_used_runs: int
    budget_used_cost: float
    budget_resets_at: datetime
    budget_state: str


class BudgetRow(BudgetColumns, Row):
    """A budget of a group or of the account."""


COLUMNS: LiteralString = """
b.scope, b.per as budget_per, b.max_runs as budget_max_runs, b.max_cost::float8 as budget_max_cost,
b.on_limit as budget_on_limit, b.warn_at::float8 as budget_warn_at,
case when b.begins_at >= budget_begin(b.per, 'UTC') then b.runs else 0 end as budget_used_runs,
case when b.begins_at >= budget_begin(b.per, 'UTC') then b.cost::float8 else 0 end as budget_used_cost,
budget_end(b.per, 'UTC') as budget_resets_at,
case when b.begins_at >= budget_begin(b.per, 'UTC')
     then budget_state(b.runs, b.cost, b.max_runs, b.max_cost, b.warn_at) else 'ok' end as budget_state
"""

LIST: LiteralString = (
    "select " + COLUMNS + " from budgets b where b.user_id = $1 and ($2::text is null or b.scope > $2)"
    " and ($4::text[] is null or b.scope = any ($4::text[]))"
    " order by b.scope limit $3"
)  # fmt: skip


async def listed(
    db: Executor, *, user: int, after: str | None, limit: int, scopes: Collection[str] | None = None
) -> list[BudgetRow]:
    """The budgets of an account (of *scopes*, where given) behind one of them, by their scopes: its own first."""
    return await db.fetch(LIST, user, after, limit, None if scopes is None else list(scopes), row=BudgetRow)


SHOW: LiteralString = "select " + COLUMNS + " from budgets b where b.user_id = $1 and b.scope = $2"


async def show(db: Executor, *, user: int, scope: str) -> BudgetRow | None:
    """One budget; None where there is none."""
    return await db.fetch_one(SHOW, user, scope, row=BudgetRow)


class SetBudgetRow(BudgetColumns, Row):
    """A budget that was set, and the types of the alerts that its new limits have raised."""

    alerts: list[str]


class BudgetValues(NamedTuple):
    """What a budget is set to."""

    user: int
    scope: str
    per: str
    max_runs: int | None
    max_cost: Decimal | None
    on_limit: str
    warn_at: Decimal | None
    act: str


SET = load("set_budget", BudgetValues._fields, columns=COLUMNS)


async def put(db: Executor, *, user: int, scope: str, budget: dict[str, Any], act: Act) -> SetBudgetRow:
    """Set the budget of a group or of the account."""
    values = BudgetValues(
        user, scope, budget["per"], budget["max_runs"], decimal(budget["max_cost"]), budget["on_limit"],
        decimal(budget["warn_at"]), act.text(),
    )  # fmt: skip
    row = await db.fetch_one(SET, *values, row=SetBudgetRow)
    assert row is not None
    return row


DELETE = """
with gone as (
    delete from budgets where user_id = $1 and scope = $2 returning scope, per, max_runs, max_cost, on_limit, warn_at
)
select write_audit($1, $3::json, 'budget.deleted', 'budget', scope, scope, json_build_array(
           json_build_object('path', 'budget', 'from', to_json(g), 'to', null)))
  from gone g
"""


async def delete(db: Executor, *, user: int, scope: str, act: Act) -> bool:
    """Delete a budget; False where there is none."""
    return await db.execute(DELETE, user, scope, act.text()) > 0
