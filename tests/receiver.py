"""
A real HTTP receiver on 127.0.0.1 that answers from a script and keeps what it was sent.

    async with open_receiver([500, 500, 200]) as receiver:
        … receiver.url("/hook") …
        await receiver.wait_for(3)

A script is a list of steps, or one list for each path; each request uses up a step, the last one is repeated.
As a process of its own, a JSON line for each request: `python -m tests.receiver --port-file /tmp/port`.
"""

import argparse
import base64
import json
import ssl
import struct
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from typing import TypeAlias

import h11
import trio
from attrs import define, field, frozen

# int: that status · (status, body, headers) · float: 200 after so many seconds · trio.Event: 200 once it is set ·
# bytes: these, then close · "hang", "close", "reset", "drip" (a byte a second), "garbage", "huge" (10 MB)
Step: TypeAlias = int | float | trio.Event | bytes | str | tuple[int, bytes] | tuple[int, bytes, Mapping[str, str]]
Script: TypeAlias = Sequence[Step] | Mapping[str, Sequence[Step]]

GARBAGE = b"SSH-2.0-OpenSSH_9.6\r\n"
HUGE = 10_000_000


@frozen
class Received:
    """One request, as it came: *connection* counts connections, *at* is the wall clock."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    at: float
    connection: int

    def header(self, name: str) -> str | None:
        """The one value of a header; None where there is none."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else None

    def as_json(self) -> str:
        try:
            body = {"body": self.body.decode()}
        except UnicodeDecodeError:
            body = {"body_base64": base64.b64encode(self.body).decode()}
        fields = {"method": self.method, "path": self.path, "headers": self.headers, "at": self.at}
        return json.dumps(fields | {"connection": self.connection} | body)


