"""
The ways out: HTTP to checked addresses, names to addresses, mail, Redis. One adapter a file, one foreign library each.
"""
