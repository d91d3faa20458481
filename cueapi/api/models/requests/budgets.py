"""Bodies about budgets."""

from cueapi.api.models.requests.bodies import Closed
from cueapi.api.models.requests.cues import BudgetFields


class ScopeBudgetBody(Closed, BudgetFields):
    """How much a group, or the account, may run in a period of the calendar in UTC."""
