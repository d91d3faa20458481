"""
The only SQL. PostgreSQL is the truth; everything else in the process is a hint.

One module per aggregate, a statement above its only function. Races are settled in the statements:
`skip locked`, `on conflict`, and fences on the claim that a write belongs to.
"""
