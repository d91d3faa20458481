"""
The rules, without I/O: schedules, states and their transitions, verification, signatures, limits.

Nothing in here awaits, reads a clock, or performs I/O. Wall time enters as an argument *now*.
"""
