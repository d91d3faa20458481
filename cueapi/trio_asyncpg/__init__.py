"""
asyncpg on Trio itself: its compiled protocol, driven by the task that waits. Knows nothing of the product.

A connection is asyncpg's own, with its verbs. Deadlines and cancellation are Trio's: a connection whose query
was cut off is closed, and the server is made to drop the query.

Never call asyncpg's `timeout=`, `executemany`, `copy_*`, `reset`, `Pool` and `Connection.close`: they are
asyncio's. Bulk is `unnest`, a connection is closed with `close`. asyncpg's private names are used in the first three
of these files only; for their sake its minor version is pinned.

* connection   connect, close, transactions
* wire         what asyncpg takes for its future, its event loop and its transport
* route        addresses and TLS
* pool         a bounded pool
* listener     LISTEN with a heartbeat
"""
