"""
A client that costs little: keep-alive connections, each asks again as soon as it was answered. Knows only what it must.

`python -m tests.benchmarks.load '{"port": 8000, …}'` prints how many requests a second were answered.
"""

import json
import re
import selectors
import socket
import sys
import time
from collections.abc import Iterator
from itertools import count
from uuid import uuid4

from attrs import define, field, frozen

WARM_UP = 0.3
"""Of the time, the share in which answers are not counted."""

PATIENCE = 30
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@frozen
class Ask:
    """What is asked over and over; `{unique}` in the body is another text each time, `{line}` the connection's."""

    port: int
    path: str
    method: str = "GET"
    body: str = ""
    key: str = ""
    connections: int = 12
    seconds: float = 2.0

    def head(self, length: int) -> str:
        """The head of a request whose body has *length* bytes."""
        return (
            f"{self.method} {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {self.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        )


@define(eq=False)
class ConnectionHandler:
    """One connection, with one request under way."""

    number: int
    plug: socket.socket
    _run: str = field(factory=lambda: uuid4().hex)
    _counted: Iterator[int] = field(factory=count)
    _came: bytearray = field(factory=bytearray)

    def say(self, ask: Ask) -> None:
        """Send the next request."""
        body = ask.body.replace("{unique}", f"{self._run}-{next(self._counted)}")
        body = body.replace("{line}", str(self.number))
        self.plug.sendall((ask.head(len(body)) + body).encode("ascii"))

    def hear(self) -> bytes | None:
        """Read what has come; an answer's body once all of it is there. It must be a good one."""
        data = self.plug.recv(65536)
        if not data:
            raise ConnectionError("the server closed the connection")
        self._came += data
        end = self._came.find(b"\r\n\r\n")
        if end < 0:
            return None
        length = _LENGTH.search(self._came, 0, end)
        if length is None or len(self._came) < end + 4 + int(length[1]):
            return None
        if not self._came.startswith(b"HTTP/1.1 20"):
            raise ValueError(bytes(self._came).decode())
        body = bytes(self._came[end + 4 :])
        self._came.clear()
        return body


def dial(ask: Ask, number: int) -> ConnectionHandler:
    """Connection *number* to whom *ask* asks."""
    return ConnectionHandler(number, socket.create_connection(("127.0.0.1", ask.port), PATIENCE))


def load(ask: Ask) -> float:
    """Ask for so many seconds, and on until one was answered; answers a second, once it is warm."""
    with selectors.DefaultSelector() as selector:
        for number in range(ask.connections):
            line = dial(ask, number)
            selector.register(line.plug, selectors.EVENT_READ, line)
            line.say(ask)
        begun = time.perf_counter()
        warm, end = begun + WARM_UP * ask.seconds, begun + ask.seconds
        answered = 0
        while (now := time.perf_counter()) < end or not answered:
            if now > end + PATIENCE:
                raise TimeoutError(f"nothing was answered within {PATIENCE} s")
            for key, _ in selector.select(end - now if now < end else 1.0):
                line = key.data
                if line.hear() is not None:
                    answered += now >= warm
                    line.say(ask)
        for key in list(selector.get_map().values()):
            key.data.plug.close()
        return answered / (max(now, end) - warm)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(load(Ask(**json.loads(sys.argv[1])))))
