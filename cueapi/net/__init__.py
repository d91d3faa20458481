"""The ways out: HTTP to checked addresses, name look-ups, mail, Redis. Each file adapts one foreign library."""
