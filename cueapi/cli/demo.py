"""
The whole story in a few seconds: a daemon, a handler, a worker, three cues; shown line by line, then as a table.

Everything lies in a temporary folder and on loopback, and is gone at the end.
"""

import json
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from shutil import rmtree
from typing import Any

import httpx
import trio
from attrs import define, field
from pydantic import SecretStr

from cueapi.api.http.listening import bind
from cueapi.daemon.resources import Resources
from cueapi.daemon.run import serving
from cueapi.domain.clock import iso
from cueapi.domain.signature import is_signed
from cueapi.net.http_client import PinnedTransport
from cueapi.settings import Settings

AHEAD = timedelta(seconds=2)
PATIENCE = 60.0
"""Seconds after which a story that does not come to its end is given up."""

FINAL = {"success", "failed", "missed", "outcome_timeout"}
HEAD = ("cue", "status", "attempts", "outcome", "result")

Say = Callable[[str], None]


class DemoFailed(Exception):
    """The story did not go as it should; the message is one line."""


async def run(say: Say) -> None:
    """Tell the story. Raises DemoFailed, and what a start can fail with."""
    feed = Feed(say)
    with _home() as home:
        feed("starting an embedded PostgreSQL and a daemon on it, both temporary …")
        async with serving(_settings(home)) as (resources, _), _client_of(resources) as client:
            with trio.move_on_after(PATIENCE) as scope:
                await _tell(client, feed)
        if scope.cancelled_caught:
            raise DemoFailed(f"The story was not over after {PATIENCE:g} s.")
    feed("everything is gone again. To begin in earnest: cueapid")


@contextmanager
def _home() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="cueapi-demo-"))
    try:
        # As root the database runs under another account, which has to pass through.
        home.chmod(0o711)
        yield home
    finally:
        rmtree(home, ignore_errors=True)


def _settings(home: Path) -> Settings:
    """The defaults, whatever the environment and `.env` say."""
    secret = SecretStr(secrets.token_hex(32))
    return Settings.model_construct(data_dir=home / "data", port=0, session_secret=secret, callback_allow="127.0.0.1")


@define
class Feed:
    """Says what happens, and when."""

    say: Say
    begun: float = field(factory=trio.current_time)

    def __call__(self, text: str) -> None:
        self.say(f"{trio.current_time() - self.begun:5.1f} s  {text}")


async def _tell(client: "Client", feed: Feed) -> None:
    with closing(bind("127.0.0.1", 0)) as listener:
        handler = Handler(feed)
        feed(f"the daemon serves at {str(client.http.base_url).removesuffix('/')}")
        key = (await client.ask("POST", "/v1/auth/register", {"email": "you@example.com"}))["api_key"]
        client.http.headers["Authorization"] = f"Bearer {key}"
        handler.secret = (await client.ask("GET", "/v1/auth/webhook-secret"))["webhook_secret"]
        feed("registered you@example.com; the handler knows the secret that webhooks are signed with")
        async with trio.open_nursery() as nursery:
            port = listener.getsockname()[1]
            nursery.start_soon(handler.serve, trio.SocketListener(trio.socket.from_stdlib_socket(listener.dup())))
            nursery.start_soon(_work, client, feed)
            await _schedule(client, feed, port)
            rows = await _watch(client, feed)
            nursery.cancel_scope.cancel(reason="the story is over")
    feed.say("\n" + table([HEAD, *map(cells, rows)]) + "\n")


