"""
The shapes of the contract: `requests` (what a body may hold), `responses` (what an answer holds), `values` (what both
share), `examples`. `rendering` makes answers of rows, as the responses say.
"""
