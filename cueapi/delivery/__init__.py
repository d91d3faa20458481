"""
From "due" to "settled": one sibling a file.

A row → poller → outbox → `[deliveries]` → pool → webhook → `[results]` → recorder → a row. `pool.py` decides nothing,
`domain/attempt.py` waits for nothing, `webhook.py` stores nothing, `storage/` sends nothing. One edge goes back
(retries): it is offered instead of awaited, and it passes through a claim.

Who may hold how many slots of the pool is in `shares`. A process may be stopped at any line: before the first byte a
claim that is not fresh is asked about again (`claims`), and an attempt that lost its time to a `standstill` is no
failure of its handler's.

A cue or an execution that makes a statement fail is set aside alone (`quarantine`), and its user is told.
"""
