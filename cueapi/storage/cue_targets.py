"""Whether the host that a cue calls serves, as a column of the cue."""

from typing import LiteralString

# Null of a worker cue: it has no target.
TARGET_STATE: LiteralString = """case when c.transport = 'webhook'
     then coalesce((select t.state from targets t where t.user_id = c.user_id and t.host = c.callback_host), 'closed')
     end as target_state"""
