"""What the machine plays on: a daemon that may fall, its receiver, a second daemon's rescue, and time that moves."""

import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import trio
from attrs import define, field, frozen

from cueapi.delivery.rescue import Patience, Rescue
from cueapi.metrics import Metrics
from cueapi.storage.postgres import Database, StorageUnavailable
from supervisor import Periodic
from tests.conftest import Api
from tests.machine.cradle import Cradle, open_cradle
from tests.machine.seen import NOTING, Seen, look
from tests.process import UP_PATIENCE, free_port
from tests.receiver import Receiver, Script, open_receiver

ANSWERS: Script = {
    "/done": [(200, b'{"success": true, "result": "inline", "external_id": "x-1"}')],
    "/undone": [(200, b'{"success": false, "result": "inline"}')],
    "/hopeless": [(200, b'{"success": false, "result": "inline, for good", "retry": false}')],
    "/later": [202],
    "/slow": [0.4],
    "/broken": [500],
    "/gone": [410],
    "/busy": [(503, b"", {"retry-after": "1"})],
    "/garbage": ["garbage"],
}

PATIENCE = 20.0
"""Seconds in which whatever must happen has happened."""

GLANCE = 0.02
"""Seconds between two looks at what a daemon does."""

# Everything that waits for a moment, so many seconds nearer to it. $1 the user, $2 seconds.
PASS = (
    """
    update executions
       set ready_at = ready_at - $2::float8 * interval '1 second',
           lease_until = lease_until - $2::float8 * interval '1 second',
           claimed_at = claimed_at - $2::float8 * interval '1 second',
           outcome_deadline_at = outcome_deadline_at - $2::float8 * interval '1 second'
     where user_id = $1
    """,
    """
    update outbox
       set ready_at = ready_at - $2::float8 * interval '1 second',
           lease_until = lease_until - $2::float8 * interval '1 second'
     where user_id = $1
    """,
    "update workers set last_heartbeat = last_heartbeat - $2::float8 * interval '1 second' where user_id = $1",
)

# $1 the cue, $2 for how many seconds it is late. A recurring one keeps to whole minutes, as its cron does.
COME = """
update cues
   set next_run = case when schedule_type = 'once' then now() else date_trunc('minute', now()) end
                - $2::float8 * interval '1 second',
       schedule_at = case when schedule_type = 'once' then now() - $2::float8 * interval '1 second' end
 where id = $1
   and status = 'active'
   and next_run is not null
   and deleted_at is null
returning next_run
"""


@frozen
class Question:
    """A request; header names are written with underscores."""

    method: str
    path: str
    body: Any = None
    headers: dict[str, str] = field(factory=dict)

    def __str__(self) -> str:
        parts = (self.method, self.path, self.body, self.headers)
        return " ".join(str(part) for part in parts if part)


@frozen
class Answer:
    """What a request was answered."""

    status: int
    body: dict[str, Any]
    replayed: bool

    @property
    def code(self) -> str:
        """The code of a refusal."""
        return str(self.body.get("error", {}).get("code", ""))

    def __str__(self) -> str:
        told = ("id", "status", "next_run", "execution_id", "outcome_state", "will_retry", "reason", "executions")
        return f"{self.status} {self.code or {name: self.body[name] for name in told if name in self.body}}"


