"""
What the benchmark of peers runs: the receiver, and one program for each library that a user could pick instead.

Each program queues N jobs for one moment, makes a signed POST of each, 64 at once, and retries from the database. Its
arguments: the database's URL, the receiver's URL, N, and the moment (seconds since 1970). It ends by itself.
"""
