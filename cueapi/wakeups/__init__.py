"""
Hints that something is due. Losing one costs time, never work: PostgreSQL has the row, and the next poll finds it.

`hub` wakes the parts of this daemon, `notify` the other daemons (LISTEN/NOTIFY) with the `announcements` that have
gathered, `long_poll` the workers' calls that wait, `watching` the pages and programs that watch an account.
`identity` is the number under which this daemon claims, for as long as it holds the lock of that number.
"""