@define(eq=False)
class Receiver:
    """Serves connections until its scope ends."""

    script: Script = (200,)
    scheme: str = "http"
    port: int = 0
    seen: Callable[[Received], None] = lambda received: None
    requests: list[Received] = field(factory=list)
    connections: Iterator[int] = field(factory=count)
    keep: bool = True
    _used: dict[str, int] = field(factory=dict)
    _news: trio.Event = field(factory=trio.Event)

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    async def wait_for(self, number: int) -> list[Received]:
        """Return when at least *number* requests have come."""
        while len(self.requests) < number:
            await self._news.wait()
        return self.requests

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Talk on one connection until either side ends it."""
        number, http = next(self.connections), h11.Connection(h11.SERVER)
        try:
            while (received := await self._read(stream, http, number)) is not None:
                self._note(received)
                await self._answer(stream, http, self._next_step(received.path))
                if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                    break
                http.start_next_cycle()
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            pass
        finally:
            with trio.move_on_after(1, shield=True):
                await stream.aclose()

    async def _read(self, stream: trio.abc.Stream, http: h11.Connection, number: int) -> Received | None:
        head, body = None, bytearray()
        while True:
            match event := http.next_event():
                case h11.NEED_DATA:
                    http.receive_data(await stream.receive_some(65536))
                case h11.Request():
                    head = event
                case h11.Data():
                    body += event.data
                case h11.EndOfMessage() if head is not None:
                    headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in head.headers.raw_items()]
                    method, path = head.method.decode(), head.target.decode()
                    return Received(method, path, headers, bytes(body), time.time(), number)
                case _:
                    return None

    def _note(self, received: Received) -> None:
        if self.keep:
            self.requests.append(received)
        self.seen(received)
        self._news.set()
        self._news = trio.Event()

    def _next_step(self, target: str) -> Step:
        path = target.partition("?")[0]
        steps = self.script.get(path, (404,)) if isinstance(self.script, Mapping) else self.script
        key = path if isinstance(self.script, Mapping) else ""
        used = self._used[key] = self._used.get(key, -1) + 1
        return steps[min(used, len(steps) - 1)]

    async def _answer(self, stream: trio.abc.Stream, http: h11.Connection, step: Step) -> None:
        match step:
            case int():
                await stream.send_all(_response(http, step))
            case (status, body):
                await stream.send_all(_response(http, status, body))
            case (status, body, headers):
                await stream.send_all(_response(http, status, body, headers))
            case float():
                await trio.sleep(step)
                await stream.send_all(_response(http, 200))
            case trio.Event():
                await step.wait()
                await stream.send_all(_response(http, 200))
            case bytes():
                await stream.send_all(step)
            case _:
                await self._misbehave(stream, http, step)

    async def _misbehave(self, stream: trio.abc.Stream, http: h11.Connection, step: str) -> None:
        match step:
            case "hang":
                await trio.sleep_forever()
            case "close":
                await stream.aclose()
            case "reset":
                _socket(stream).setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
                _socket(stream).close()
            case "drip":
                for byte in _response(http, 200, b"x" * 1000):
                    await stream.send_all(bytes([byte]))
                    await trio.sleep(1)
            case "garbage":
                await stream.send_all(GARBAGE)
            case "huge":
                await stream.send_all(_response(http, 200, b"x" * HUGE))
            case _:
                raise ValueError(f"no such step: {step}")


@asynccontextmanager
async def open_receiver(
    script: Script = (200,),
    *,
    tls: ssl.SSLContext | None = None,
    seen: Callable[[Received], None] | None = None,
) -> AsyncIterator[Receiver]:
    """A receiver that serves while the block runs, over TLS where a context is given."""
    receiver = Receiver(script, scheme="http" if tls is None else "https")
    if seen is not None:
        receiver.seen = seen
    async with trio.open_nursery() as nursery:
        await serve(receiver, nursery, tls=tls)
        yield receiver
        nursery.cancel_scope.cancel()


async def serve(receiver: Receiver, nursery: trio.Nursery, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
    """Listen on 127.0.0.1 and serve in *nursery*; returns when connections are taken."""
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    receiver.port = listeners[0].socket.getsockname()[1]
    secured = [trio.SSLListener(each, tls, https_compatible=True) for each in listeners] if tls else listeners
    await nursery.start(partial(trio.serve_listeners, receiver.serve, secured))


def _response(
    http: h11.Connection, status: int, body: bytes | str = b"", headers: Mapping[str, str] | None = None
) -> bytes:
    body = body.encode() if isinstance(body, str) else body  # From a JSON script.
    given = {name.lower(): value for name, value in (headers or {}).items()}
    framed = status == 204 or "transfer-encoding" in given
    fields = given if framed else {"content-length": str(len(body))} | given
    parts = (
        h11.Response(status_code=status, headers=list(fields.items())),
        h11.Data(body),
        h11.EndOfMessage(),
    )
    return b"".join(http.send(part) or b"" for part in parts if body or not isinstance(part, h11.Data))


def _socket(stream: trio.abc.Stream) -> trio.socket.SocketType:
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    assert isinstance(stream, trio.SocketStream)
    return stream.socket


async def _main(arguments: argparse.Namespace) -> None:
    with sys.stdout if arguments.log is None else arguments.log.open("a", buffering=1) as log:

        def write(received: Received) -> None:
            log.write(received.as_json() + "\n")
            log.flush()

        receiver = Receiver(json.loads(arguments.script), keep=False)
        if not arguments.quiet:
            receiver.seen = write
        async with trio.open_nursery() as nursery:
            await serve(receiver, nursery, arguments.port)
            if arguments.port_file is not None:
                _write_whole(arguments.port_file, str(receiver.port))


def _write_whole(path: Path, text: str) -> None:
    """Whoever sees the file sees all of it."""
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(text)
    draft.replace(path)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Answer HTTP requests from a script.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--port-file", type=Path, help="where the port is written once connections are taken")
    parser.add_argument("--script", default="[200]", help="JSON: a list of steps, or an object of such by path")
    parser.add_argument("--log", type=Path, help="a JSON line for each request; standard output where not given")
    parser.add_argument("--quiet", action="store_true", help="write no lines")
    return parser.parse_args()


if __name__ == "__main__":
    trio.run(_main, _arguments())
