"""
What the product must reach, measured: `python -m tests.benchmarks`, or with the names of some benchmarks.

Each stands on a real daemon in a process of its own, at a database of its own on a PostgreSQL of its own; everything
is on 127.0.0.1 and ends with the block that opened it. Speeds are compared with a bare program that does as little as
one can, measured in turns with ours: ratios travel from machine to machine, absolute numbers do not.

* deliveries, lag (and burst), api, worker, poll, pages, memory, idle, start, statements: what is measured
* size: how much of it
* scene, filling, crowd: a daemon, its user and its receiver; rows to work on; very many rows
* table: what a benchmark returns, and how it is shown
* posts, route: the bare programs; load: the client that asks them and the daemon; pulls: workers
* report, plots, profile: what `--report FOLDER` writes
"""
