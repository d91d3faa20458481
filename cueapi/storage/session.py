"""What each session of ours has set, whatever the role or the database has been given."""

from cueapi.trio_asyncpg.connection import Connection

# Set in each new session, not as start-up parameters: poolers refuse parameters that they do not know. On solid-state
# disks a random page costs little more than the next one. Whatever we read in order we read by an index in that order:
# where a table has grown since its last statistics, as the outbox does in a burst, a bitmap would collect and sort all
# that waits for each claim of the first rows. The rest pins what statements rely on: our own deadlines, and
# what one statement sees of the others. Whether it is read-only is the operator's to say, and is waited for.
SESSION = """
set statement_timeout = 0;
set lock_timeout = 0;
set jit = off;
set enable_bitmapscan = off;
set random_page_cost = 1.1;
set idle_in_transaction_session_timeout = 0;
set idle_session_timeout = 0;
set default_transaction_isolation = 'read committed';
set default_transaction_deferrable = off;
set standard_conforming_strings = on;
set quote_all_identifiers = off;
set bytea_output = 'hex';
set datestyle = 'ISO';
set timezone = 'UTC'
"""

SINCE_17 = "; set transaction_timeout = 0"


# One plan for each statement and session, made at its first use. Otherwise PostgreSQL makes five that know the values
# first, each for some milliseconds.
ONE_PLAN = "set plan_cache_mode = force_generic_plan"


async def prepare(connection: Connection) -> None:
    """Have a new session work as statements expect."""
    major = connection.get_server_version().major
    await connection.execute(SESSION + (SINCE_17 if major >= 17 else ""))


async def prepare_to_repeat(connection: Connection) -> None:
    """As `prepare`, for a session that says the same few statements again and again."""
    await prepare(connection)
    await connection.execute(ONE_PLAN)
