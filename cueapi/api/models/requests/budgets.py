"""Bodies about budgets."""

from cueapi.api.models.requests.bodies import ReasonBody
from cueapi.api.models.requests.cues import BudgetFields


class ScopeBudgetBody(ReasonBody, BudgetFields):
    """How much a group, or the account, may run in a period of the calendar in UTC."""
