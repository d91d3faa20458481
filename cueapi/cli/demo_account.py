"""An account to look at: agents with a month behind them, some at work, some in trouble, on a daemon that goes on."""

import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from datetime import datetime, timedelta
from random import Random

import trio
from attrs import frozen

from cueapi.api.http.listening import bind
from cueapi.cli.demo_agents import AGENTS, Agent
from cueapi.cli.demo_history import history
from cueapi.cli.demo_http import Client, serve
from cueapi.daemon.resources import Resources
from cueapi.domain.clock import iso
from cueapi.domain.signature import is_signed
from cueapi.net.dns import look_up
from cueapi.storage.demo import add_history

EMAIL = "you@example.com"
DAYS = 30
SEED = 7

AT_WORK = 600.0
"""Seconds for which those work that are seen at work."""

TO_COME = timedelta(days=3)

HOSTS = {agent.host for agent in AGENTS if agent.host}
BY_NAME = {agent.name: agent for agent in AGENTS}
ANNOUNCED = BY_NAME["morning-brief"].host


@asynccontextmanager
async def inhabited(resources: Resources, client: Client, *, days: int = DAYS, seed: int = SEED) -> AsyncIterator[str]:
    """
    An account at a daemon that may call 127.0.0.1: what has happened follows from *seed*, and what happens is real.

    *client* acts for it. Gives the key; handlers and workers end with the block.
    """
    resources.webhook.resolver.lookup = _at_home
    now = datetime.fromisoformat((await client.ask("GET", "/health"))["timestamp"])
    key: str = (await client.ask("POST", "/v1/auth/register", {"email": EMAIL}))["api_key"]
    client.http.headers["Authorization"] = f"Bearer {key}"
    with closing(bind("127.0.0.1", 0)) as listener:
        cues = await _make_cues(client, listener.getsockname()[1], now)
        past = history(cues, now, days=days, seed=seed)
        await add_history(
            resources.database, executions=past.executions, attempts=past.attempts, alerts=past.alerts,
            workers=past.workers, failures=past.failures,
        )  # fmt: skip
        handlers = Handlers((await client.ask("GET", "/v1/auth/webhook-secret"))["webhook_secret"], Random(seed))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                serve, trio.SocketListener(trio.socket.from_stdlib_socket(listener.dup())), handlers.answer
            )
            for agent in AGENTS:
                await _begin(client, agent, cues[agent.name], nursery)
            yield key
            nursery.cancel_scope.cancel(reason="the demo is over")


def _at_home(host: str) -> list[str]:
    """The hosts of the demo are this machine."""
    return ["127.0.0.1"] if host in HOSTS else look_up(host)


async def _make_cues(client: Client, port: int, now: datetime) -> dict[str, str]:
    """A cue for each agent, and one that fires once; their ids by their names."""
    announced: dict[str, object] = {
        "name": "launch-announcement",
        "description": "Once, when the new version is out.",
        "at": iso((now + TO_COME).replace(minute=0, second=0, microsecond=0)),
        "callback_url": f"http://{ANNOUNCED}:{port}/launch-announcement",
    }
    bodies = [*(_body(agent, port) for agent in AGENTS), announced]
    return {str(body["name"]): (await client.ask("POST", "/v1/cues", body))["id"] for body in bodies}


def _body(agent: Agent, port: int) -> dict[str, object]:
    body: dict[str, object] = {
        "name": agent.name,
        "description": agent.description,
        "group": agent.group,
        "schedule": {"cron": agent.cron, "timezone": agent.zone},
        "payload": agent.payload,
    }
    if agent.worker:
        return body | {"transport": "worker"}
    token = f"Bearer {secrets.token_urlsafe(12)}"
    callback = {"url": f"http://{agent.host}:{port}/{agent.name}", "headers": {"Authorization": token}}
    return body | {"callback": callback, "delivery": {"timeout_seconds": 900}}


async def _begin(client: Client, agent: Agent, cue: str, nursery: trio.Nursery) -> None:
    """What an agent does now: it rests, works, or waits for its time."""
    if agent.rests:
        await client.ask("PATCH", f"/v1/cues/{cue}", {"status": "paused"})
    if agent.at_work:
        await client.ask("POST", f"/v1/cues/{cue}/fire")
        if agent.worker:
            nursery.start_soon(_work, client, agent)


async def _work(client: Client, agent: Agent) -> None:
    """The worker of an agent: it asks, works and reports. Ends when it is cancelled."""
    alive = {"worker_id": agent.worker, "handlers": [agent.payload["task"]]}
    wish = alive | {"claim": 1, "wait_seconds": 20}
    while True:
        for work in (await client.ask("POST", "/v1/worker/heartbeat", wish))["executions"]:
            with trio.move_on_after(AT_WORK):
                while True:
                    await trio.sleep(30)
                    await client.ask("POST", "/v1/worker/heartbeat", alive)
            report = {"success": True, "result": agent.results[0]}
            await client.ask("POST", f"/v1/executions/{work['execution_id']}/outcome", report)


@frozen
class Handlers:
    """The handlers of all agents: they check signatures, take their time, and fail where their agents are broken."""

    secret: str
    random: Random

    async def answer(self, head: Mapping[str, str], body: bytes) -> tuple[int, Mapping[str, object]]:
        """What becomes of a request."""
        if not is_signed(head["x-cueapi-signature"], self.secret, head["x-cueapi-timestamp"], body):
            return 401, {"detail": "the signature is wrong"}
        agent = BY_NAME.get(json.loads(body)["name"])
        if agent is None:
            return 200, {"success": True, "result": "announced"}
        if agent.is_broken:
            mishap = agent.mishaps[0]
            said = {"success": False, "error": mishap.told} if mishap.status == 200 else {"detail": mishap.told}
            return mishap.status or 500, said
        await trio.sleep(AT_WORK if agent.at_work else min(agent.lasts, 5))
        return 200, {"success": True, "result": self.random.choice(agent.results)}
