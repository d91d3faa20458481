"""
What every request passes, whatever it asks for.

`server` is Hypercorn on a socket of ours, `quart_app` one request in Quart, `app` the gate before and after each
request (`auth`, `rate_limits`). `body`, `parameters`, `cursors` and `idempotency` read a request, `errors` answers a
refusal, `operations` describes a route to `openapi`.
"""
