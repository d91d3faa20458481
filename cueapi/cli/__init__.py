"""
The commands of `cueapid`: one file a topic.

`main` declares them, `operator` has what an operator does beside serving, `check` looks at everything that a daemon
needs, `demo` shows the whole story in a few seconds, or an account to look at.
"""