async def _schedule(client: "Client", feed: Feed, port: int) -> None:
    """Three cues: one in time, one that fails first, one for a worker."""
    at = iso(datetime.fromisoformat((await client.ask("GET", "/health"))["timestamp"]) + AHEAD)
    once = {"name": "brief-once", "at": at, "callback_url": f"http://127.0.0.1:{port}/brief"}
    flaky = {
        "name": "flaky-report",
        "cron": "0 9 * * *",
        "callback_url": f"http://127.0.0.1:{port}/flaky",
        "retry": {"backoff_minutes": [0]},
    }
    pulled = {"name": "nightly-work", "cron": "@daily", "worker": True, "payload": {"task": "print"}}
    made = [await client.ask("POST", "/v1/cues", cue) for cue in (once, flaky, pulled)]
    feed(f"brief-once will call the handler at {at}, 2 s from now")
    for cue in made[1:]:
        await client.ask("POST", f"/v1/cues/{cue['id']}/fire")
        feed(f"{cue['name']} is fired by hand")


async def _watch(client: "Client", feed: Feed) -> list[dict[str, Any]]:
    """Show each change of an execution; return all of them as soon as they are final."""
    seen: dict[str, str] = {}
    while True:
        rows = (await client.ask("GET", "/v1/executions"))["executions"]
        for row in reversed(rows):
            if seen.get(row["id"]) != row["status"]:
                seen[row["id"]] = row["status"]
                feed(f"{row['cue_name']} is {row['status'].replace('_', ' ')}")
        if len(rows) == 3 and set(seen.values()) <= FINAL:
            return list(reversed(rows))
        await trio.sleep(0.05)


async def _work(client: "Client", feed: Feed) -> None:
    """A worker behind a firewall: it asks, waits, works and reports. Ends when it is cancelled."""
    wish = {"worker_id": "laptop", "handlers": ["print"], "claim": 1, "wait_seconds": 20}
    while True:
        for work in (await client.ask("POST", "/v1/worker/heartbeat", wish))["executions"]:
            feed(f"worker laptop has claimed {work['cue_name']}, and reports success with evidence")
            report = {"success": True, "result": "printed", "external_id": "print-job-7"}
            await client.ask("POST", f"/v1/executions/{work['execution_id']}/outcome", report)


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
async def _client_of(resources: Resources) -> AsyncIterator[Client]:
    """A client of the daemon, with connections of its own."""
    transport = PinnedTransport(resources.webhook.rules, resources.webhook.resolver, resources.webhook.tls)
    base_url = f"http://127.0.0.1:{resources.listener.getsockname()[1]}"
    async with httpx.AsyncClient(base_url=base_url, transport=transport) as http:
        yield Client(http)


@define
class Handler:
    """A webhook handler: it checks signatures, and fails the first attempt of flaky-report."""

    feed: Feed
    secret: str = field(default="", repr=False)

    async def serve(self, listener: trio.SocketListener) -> None:
        """Take connections. Ends when it is cancelled."""
        await trio.serve_listeners(self.answer, [listener])

    async def answer(self, stream: trio.SocketStream) -> None:
        """One request a connection: a demo, no server."""
        async with stream:
            head, body = await _read(stream)
            told = json.dumps(self._handle(head, body)).encode()
            await stream.send_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(told), told)
            )

    def _handle(self, head: dict[str, str], body: bytes) -> dict[str, object]:
        signature, timestamp = head["x-cueapi-signature"], head["x-cueapi-timestamp"]
        if not is_signed(signature, self.secret, timestamp, body):
            return {"success": False, "error": "the signature is wrong", "retry": False}
        said = json.loads(body)
        if said["name"] == "flaky-report" and said["attempt"] == 1:
            self.feed("handler: signature good; attempt 1 of flaky-report fails")
            return {"success": False, "error": "out of paper"}
        self.feed(f"handler: signature good; attempt {said['attempt']} of {said['name']}: done")
        return {"success": True, "result": "done"}


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


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """An execution, as a line of the table."""
    outcome = row["outcome"] or {}
    said = outcome.get("result") or outcome.get("error") or row["error_message"] or ""
    return row["cue_name"], row["status"], str(row["attempts"]), row["outcome_state"] or "", said


def table(lines: Sequence[Sequence[str]]) -> str:
    """Lines in columns."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
