"""What the machine plays on: two daemons, of which one may fall, their receiver, and time that moves."""

import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path

import trio
from attrs import define, field

from cueapi.delivery.rescue import Rescue, RescueTimeouts
from cueapi.metrics import Metrics
from cueapi.storage.database import Database, StorageUnavailable
from supervisor import Periodic
from tests.conftest import Api
from tests.delivery.siblings import quiet_hub
from tests.machine.daemons import PATIENCE, Answer, Daemon, Question, open_daemons
from tests.machine.seen import NOTING, Seen, look
from tests.process import LOOK
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

# Everything that waits for a moment, so many seconds nearer to it. $1 the user, $2 seconds.
PASS = (
    """
    update executions
       set ready_at = ready_at - $2::float8 * interval '1 second',
           created_at = created_at - $2::float8 * interval '1 second',
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


@define(eq=False)
class Stage:
    """Two daemons on one database; questions go to the one and to the other by turns."""

    daemons: list[Daemon]
    database: Database
    receiver: Receiver
    turns: Iterator[Daemon] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.turns = cycle(self.daemons)

    async def newcomer(self, number: int) -> tuple[str, int]:
        """A new user: the key, and the number in the database."""
        api = await Api(next(self.turns).client).register(f"user-{number}@example.com")
        row = await self.database.fetch_one("select max(id) as id from users")
        return api.key, row["id"]

    async def ask(self, key: str, *questions: Question) -> list[Answer]:
        """All of them at once, as the user of *key*; the answers in the order of the questions."""
        answers: dict[int, Answer] = {}

        async def note(number: int, question: Question) -> None:
            answers[number] = await next(self.turns).ask(key, question)

        async with trio.open_nursery() as nursery:
            for number, question in enumerate(questions):
                nursery.start_soon(note, number, question)
        return [answers[number] for number in range(len(questions))]

    async def fall_while_asked(self, key: str, question: Question, sign: signal.Signals, after: float) -> Answer:
        """*sign* hits a daemon some seconds after it was asked; the other one is asked the same."""
        falling, other = next(self.turns), next(self.turns)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(falling.ask_in_vain, key, question)
            await trio.sleep(after)
            code = await falling.end(sign)
        assert code == (0 if sign == signal.SIGTERM else -sign)
        with trio.fail_after(PATIENCE):
            while (answer := await other.ask(key, question)).code == "idempotency_key_in_use":
                await trio.sleep(LOOK)
        await falling.start()
        return answer

    async def look(self, user: int) -> Seen:
        """What PostgreSQL holds of *user*."""
        return await look(self.database, user)

    async def make_due(self, cue: str, late: float) -> str | None:
        """The cue was due so many seconds ago: its next run, if it has one."""
        row = await self.database.fetch_one(COME, cue, late)
        return None if row is None else row["next_run"]

    async def time_comes(self, cue: str, late: float) -> None:
        """The same, and it fires."""
        due = await self.make_due(cue, late)
        with trio.fail_after(PATIENCE):
            while await self.database.fetch("select from cues where id = $1 and next_run = $2", cue, due):
                await trio.sleep(LOOK)

    async def pass_time(self, user: int, seconds: float) -> None:
        """So many seconds pass for *user*, and what is overdue is taken back."""
        with trio.fail_after(PATIENCE):
            while not await self._try_to_pass(user, seconds):
                await trio.sleep(LOOK)

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
    """A stage on the database at *url*; its daemons are up."""
    async with database.transaction() as tx:
        await tx.run_script(NOTING)
    settings = {
        "DATABASE_URL": url,
        "POLLER_INTERVAL_SECONDS": 0.2,
        "RATE_LIMIT_PER_MINUTE": 1_000_000,
        "WORKER_EVIDENCE": True,
        "LOG_LEVEL": "warning",
    }
    # A rescue looks every 5 s. This one, as if a third daemon had it, is in more of a hurry.
    timeouts = RescueTimeouts(180, 900, daemon_grace=0, worker_grace=0)
    rescue = Rescue(database, Periodic(0.1), quiet_hub(), timeouts, Metrics())
    async with open_receiver(ANSWERS) as receiver, open_daemons(home, 2, **settings) as daemons:
        async with trio.open_nursery() as nursery:
            await nursery.start(rescue.run)
            yield Stage(daemons, database, receiver)
            nursery.cancel_scope.cancel()
