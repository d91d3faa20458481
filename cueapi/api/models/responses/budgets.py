"""Answers about budgets."""

from typing import Annotated, ClassVar

from pydantic import BaseModel, Field

from cueapi.api.models.rendering import Columns
from cueapi.api.models.responses.cues import Budget, BudgetUse


class ScopeBudget(BudgetUse, Budget):
    """A budget, and what is used of it."""

    columns: ClassVar[Columns] = {**Budget.columns, **BudgetUse.columns}

    scope: Annotated[str, Field(pattern="^(account|group:.+)$")] = Field(
        description="What it is the budget of: `account`, or `group:` and the name of a group."
    )


class BudgetList(BaseModel):
    """Budgets, by their scopes."""

    budgets: list[ScopeBudget] = Field(description="The budgets of this page.")
    has_more: bool = Field(description="Whether more follow.")
    next_cursor: str | None = Field(description="`cursor` of the next page; null at the end.")
