"""The product: a server that fires jobs on time and knows whether they did their work."""
