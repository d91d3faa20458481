"""
What the pages of the dashboard read, a module a page: at most three statements each, none of which counts executions.

Counts are those of the rollup `tallies`. Lists are read by an index, from newest to oldest behind a cursor, and tell
whether there is more. A page gives its statements two seconds (`reading`).
"""
