"""
From "due" to "settled": one sibling a file.

A row → poller → outbox → `[deliveries]` → pool → webhook → `[results]` → recorder → a row. `pool.py` decides nothing,
`domain/attempt.py` waits for nothing, `webhook.py` stores nothing, `storage/` sends nothing. One edge goes back
(retries): it is offered instead of awaited, and it passes through a claim.

Who may hold how many slots of the pool is in `shares`; who has waited for one for too long is looked after by
`preemption`, and where a single host is full by `full_hosts`. A process may be stopped at any line: before the first
byte a claim that is not fresh is asked about again (`claims`), and an attempt that lost its time to a `standstill` is
no failure of its handler's.

What is for a target that is down waits (`breaker`, `target_watch`): its row is marked by the claim that finds it, so
that no later claim walks past it, and goes on by `target_claims`. A target moves before the result of its probe is
recorded, so that the probe's claim fences it.

A cue or an execution that makes a statement fail is set aside alone (`quarantine`), and its user is told.
"""
