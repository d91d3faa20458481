"""Faults: what is broken, and what was in flight in that moment."""

from cueapi.storage.postgres import Database
from tests.chaos.ledger import Try

IN_FLIGHT = """
select e.id, e.attempts
  from outbox o
  join executions e on e.id = o.execution_id
 where o.claimed_by = coalesce($1, o.claimed_by)
"""


async def in_flight(database: Database, daemon: int | None = None) -> frozenset[Try]:
    """The tries that some daemon holds, or the one of that number."""
    rows = await database.fetch(IN_FLIGHT, daemon)
    return frozenset((str(row["id"]), row["attempts"]) for row in rows)
