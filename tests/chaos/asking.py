"""One request on a connection of its own, to a server that may die at any byte of it."""

import json
from typing import Any

import h11
import trio
from attrs import frozen


class NoAnswer(Exception):
    """Nobody can know whether it was done."""


@frozen
class Answer:
    """What came back whole."""

    status: int
    body: dict[str, Any]

    @property
    def code(self) -> str:
        """Of a refusal."""
        return str(self.body["error"]["code"])


async def ask(port: int, path: str, body: dict[str, Any], *, method: str = "POST", **headers: str) -> Answer:
    """Ask whoever listens on 127.0.0.1. Raises NoAnswer where none came, or half of one."""
    content = json.dumps(body).encode()
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    fields = [("host", f"127.0.0.1:{port}"), ("content-length", str(len(content))), ("connection", "close"), *named]
    http = h11.Connection(h11.CLIENT)
    parts = (h11.Request(method=method, target=path, headers=fields), h11.Data(content), h11.EndOfMessage())
    try:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"".join(http.send(part) or b"" for part in parts))
            return await _read(stream, http)
    except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError) as error:
        raise NoAnswer(str(error)) from error


async def _read(stream: trio.SocketStream, http: h11.Connection) -> Answer:
    status, said = 0, bytearray()
    while True:
        match event := http.next_event():
            case h11.NEED_DATA:
                http.receive_data(await stream.receive_some(65536))
            case h11.Response():
                status = event.status_code
            case h11.Data():
                said += event.data
            case _:
                return Answer(status, json.loads(said))
