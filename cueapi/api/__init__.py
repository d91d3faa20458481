"""
The way in: one resource a file.

A request is parsed (`http/body.py`, `http/parameters.py`), asked of the domain, stored by one function of `storage/`,
and rendered (`models/rendering.py`). A refusal anywhere becomes an answer in `http/errors.py`.
"""
