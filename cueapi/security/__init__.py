"""
What is derived from SESSION_SECRET: encryption of what must be shown again, and sessions. Knows nothing of the rest.
"""
