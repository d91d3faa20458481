"""How many statements each GET sends: pages three and one for their session, calls as few as they do today."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import LiteralString

import httpx
import pytest
import trio
from attrs import evolve, field, frozen
from quart_trio import QuartTrio

from cueapi.api.http.app import make_app
from cueapi.daemon.resources import open_resources
from cueapi.daemon.routes import api_resources, request_gate
from cueapi.daemon.run import build_tree
from cueapi.daemon.wiring import Wiring
from cueapi.settings import Settings
from cueapi.storage.database import Database, R, T, Transaction
from cueapi.storage.outbox import CLAIM_DELIVERIES, RENEW_CLAIM
from cueapi.storage.transitions import APPLY_TRANSITIONS
from tests.conftest import NO_TLS, Api, cue
from tests.dashboard.browsing import SAME_ORIGIN
from tests.dashboard.test_alerts_workers import add_alert
from tests.dashboard.test_incidents import add_incident
from tests.process import HANG
from tests.receiver import open_receiver
from tests.storage.rows import add_cue, add_execution, ago


@frozen
class CountedTransaction(Transaction):
    """A transaction whose statements are noted."""

    sent: list[str]

    async def fetch(self, statement: LiteralString, *values: object, row: type[R] | None = None) -> list[R]:
        self.sent.append(statement)
        return await super().fetch(statement, *values, row=row)

    async def fetch_one(self, statement: LiteralString, *values: object, row: type[R] | None = None) -> R | None:
        self.sent.append(statement)
        return await super().fetch_one(statement, *values, row=row)

    async def execute(self, statement: LiteralString, *values: object) -> int:
        self.sent.append(statement)
        return await super().execute(statement, *values)


@frozen
class CountedDatabase(Database):
    """A database whose statements are noted."""

    sent: list[str] = field(factory=list)

    async def _send_once(self, verb: Callable[..., Awaitable[T]], *values: object, **options: object) -> T:
        self.sent.append(str(values[0]))
        return await super()._send_once(verb, *values, **options)

    @asynccontextmanager
    async def transaction(self, *, patience: float = 30.0) -> AsyncIterator[Transaction]:
        async with Database(self.pool).transaction(patience=patience) as tx:
            yield CountedTransaction(tx.connection, self.sent)


@frozen
class Counted:
    """An app without its siblings: what is sent to the database comes of a request."""

    app: QuartTrio
    api: Api
    database: CountedDatabase

    async def sign_in(self) -> str:
        """The cookie of a session."""
        answer = await self.api.client.post("/ui/sign-in", data={"api_key": self.api.key}, headers=SAME_ORIGIN)
        assert answer.status_code == 303
        self.api.client.cookies.clear()
        return str(answer.headers["set-cookie"].partition(";")[0])


@pytest.fixture
async def counted(settings: Settings) -> AsyncIterator[Counted]:
    async with open_resources(settings) as opened:
        database = CountedDatabase(opened.database.pool)
        resources = evolve(opened, database=database)
        wiring = Wiring.make(resources)
        app = make_app(request_gate(resources, wiring), api_resources(resources, wiring))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            yield Counted(app, await Api(client).register(), database)


async def fill(counted: Counted) -> dict[str, str]:
    """One of everything; what stands in a path for each of its parts."""
    api, database = counted.api, counted.database
    (row,) = await database.fetch("select id from users")
    cue_id = await add_cue(database, row["id"], name="brief", consecutive_failures=1, group_name="night")
    failed: dict[str, object] = {"status": "failed", "attempts": 1, "finished_at": ago(), "dead_at": ago()}
    execution = await add_execution(database, cue_id, **failed, outcome_attempt=1, outcome_state="reported_failure")
    await database.execute("insert into attempts (execution_id, attempt) values ($1, 1)", execution)
    await add_alert(database, row["id"], cue_id=cue_id, execution_id=execution)
    incident = await add_incident(database, row["id"], cue_id, "brief is failing")
    await api.post("/v1/worker/heartbeat", {"worker_id": "w1"})
    await api.ask("PUT", "/v1/mutes", {"group": "night"})
    await api.ask("PUT", "/v1/budgets/account", {"per": "day", "max_runs": 1})
    channel = await api.post("/v1/channels", {"kind": "webhook", "name": "ops", "url": "http://127.0.0.1:9/"})
    operation = await api.ask("POST", "/v1/operations", {"kind": "dismiss", "filter": {"cue_id": cue_id}})
    return {
        "cue_id": cue_id, "execution_id": str(execution), "incident_id": str(incident), "channel_id": channel["id"],
        "operation_id": operation.json()["id"], "scope": "account", "token": "x" * 32, "name": "x", "_rest": "nothing",
    }  # fmt: skip


ALLOWED: dict[int, tuple[str, ...]] = {
    0: (
        "/", "/auth/device", "/docs", "/docs/<name>", "/favicon.ico", "/openapi.json",
        "/static/style.css", "/ui/static/<name>", "/v1/auth/verify", "/v1/info", "/v1/report/<token>",
    ),
    1: (
        "/auth/channel", "/auth/confirm", "/metrics", "/status", "/ui/<path:_rest>", "/ui/cues/new",
        "/ui/enter/<token>", "/ui/sign-in",
    ),
    2: (
        "/ui/account/audit", "/ui/account/budgets", "/ui/account/keys", "/ui/channels",
        "/ui/cues/<cue_id>/backfill", "/ui/cues/<cue_id>/edit", "/ui/executions",
        "/ui/executions/<execution_id>/payload", "/ui/incidents", "/ui/incidents/<incident_id>", "/ui/mutes",
        "/ui/operations", "/ui/operations/<operation_id>", "/v1/alerts", "/v1/audit",
        "/v1/auth/alert-webhook-secret", "/v1/auth/key", "/v1/auth/me", "/v1/auth/webhook-secret",
        "/v1/budgets", "/v1/budgets/<scope>", "/v1/channels", "/v1/channels/<channel_id>", "/v1/cues",
        "/v1/cues/<cue_id>", "/v1/cues/<cue_id>/upcoming", "/v1/dead", "/v1/dead/summary", "/v1/echo/<token>",
        "/v1/executions", "/v1/executions/claimable", "/v1/hold", "/v1/incidents",
        "/v1/incidents/<incident_id>", "/v1/keys", "/v1/mutes", "/v1/operations",
        "/v1/operations/<operation_id>", "/v1/targets", "/v1/usage", "/v1/workers",
    ),
    3: (
        "/ui/account", "/ui/alerts", "/ui/cues", "/ui/cues/<cue_id>", "/ui/cues/all", "/ui/dead", "/ui/workers",
        "/v1/cues/<cue_id>/executions", "/v1/executions/<execution_id>",
    ),
    4: (
        "/ui", "/ui/executions/<execution_id>", "/ui/targets",
    ),
}  # fmt: skip
"""GET routes by the number of their statements, that of the key or the session included."""

STREAMS = {"/v1/events", "/ui/events"}
"""They stay open."""

OF_SIBLINGS = {"/health", "/ui/system"}
"""What they show the siblings tell, which are not there."""

MOST = 4
"""Statements of a page: three, and one for its session."""


async def test_no_get_sends_a_statement_more_than_it_may(counted: Counted) -> None:
    parts = await fill(counted)
    cookie = await counted.sign_in()
    rules = {rule.rule for rule in counted.app.url_map.iter_rules() if "GET" in (rule.methods or ())}
    sent = {}
    for rule in sorted(rules - STREAMS - OF_SIBLINGS):
        headers = {"Cookie": cookie} if rule.startswith("/ui") else {"Authorization": f"Bearer {counted.api.key}"}
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda found: parts[found[1]], rule) + QUERIES.get(rule, "")
        counted.database.sent.clear()
        answer = await counted.api.client.get(path, headers=headers)
        sent[rule] = [*counted.database.sent]
        assert answer.status_code == 200 or rule in WITHOUT_200, f"{path}: {answer.status_code} {answer.text}"

    assert {rule: len(statements) for rule, statements in sent.items()} == {
        rule: number for number, named in ALLOWED.items() for rule in named
    }
    assert max(len(statements) for rule, statements in sent.items() if rule.startswith("/ui")) <= MOST


QUERIES = {"/ui/cues/all": "?do=pause"}
"""What a route must be asked."""

WITHOUT_200 = {
    "/", "/favicon.ico", "/auth/channel", "/auth/confirm", "/auth/device", "/docs/<name>", "/ui/<path:_rest>",
    "/ui/enter/<token>", "/ui/sign-in", "/ui/static/<name>", "/v1/auth/verify", "/v1/report/<token>",
}  # fmt: skip
"""Routes that lead on, or refuse what stands in the path here."""


@asynccontextmanager
async def counted_daemon(settings: Settings) -> AsyncIterator[tuple[Api, CountedDatabase]]:
    """A daemon whose statements are noted."""
    async with open_resources(settings) as opened:
        database = CountedDatabase(opened.database.pool)
        # The siblings that fire, claim and record have connections of their own.
        engine = CountedDatabase(opened.engine.pool, sent=database.sent)
        tree = build_tree(evolve(opened, database=database, engine=engine))
        address = f"http://127.0.0.1:{opened.listener.getsockname()[1]}"
        async with (
            trio.open_nursery() as nursery,
            httpx.AsyncClient(base_url=address, verify=NO_TLS, timeout=HANG) as client,
        ):
            await nursery.start(tree.run)
            yield Api(client), database
            tree.stop("the block has ended")


async def test_deliveries_that_no_page_looks_at_send_nothing_that_they_do_not_send_without_a_dashboard(
    settings: Settings,
) -> None:
    with trio.fail_after(60):
        async with open_receiver() as receiver:
            async with counted_daemon(settings) as (stranger, database):
                api = await stranger.register()
                made = await api.post("/v1/cues", cue(receiver.url()))
                database.sent.clear()
                for _ in range(5):
                    await api.execution((await api.post(f"/v1/cues/{made['id']}/fire"))["id"])
                # A claim is asked about only where a second has passed before its request.
                sent = {*database.sent} - {RENEW_CLAIM}
                assert sent >= {CLAIM_DELIVERIES, APPLY_TRANSITIONS}
            async with counted_daemon(settings.model_copy(update={"dashboard": False})) as (stranger, database):
                plain = evolve(stranger, key=api.key)
                # What siblings do now and then comes sooner or later; what a dashboard adds never would.
                while sent - {*database.sent}:
                    await plain.execution((await plain.post(f"/v1/cues/{made['id']}/fire"))["id"])
