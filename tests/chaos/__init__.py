"""
What must hold whatever breaks, by breaking it: processes, databases, connections, disks, siblings, receivers.

    python -m pytest tests/chaos --chaos=50     # fifty rounds of SIGKILL instead of three

A test asks a real daemon for much (load), breaks something (faults), and has everything that was promised (ledger) held
against what PostgreSQL and a real receiver have seen (audit). Moments are drawn by chance: each run tries others.
"""
