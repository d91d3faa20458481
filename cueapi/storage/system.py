"""What the page about the system shows of PostgreSQL and of the daemons on it."""

from datetime import datetime

from cueapi.storage.database import Executor, Row


class ServerFacts(Row):
    """PostgreSQL: its version, its start, the size of the database in bytes, its connections and their limit."""

    version: str
    started_at: datetime
    size: int
    connections: int
    most_connections: int


FACTS = """
select current_setting('server_version') as version, pg_postmaster_start_time() as started_at,
       pg_database_size(current_database()) as size,
       (select coalesce(sum(numbackends), 0) from pg_stat_database)::bigint as connections,
       current_setting('max_connections')::int as most_connections
"""


async def facts(db: Executor) -> ServerFacts | None:
    """What PostgreSQL says of itself."""
    return await db.fetch_one(FACTS, row=ServerFacts)


class DaemonRow(Row):
    """A daemon: its number, where it runs, since when, and whether it is thought to be alive."""

    number: int
    instance: str
    started_at: datetime
    alive: bool
    tzdata: str


DAEMONS = """
select number, instance, started_at, number in (select number from living_daemons) as alive,
       coalesce((select value from meta where key = 'tzdata'), '') as tzdata
  from daemons
 order by number desc
 limit 100
"""


async def daemons(db: Executor) -> list[DaemonRow]:
    """The daemons that work on this database, the newest first; *tzdata* are the versions that they plan with."""
    return await db.fetch(DAEMONS, row=DaemonRow)
