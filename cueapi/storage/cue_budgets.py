"""The budget of a cue as it is shown: its settings, and what is used of it in the present period of its zone."""

from typing import LiteralString

BUDGET_COLUMNS = (
    "budget_max_cost", "budget_on_limit", "budget_warn_at", "budget_used_runs", "budget_used_cost", "budget_resets_at",
    "budget_state",
)  # fmt: skip

# Of a cue without a budget nothing is computed.
BUDGET: LiteralString = """, c.budget_max_cost::float8 as budget_max_cost,
case when c.budget_per is not null then c.budget_on_limit end as budget_on_limit,
case when c.budget_per is not null then c.budget_warn_at::float8 end as budget_warn_at,
case when c.budget_per is not null
     then case when c.budget_begins_at >= budget_begin(c.budget_per, c.timezone) then c.budget_runs else 0 end
     end as budget_used_runs,
case when c.budget_per is not null
     then case when c.budget_begins_at >= budget_begin(c.budget_per, c.timezone) then c.budget_cost::float8 else 0 end
     end as budget_used_cost,
case when c.budget_per is not null then budget_end(c.budget_per, c.timezone) end as budget_resets_at,
case when c.budget_per is not null
     then case when c.budget_begins_at >= budget_begin(c.budget_per, c.timezone)
               then budget_state(c.budget_runs, c.budget_cost, c.budget_max_runs, c.budget_max_cost, c.budget_warn_at)
               else 'ok' end
     end as budget_state"""
