"""
What the contract promises of every answer: the fields, their types, what may be null, and what they mean.

One noun a module. Models that are `Rendered` also say from which column of a row each field comes; the tests hold every
answer on the wire against these models.
"""
