"""
The way in: one resource a file.

A request is parsed (`bodies.py`, `queries.py`), asked of the domain, stored by one function of `storage/`, and rendered
(`views.py`). A refusal anywhere becomes an answer in `problems.py`.
"""
