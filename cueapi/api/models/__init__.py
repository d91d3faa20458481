"""
The shapes of the contract: `requests` (what a body may hold), `responses` (what an answer holds), `rendering`.
"""
