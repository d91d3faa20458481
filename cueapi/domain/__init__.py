"""
What is true whatever the wire and the disk do: schedules, states, verdicts, signatures, limits.

Nothing in here awaits, reads a clock, or performs I/O. Wall time enters as an argument *now*.
"""
