"""A daemon is frozen (SIGSTOP) and goes on later, as a paused machine does: it knows nothing of the time between."""

import signal
from collections import Counter
from pathlib import Path

import trio
from attrs import define

from cueapi.delivery.claims import FRESH_FOR
from cueapi.delivery.standstill import NOTICED
from cueapi.storage.database import Database
from tests.chaos.faults import cut_all, open_auditor
from tests.conftest import cue
from tests.delivery.siblings import until
from tests.delivery.test_dispatcher import backlog
from tests.process import DaemonProcess, daemon_process
from tests.receiver import open_receiver
from tests.storage.rows import add_user
from tests.trio_asyncpg.relay import relay_to

DELIVERIES = 30
SETTINGS = {"POLLER_INTERVAL_SECONDS": 0.5}


@define
class Frozen:
    """A daemon that does not run, since a moment in Trio's time."""

    daemon: DaemonProcess
    since: float

    async def thaw(self, after: float) -> None:
        """Let it go on once it was frozen for so many seconds."""
        await trio.sleep_until(self.since + after)
        self.daemon.send(signal.SIGCONT)


def freeze(daemon: DaemonProcess) -> Frozen:
    """Stop it in whatever it does."""
    daemon.send(signal.SIGSTOP)
    return Frozen(daemon, trio.current_time())


async def all_are(database: Database, condition: str) -> bool:
    """True where all deliveries of the backlog meet the condition."""
    (row,) = await database.fetch(
        f"select count(*) as met from executions e left join outbox o on o.execution_id = e.id where {condition}"
    )
    return bool(row["met"] == DELIVERIES)


GIVEN_UP = "update daemons set free_since = now() - interval '6 seconds'"
"""Its lock is free, and another daemon has seen that twice."""


async def test_frozen_before_it_hears_of_its_claim_it_sends_nothing_that_another_daemon_has_settled(
    database_url: str, tmp_path: Path
) -> None:
    with trio.fail_after(90):
        async with (
            open_receiver() as receiver,
            relay_to(database_url) as relay,
            open_auditor(database_url) as database,
            daemon_process(tmp_path, DATABASE_URL=relay.through(database_url), **SETTINGS) as first,
        ):
            relay.stop_at = b"/claimed"
            user, address = await add_user(database), f"127.0.0.1:{receiver.port}"
            async with database.transaction() as tx:
                await backlog(tx, DELIVERIES, user=user, host=address, url=receiver.url("/claimed"))
                # A claim that began just before, and sees them, is to find all of them due.
                await tx.execute("update outbox set ready_at = ready_at - interval '1 second'")
            await relay.stopped.wait()
            await until(lambda: all_are(database, "o.claimed_by is not null"))
            frozen = freeze(first)
            # The answer to its claim comes into its socket, and behind it the end of each connection.
            relay.flow()
            await cut_all(database)
            await database.execute(GIVEN_UP)
            async with daemon_process(tmp_path, DATABASE_URL=database_url, **SETTINGS) as second:
                await until(lambda: all_are(database, "e.status = 'success'"))
                await frozen.thaw(after=FRESH_FOR + 0.5)
                await until(lambda: len(first.log("result_dropped")) == DELIVERIES)
                codes = [await first.stop(), await second.stop()]

    assert len(receiver.requests) == DELIVERIES
    assert codes == [0, 0]


async def test_frozen_past_the_deadlines_of_its_attempts_it_reads_what_has_come_and_fails_only_what_hangs(
    database_url: str, tmp_path: Path
) -> None:
    brief = {"delivery": {"timeout_seconds": 4}, "retry": {"max_attempts": 1}}
    with trio.fail_after(90):
        async with (
            open_receiver({"/slow": [1.0], "/hang": ["hang"]}) as receiver,
            daemon_process(tmp_path, DATABASE_URL=database_url, **SETTINGS) as daemon,
        ):
            api = await daemon.api.register()
            slow = await api.post("/v1/cues", cue(receiver.url("/slow"), **brief))
            hang = await api.post("/v1/cues", cue(receiver.url("/hang"), **brief))
            fired = [await api.post(f"/v1/cues/{made['id']}/fire") for made in (*[slow] * 8, hang)]
            await receiver.wait_for(len(fired))
            frozen = freeze(daemon)
            await frozen.thaw(after=4.0 + NOTICED + 0.5)
            ended = [await api.execution(one["id"]) for one in fired]
            alerts = (await api.get("/v1/alerts"))["alerts"]

    seen = Counter(request.path for request in receiver.requests)
    assert [one["status"] for one in ended] == ["success"] * 8 + ["failed"]
    assert seen == {"/slow": 8, "/hang": 2}
    assert (ended[-1]["attempts"], ended[-1]["error_message"]) == (1, "no answer within 4 s")
    assert [alert["execution_id"] for alert in alerts] == [fired[-1]["id"]]
