"""What keeps, or may keep, the executions of a cue from their handler: what its `warning` says."""

from typing import LiteralString

WARNING: LiteralString = """case when c.status = 'paused' and c.pause_reason is not null then c.pause_reason
     when c.parked_run is not null and c.next_run is null
     then 'Its time came while the account was held: it fires when that is released.'
     when c.transport = 'worker'
          and not exists (select from workers w
                           where w.user_id = c.user_id and w.last_heartbeat > now() - interval '180 seconds')
     then 'No worker is alive: executions wait until one sends a heartbeat and claims them.'
     else c.warning end as warning"""
