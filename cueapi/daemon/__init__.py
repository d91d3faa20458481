"""
The composition root. Read `run.py` first: it holds one daemon, from its start to the end of its drain.

`resources` opens what the siblings depend on (closed in the reverse order), `wiring` makes what joins them, `siblings`
lists them, `routes` composes the API, `pages` the dashboard. Nothing else in the product knows which parts there are.
"""
