"""
The whole story in a few seconds: a daemon, a handler, a worker, three cues; shown line by line, then as a table.
Or an account to click through, for as long as one likes.

Everything lies in a temporary folder and on loopback, and is gone at the end.
"""

import json
import secrets
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from shutil import rmtree
from typing import Any

import trio
from attrs import define, field
from pydantic import SecretStr

from cueapi.api.http.listening import bind
from cueapi.api.sign_in_links import new_link
from cueapi.cli.demo_account import EMAIL, inhabited
from cueapi.cli.demo_http import Client, DemoFailed, client_of, serve
from cueapi.daemon.resources import Resources
from cueapi.daemon.run import serving
from cueapi.domain.clock import iso
from cueapi.domain.signature import is_signed
from cueapi.settings import Settings

AHEAD = timedelta(seconds=2)
PATIENCE = 60.0
"""Seconds after which a story that does not come to its end is given up."""

FINAL = {"success", "failed", "missed", "outcome_timeout"}
HEAD = ("cue", "status", "attempts", "outcome", "result")

Say = Callable[[str], None]


async def run(say: Say) -> None:
    """Tell the story. Raises DemoFailed, and what a start can fail with."""
    feed = Feed(say)
    with _home() as home:
        feed("starting an embedded PostgreSQL and a daemon on it, both temporary …")
        async with serving(_settings(home)) as (resources, _), client_of(resources) as client:
            with trio.move_on_after(PATIENCE) as scope:
                await _tell(client, feed, resources)
        if scope.cancelled_caught:
            raise DemoFailed(f"The story was not over after {PATIENCE:g} s.")
    feed("everything is gone again. To stay and look around: cueapid demo --keep. To begin in earnest: cueapid")


async def keep(say: Say) -> None:
    """Serve an account with a month of history until Ctrl-C or SIGTERM. Raises as `run` does."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_upon, signals, nursery.cancel_scope)
            await _serve_account(say)


async def _cancel_upon(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel(reason="a signal")


async def _serve_account(say: Say) -> None:
    """Ends when it is cancelled."""
    with _home() as home:
        say("Starting an embedded PostgreSQL and a daemon on it, both temporary, with a month of history …")
        async with serving(_settings(home)) as (resources, _), client_of(resources) as client:
            async with inhabited(resources, client) as key:
                say(f"The dashboard: {await _link(resources)} (once, within 15 minutes)")
                say(f"Later: {resources.address}/ui/sign-in with the key {key}")
                say("Ctrl-C ends it, and leaves nothing behind.")
                await trio.sleep_forever()


async def _link(resources: Resources) -> str:
    """Where a browser is signed in as the account of the demo."""
    return await new_link(resources.database, resources.address, EMAIL)


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


async def _tell(client: Client, feed: Feed, resources: Resources) -> None:
    with closing(bind("127.0.0.1", 0)) as listener:
        handler = Handler(feed)
        feed(f"the daemon serves at {str(client.http.base_url).removesuffix('/')}")
        key = (await client.ask("POST", "/v1/auth/register", {"email": EMAIL}))["api_key"]
        client.http.headers["Authorization"] = f"Bearer {key}"
        handler.secret = (await client.ask("GET", "/v1/auth/webhook-secret"))["webhook_secret"]
        feed(f"registered {EMAIL}; the handler knows the secret that webhooks are signed with")
        feed(f"the dashboard, while this story lasts: {await _link(resources)}")
        async with trio.open_nursery() as nursery:
            port = listener.getsockname()[1]
            nursery.start_soon(
                serve, trio.SocketListener(trio.socket.from_stdlib_socket(listener.dup())), handler.answer
            )
            nursery.start_soon(_work, client, feed)
            await _schedule(client, feed, port)
            rows = await _watch(client, feed)
            nursery.cancel_scope.cancel(reason="the story is over")
    feed.say("\n" + table([HEAD, *map(cells, rows)]) + "\n")


async def _schedule(client: Client, feed: Feed, port: int) -> None:
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


async def _watch(client: Client, feed: Feed) -> list[dict[str, Any]]:
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


async def _work(client: Client, feed: Feed) -> None:
    """A worker behind a firewall: it asks, waits, works and reports. Ends when it is cancelled."""
    wish = {"worker_id": "laptop", "handlers": ["print"], "claim": 1, "wait_seconds": 20}
    while True:
        for work in (await client.ask("POST", "/v1/worker/heartbeat", wish))["executions"]:
            feed(f"worker laptop has claimed {work['cue_name']}, and reports success with evidence")
            report = {"success": True, "result": "printed", "external_id": "print-job-7"}
            await client.ask("POST", f"/v1/executions/{work['execution_id']}/outcome", report)


@define
class Handler:
    """A webhook handler: it checks signatures, and fails the first attempt of flaky-report."""

    feed: Feed
    secret: str = field(default="", repr=False)

    async def answer(self, head: Mapping[str, str], body: bytes) -> tuple[int, Mapping[str, object]]:
        """What becomes of a request."""
        return 200, self._handle(head, body)

    def _handle(self, head: Mapping[str, str], body: bytes) -> dict[str, object]:
        signature, timestamp = head["x-cueapi-signature"], head["x-cueapi-timestamp"]
        if not is_signed(signature, self.secret, timestamp, body):
            return {"success": False, "error": "the signature is wrong", "retry": False}
        said = json.loads(body)
        if said["name"] == "flaky-report" and said["attempt"] == 1:
            self.feed("handler: signature good; attempt 1 of flaky-report fails")
            return {"success": False, "error": "out of paper"}
        self.feed(f"handler: signature good; attempt {said['attempt']} of {said['name']}: done")
        return {"success": True, "result": "done"}


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
