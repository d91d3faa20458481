"""The receiver, on a port: answers 200 to everything; `/seen` gives the moments of all requests, and forgets them."""

import json
import sys
import time
from typing import Any

import uvicorn

seen: list[float] = []


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    answer = b'{"received": true}'
    if scope["path"] == "/seen":
        answer = json.dumps(seen).encode()
        seen.clear()
    else:
        seen.append(time.time())
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", http="httptools", loop="uvloop")
