"""Where the handlers of all accounts are."""

from cueapi.storage.database import Executor, fetch_value

ELSEWHERE = """
select callback_host
  from cues
 where deleted_at is null
   and status in ('active', 'paused')
   and transport = 'webhook'
   and callback_host !~ '^(localhost|.*[.]localhost|127[.][0-9.]+|.*::1\\]?):[0-9]+$'
 limit 1
"""


async def host_elsewhere(db: Executor) -> str | None:
    """The host of a handler on another machine than this one; None where there is none."""
    return await fetch_value(db, ELSEWHERE, kind=str)