@define(eq=False)
class Stage:
    """One daemon after the other, on one database and one port."""

    cradle: Cradle
    client: httpx.AsyncClient
    database: Database
    receiver: Receiver

    async def newcomer(self, number: int) -> tuple[str, int]:
        """A new user: the key, and the number in the database."""
        api = await Api(self.client).register(f"user-{number}@example.com")
        row = await self.database.fetch_one("select max(id) as id from users")
        return api.key, row["id"]

    async def ask(self, key: str, question: Question) -> Answer:
        """Ask as the user of *key*. Whatever is asked, it is no error of the server's."""
        with trio.fail_after(PATIENCE):
            response = await self._send(key, question)
        assert response.status_code < 500, f"{question}: {response.status_code} {response.text}"
        content = response.json() if response.content else {}
        return Answer(response.status_code, content, response.headers.get("Idempotent-Replayed") == "true")

    async def ask_at_once(self, key: str, questions: Sequence[Question]) -> list[Answer]:
        """All of them at once; the answers in the order of the questions."""
        answers: dict[int, Answer] = {}

        async def note(number: int, question: Question) -> None:
            answers[number] = await self.ask(key, question)

        async with trio.open_nursery() as nursery:
            for number, question in enumerate(questions):
                nursery.start_soon(note, number, question)
        return [answers[number] for number in range(len(questions))]

    async def _send(self, key: str, question: Question) -> httpx.Response:
        return await Api(self.client, key).ask(question.method, question.path, question.body, **question.headers)

    async def look(self, user: int) -> Seen:
        """What PostgreSQL holds of *user*."""
        return await look(self.database, user)

    async def start(self) -> None:
        """Have a daemon on the port, up."""
        await self.cradle.start()
        with trio.fail_after(UP_PATIENCE):
            while not await self._is_up():
                await trio.sleep(GLANCE)

    async def _is_up(self) -> bool:
        try:
            return (await self.client.get("/status")).status_code == 200
        except httpx.TransportError:
            return False

    async def fall_while_asked(self, key: str, question: Question, sign: signal.Signals, after: float) -> Answer:
        """*sign* hits the daemon some seconds after it was asked; the next one is asked the same."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ask_in_vain, key, question)
            await trio.sleep(after)
            code = await self.cradle.end(sign)
        assert code == (0 if sign == signal.SIGTERM else -sign)
        await self.start()
        with trio.fail_after(PATIENCE):
            while (answer := await self.ask(key, question)).code == "idempotency_key_in_use":
                await trio.sleep(GLANCE)
        return answer

    async def _ask_in_vain(self, key: str, question: Question) -> None:
        # In a thread: a request that breaks off leaves an asynchronous generator behind, of which Trio warns.
        headers = {"Authorization": f"Bearer {key}"} | {a.replace("_", "-"): b for a, b in question.headers.items()}
        url = self.client.base_url.join(question.path)
        with suppress(httpx.TransportError):
            await trio.to_thread.run_sync(
                partial(httpx.request, question.method, url, json=question.body, headers=headers, trust_env=False)
            )

    async def make_due(self, cue: str, late: float) -> str | None:
        """The cue was due so many seconds ago: its next run, if it has one."""
        row = await self.database.fetch_one(COME, cue, late)
        return None if row is None else row["next_run"]

    async def time_comes(self, cue: str, late: float) -> None:
        """The same, and it fires."""
        due = await self.make_due(cue, late)
        with trio.fail_after(PATIENCE):
            while await self.database.fetch("select from cues where id = $1 and next_run = $2", cue, due):
                await trio.sleep(GLANCE)

    async def pass_time(self, user: int, seconds: float) -> None:
        """So many seconds pass for *user*, and what is overdue is taken back."""
        with trio.fail_after(PATIENCE):
            while not await self._try_to_pass(user, seconds):
                await trio.sleep(GLANCE)

    async def _try_to_pass(self, user: int, seconds: float) -> bool:
        """Between two statements of the daemon's: it sees all of it or nothing."""
        try:
            async with self.database.transaction() as tx:
                await tx.execute("lock table outbox, executions in share row exclusive mode")
                for statement in PASS:
                    await tx.execute(statement, user, seconds)
        except StorageUnavailable:
            return False  # A deadlock, and we have lost.
        return True


@asynccontextmanager
async def open_stage(home: Path, url: str, database: Database) -> AsyncIterator[Stage]:
    """A stage on the database at *url*; its daemon is up."""
    async with database.transaction() as tx:
        await tx.run_script(NOTING)
    port = free_port()
    settings = {
        "DATABASE_URL": url,
        "POLLER_INTERVAL_SECONDS": 0.2,
        "RATE_LIMIT_PER_MINUTE": 1_000_000,
        "WORKER_EVIDENCE": True,
    }
    # A rescue looks every 5 s. This one, as if a second daemon had it, is in more of a hurry.
    quiet = Periodic(3600)
    rescue = Rescue(database, Periodic(0.1), quiet, quiet, lambda _: None, Patience(180, 900), Metrics())
    async with open_receiver(ANSWERS) as receiver, open_cradle(home, PORT=port, **settings) as cradle:
        limits = httpx.Limits(max_keepalive_connections=0)
        address = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=address, timeout=PATIENCE, trust_env=False, limits=limits) as client:
            stage = Stage(cradle, client, database, receiver)
            await stage.start()
            async with trio.open_nursery() as nursery:
                await nursery.start(rescue.run)
                yield stage
                nursery.cancel_scope.cancel()
