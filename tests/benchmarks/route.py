"""
The bare program that the API is compared with: one trivial Quart-Trio route on Hypercorn.

`python -m tests.benchmarks.route PORT` serves until it is stopped.
"""

import sys

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart_trio import QuartTrio

app = QuartTrio(__name__)


@app.get("/")
async def hello() -> dict[str, bool]:
    """As little as a route can do."""
    return {"ok": True}


def _config(port: int) -> Config:
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    # As the daemon sets it: what is compared is not how often a client connects.
    config.keep_alive_max_requests = 1_000_000
    return config


if __name__ == "__main__":
    trio.run(serve, app, _config(int(sys.argv[1])))
