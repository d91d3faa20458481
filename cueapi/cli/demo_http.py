"""Both ends of HTTP that a demo needs: a client of the daemon, and a server that handlers answer from."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import httpx
import trio
from attrs import define

from cueapi.daemon.resources import Resources
from cueapi.net.http_client import PinnedTransport


class DemoFailed(Exception):
    """The story did not go as it should; the message is one line."""


@define
class Client:
    """A user of the daemon."""

    http: httpx.AsyncClient

    async def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """What the daemon answers. Raises DemoFailed where that is a refusal."""
        try:
            response = await self.http.request(method, path, json=body)
        except httpx.TransportError as error:
            raise DemoFailed(f"{method} {path} was not answered: {error}") from error
        if response.is_error:
            raise DemoFailed(f"{method} {path} was answered with {response.status_code}: {response.text}")
        answer: dict[str, Any] = response.json()
        return answer


@asynccontextmanager
async def client_of(resources: Resources) -> AsyncIterator[Client]:
    """A client of the daemon, with connections of its own."""
    transport = PinnedTransport(resources.webhook.rules, resources.webhook.resolver, resources.webhook.tls)
    base_url = f"http://127.0.0.1:{resources.listener.getsockname()[1]}"
    async with httpx.AsyncClient(base_url=base_url, transport=transport) as http:
        yield Client(http)


Answer = Callable[[Mapping[str, str], bytes], Awaitable[tuple[int, Mapping[str, object]]]]
"""What a handler makes of the headers and the body of a request: the status and the body of its answer."""


async def serve(listener: trio.SocketListener, handle: Answer) -> None:
    """Answer each request by *handle*. Ends when it is cancelled."""

    async def answer(stream: trio.SocketStream) -> None:
        """One request a connection: a demo, no server."""
        async with stream:
            try:
                status, said = await handle(*await _read(stream))
                told = json.dumps(said).encode()
                await stream.send_all(
                    b"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nConnection: close\r\n"
                    b"Content-Length: %d\r\n\r\n%s" % (status, HTTPStatus(status).phrase.encode(), len(told), told)
                )
            except trio.BrokenResourceError:
                pass  # The daemon waits no longer.

    await trio.serve_listeners(answer, [listener])


async def _read(stream: trio.SocketStream) -> tuple[dict[str, str], bytes]:
    """The headers and the body of a request that we have sent ourselves."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += await _more(stream)
    head, _, body = data.partition(b"\r\n\r\n")
    lines = [line.partition(": ") for line in head.decode("latin-1").split("\r\n")[1:]]
    fields = {name.lower(): value for name, _, value in lines}
    while len(body) < int(fields["content-length"]):
        body += await _more(stream)
    return fields, body


async def _more(stream: trio.SocketStream) -> bytes:
    if not (data := await stream.receive_some()):
        raise trio.BrokenResourceError("the request ended early")
    return bytes(data)
