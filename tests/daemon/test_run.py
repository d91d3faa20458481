"""The daemon as a process: it boots, delivers, drains; it is killed, its database goes away; nothing is lost."""

import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
import trio

from cueapi.embedded_postgres.postmaster import running as running_server
from cueapi.storage.database import Database
from tests.conftest import Api, RunningDaemon, cue, in_database, say
from tests.moments import BEYOND, make_due, post_soon
from tests.ports import free_port
from tests.process import HANG, LOOK, DaemonProcess, daemon_process, embedded_home
from tests.receiver import Receiver, open_receiver
from tests.storage.own_postgres import OwnPostgres

DONE = (200, b'{"success": true}', {})
GRACE = 30
"""Seconds that a drain may take, unless told otherwise."""


async def fire(api: Api, url: str, times: int, **fields: object) -> list[str]:
    """Fire a new cue that calls *url* so many times; the ids of its executions."""
    made = await api.post("/v1/cues", cue(url, **fields))
    return [(await api.post(f"/v1/cues/{made['id']}/fire"))["id"] for _ in range(times)]


def arrivals(receiver: Receiver) -> Counter[str]:
    """How often each execution arrived."""
    return Counter(str(request.header("x-cueapi-execution-id")) for request in receiver.requests)


def tries(receiver: Receiver) -> list[str | None]:
    """Which try each request said that it was."""
    return [request.header("x-cueapi-attempt") for request in receiver.requests]


async def statuses(database: Database) -> dict[str, str]:
    """Each execution's status, as it stands in PostgreSQL."""
    return {str(row["id"]): row["status"] for row in await database.fetch("select id, status from executions")}


async def all_finished(database: Database, number: int) -> None:
    """Return when *number* executions are final."""
    finished = 0
    while finished < number:
        finished = len(await database.fetch("select id from executions where finished_at is not null"))
        await trio.sleep(0.05)


async def claims(database: Database) -> int:
    """How many deliveries some daemon holds."""
    row = await database.fetch_one("select count(*) as held from outbox where claimed_by is not null")
    assert row is not None
    return int(row["held"])


async def held_by(database: Database, daemon: int) -> set[str]:
    """The executions that the daemon of this number delivers."""
    rows = await database.fetch("select execution_id from outbox where claimed_by = $1", daemon)
    return {str(row["execution_id"]) for row in rows}


async def test_after_a_sigkill_everything_arrives_and_what_was_in_flight_at_most_twice(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    port = free_port()
    with trio.fail_after(HANG):
        async with open_receiver({"/quick": [DONE], "/slow": ["hang"] * 64 + [0.5]}) as receiver:
            async with daemon_process(tmp_path, port=port, DATABASE_URL=database_url) as killed:
                api = await killed.api.register()
                fired = await fire(api, receiver.url("/quick"), 30)
                await all_finished(database, 30)
                fired += await fire(api, receiver.url("/slow"), 120, delivery={"timeout_seconds": 900})
                await receiver.wait_for(30 + 64)
                await killed.kill()
            left = await statuses(database)
            async with daemon_process(tmp_path, port=port, DATABASE_URL=database_url):
                await all_finished(database, 150)

    arrived = arrivals(receiver)
    assert Counter(left.values()) == {"success": 30, "delivering": 64, "pending": 56}
    assert set(arrived) == set(fired)
    assert {arrived[one] for one in fired if left[one] != "delivering"} == {1}
    assert {arrived[one] for one in fired if left[one] == "delivering"} <= {1, 2}
    assert set(tries(receiver)) == {"1"}
    assert set((await statuses(database)).values()) == {"success"}


async def test_a_sigterm_drains_what_is_in_flight_ends_and_the_rest_waits_for_the_next_start(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    port = free_port()
    with trio.fail_after(HANG):
        async with open_receiver([1.0]) as receiver:
            async with daemon_process(tmp_path, port=port, DATABASE_URL=database_url) as drained:
                fired = await fire(await drained.api.register(), receiver.url(), 150)
                await receiver.wait_for(70)
                code = await drained.stop()
            left, held, requests = await statuses(database), await claims(database), len(receiver.requests)
            async with daemon_process(tmp_path, port=port, DATABASE_URL=database_url):
                await all_finished(database, 150)

    (begun,), (ended,), (stopped,) = (drained.log(event) for event in ("drain_begun", "drain_ended", "daemon_stopped"))
    last = max(request.at for request in receiver.requests[:requests])
    assert code == 0
    assert begun["reason"] == "SIGTERM"
    assert (ended["left"], ended["failed"], ended["channels"], stopped["clean"]) == ([], [], {}, True)
    assert ended["seconds"] < GRACE
    # A request that was begun before the signal may arrive after it; none is begun for what waits.
    assert last < datetime.fromisoformat(begun["timestamp"]).timestamp() + ended["seconds"]
    assert (Counter(left.values()), held) == (Counter(success=requests, pending=150 - requests), 0)
    assert arrivals(receiver) == dict.fromkeys(fired, 1)
    assert set((await statuses(database)).values()) == {"success"}


async def test_one_ctrl_c_drains_as_well(database_url: str, database: Database, tmp_path: Path) -> None:
    with trio.fail_after(HANG):
        async with open_receiver([1.0]) as receiver:
            async with daemon_process(tmp_path, DATABASE_URL=database_url) as daemon:
                (fired,) = await fire(await daemon.api.register(), receiver.url(), 1)
                await receiver.wait_for(1)
                daemon.send(signal.SIGINT)
                code = await daemon.ended()

    assert code == 0
    assert [(ended["reason"], ended["left"]) for ended in daemon.log("drain_ended")] == [("SIGINT", [])]
    assert await statuses(database) == {fired: "success"}


@pytest.mark.parametrize(
    ("sign", "background"),
    [(signal.SIGTERM, False), (signal.SIGINT, False), (signal.SIGTERM, True)],
    ids=["SIGTERM", "Ctrl-C", "SIGTERM in the background of a script"],
)
async def test_a_signal_during_the_start_is_a_clean_stop(
    tmp_path: Path, sign: signal.Signals, background: bool
) -> None:
    (silent,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = silent.socket.getsockname()[1]
    with trio.fail_after(HANG):
        async with silent:
            url = f"postgresql://me@127.0.0.1:{port}/none"
            async with daemon_process(
                tmp_path, healthy=False, fresh=True, background=background, DATABASE_URL=url
            ) as daemon:
                async with await silent.accept():
                    daemon.send(sign)
                    await daemon.ended()

    # Where the machine is slow, it has said by then that it waits for its database.
    told = [line for line in daemon.lines() if "database_awaited" not in line]
    assert (daemon.process.returncode, told) == (0, ["cueapid: interrupted"])


async def claims_of_a_worker(api: Api, execution: str) -> list[Any]:
    """What a heartbeat that claims is given, and how the other claims are refused."""
    beat = await api.post("/v1/worker/heartbeat", {"claim": 5, "wait_seconds": 30})
    paths = ("/v1/executions/claim", f"/v1/executions/{execution}/claim")
    return [beat["executions"], *[(await api.refused("POST", path))[:2] for path in paths]]


async def test_while_it_drains_the_daemon_is_down_for_balancers_and_takes_outcomes(
    database_url: str, tmp_path: Path
) -> None:
    drained = trio.Event()
    with trio.fail_after(HANG):
        async with open_receiver({"/later": [202], "/slow": [drained]}) as receiver:
            async with daemon_process(tmp_path, DATABASE_URL=database_url) as daemon:
                api = await daemon.api.register()
                (later,) = await fire(api, receiver.url("/later"), 1, delivery={"outcome_deadline_seconds": 600})
                (slow,) = await fire(api, receiver.url("/slow"), 1)
                await api.execution(later)
                await receiver.wait_for(2)
                daemon.send(signal.SIGTERM)
                await daemon.logs("drain_begun")
                status, health = await daemon.status(), await api.get("/health")
                reported = await api.post(f"/v1/executions/{later}/outcome", {"success": True, "result": "printed"})
                (unborn,) = await fire(api, receiver.url("/slow"), 1)
                work = (await api.post(f"/v1/cues/{(await api.post('/v1/cues', cue()))['id']}/fire"))["id"]
                handed_out = await claims_of_a_worker(api, work)
                shown = await api.get(f"/v1/executions/{later}")
                drained.set()
                code = await daemon.ended()

    assert (status, health["status"]) == ((503, "down"), "degraded")
    assert reported["outcome_state"] == "reported_success"
    assert handed_out == [[], (409, "claim_failed"), (409, "claim_failed")]
    assert shown["outcome"]["result"] == "printed"
    assert (code, arrivals(receiver)) == (0, {later: 1, slow: 1})
    assert unborn not in arrivals(receiver)


async def test_what_is_still_open_when_the_grace_is_over_is_cut_and_goes_back_as_the_same_attempt(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    port = free_port()
    with trio.fail_after(HANG):
        async with open_receiver([500, "hang", DONE]) as receiver:
            async with daemon_process(tmp_path, port=port, DATABASE_URL=database_url, SHUTDOWN_GRACE_SECONDS=1) as cut:
                api = await cut.api.register()
                (fired,) = await fire(api, receiver.url(), 1, retry={"backoff_minutes": [0]})
                await receiver.wait_for(2)
                code = await cut.stop()
            between, held = await statuses(database), await claims(database)
            async with daemon_process(tmp_path, port=port, DATABASE_URL=database_url) as daemon:
                shown = await Api(daemon.client, api.key).execution(fired)

    (ended,) = cut.log("drain_ended")
    assert code == 0
    assert "pool" in ended["left"]
    assert 1 <= ended["seconds"] < GRACE
    assert (between, held) == ({fired: "retrying"}, 0)
    assert tries(receiver) == ["1", "2", "2"]
    assert (shown["status"], shown["attempts"]) == ("success", 2)


async def test_a_second_signal_stops_at_once(database_url: str, database: Database, tmp_path: Path) -> None:
    with trio.fail_after(HANG):
        async with open_receiver(["hang"]) as receiver:
            async with daemon_process(tmp_path, DATABASE_URL=database_url) as daemon:
                (fired,) = await fire(await daemon.api.register(), receiver.url(), 1)
                await receiver.wait_for(1)
                daemon.send(signal.SIGTERM)
                await daemon.logs("drain_begun")
                daemon.send(signal.SIGTERM)
                with trio.fail_after(GRACE / 2):
                    await daemon.ended()

    assert daemon.log("stopped_at_once")
    assert "Traceback" not in daemon.logged.read_text()
    assert await statuses(database) == {fired: "pending"}
    assert await claims(database) == 0


@asynccontextmanager
async def two_daemons(
    home: Path, database_url: str, **settings: object
) -> AsyncIterator[tuple[DaemonProcess, DaemonProcess]]:
    """Two daemons on one database, started at once."""
    async with AsyncExitStack() as stack:
        pair = [
            await stack.enter_async_context(daemon_process(home, healthy=False, DATABASE_URL=database_url, **settings))
            for _ in range(2)
        ]
        for daemon in pair:
            await daemon.healthy()
        yield pair[0], pair[1]


async def test_two_daemons_on_one_database_fire_each_time_once(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    with trio.fail_after(HANG):
        async with open_receiver([DONE]) as receiver, two_daemons(tmp_path, database_url) as (one, other):
            api = await one.api.register()
            made = [
                await Api(daemon.client, api.key).post("/v1/cues", cue(receiver.url(), schedule=BEYOND))
                for daemon in (one, other) * 30
            ]
            await make_due(database, *(each["id"] for each in made))
            await all_finished(database, 60)
            codes = [await one.stop(), await other.stop()]

    cues = Counter(str(request.header("x-cueapi-cue-id")) for request in receiver.requests)
    fired = [sum(entry["executions"] for entry in daemon.log("cues_fired")) for daemon in (one, other)]
    assert (len(cues), set(cues.values())) == (60, {1})
    assert sum(fired) == 60
    assert codes == [0, 0]


async def test_what_a_drain_gives_back_is_taken_up_by_the_other_daemon_without_a_poll(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    patient = {"POLLER_INTERVAL_SECONDS": 3600, "SHUTDOWN_GRACE_SECONDS": 0}
    with trio.fail_after(HANG):
        async with open_receiver(["hang"]) as receiver, two_daemons(tmp_path, database_url, **patient) as (one, other):
            fired = await fire(await one.api.register(), receiver.url(), 30)
            await receiver.wait_for(30)
            numbers = {daemon.log("daemon_registered")[0]["daemon"]: daemon for daemon in (one, other)}
            # Which daemon claims how many is theirs to settle: the one with the most is ended.
            number, held = max([(each, len(await held_by(database, each))) for each in numbers], key=itemgetter(1))
            await numbers[number].stop()
            await receiver.wait_for(30 + held)

    assert held >= 15
    assert set(arrivals(receiver)) == set(fired)


async def test_what_a_killed_daemon_held_is_taken_over_by_the_other_one(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    with trio.fail_after(HANG):
        async with open_receiver([1.0]) as receiver, two_daemons(tmp_path, database_url) as (killed, heir):
            api = await killed.api.register()
            fired = await fire(api, receiver.url(), 60)
            await all_finished(database, 20)
            fired += await fire(api, receiver.url(), 60)
            number = killed.log("daemon_registered")[0]["daemon"]
            while not arrivals(receiver).keys() & await held_by(database, number):
                fired += await fire(api, receiver.url(), 1)
            await killed.kill()
            held = {one for one, status in (await statuses(database)).items() if status == "delivering"}
            await all_finished(database, len(fired))

    arrived = arrivals(receiver)
    assert set(arrived) == set(fired)
    assert 2 in {arrived[one] for one in held}
    assert {arrived[one] for one in held} <= {1, 2}
    assert {arrived[one] for one in fired if one not in held} == {1}
    assert heir.log("claims_recovered")


@pytest.fixture
def restartable_url(own_server: OwnPostgres) -> Iterator[str]:
    """An empty database on the server that may be stopped."""
    say(own_server.dsn, "create database restartable")
    yield in_database(own_server.dsn, "restartable")
    say(own_server.dsn, "drop database restartable with (force)")


@asynccontextmanager
async def away_for(seconds: float, server: OwnPostgres) -> AsyncIterator[None]:
    """Stop *server* for so long, in which the block runs."""
    await trio.to_thread.run_sync(server.stop)
    back_at = trio.current_time() + seconds
    try:
        yield
        await trio.sleep_until(back_at)
    finally:
        await trio.to_thread.run_sync(server.start)


async def test_while_postgresql_is_restarted_the_siblings_wait_and_nothing_is_lost(
    own_server: OwnPostgres, restartable_url: str, tmp_path: Path
) -> None:
    with trio.fail_after(HANG):
        async with open_receiver({"/slow": [2.0], "/": [DONE]}) as receiver:
            async with daemon_process(tmp_path, DATABASE_URL=restartable_url, POLLER_INTERVAL_SECONDS=1) as daemon:
                api = await daemon.api.register()
                fired = await fire(api, receiver.url("/slow"), 30)
                await receiver.wait_for(30)
                async with away_for(3, own_server):
                    refused = await api.refused("GET", "/v1/cues")
                    status = await daemon.status()
                    await daemon.logs("results_waited")
                    # The poller notices with its next poll.
                    while {(await daemon.siblings())[name]["state"] for name in ("poller", "wakeups")} != {"waiting"}:
                        await trio.sleep(LOOK)
                await daemon.healthy()
                fired += await fire(api, receiver.url("/"), 1)
                shown = [await api.execution(one) for one in fired]
                recovered = await daemon.siblings()
                code = await daemon.stop()

    assert refused[:2] == (503, "storage_unavailable")
    assert status == (503, "down")
    assert {(entry["state"], entry["restarts"]) for entry in recovered.values()} == {("running", 0)}
    assert arrivals(receiver) == dict.fromkeys(fired, 1)
    assert {(one["status"], one["attempts"]) for one in shown} == {("success", 1)}
    assert code == 0


@pytest.fixture
def place() -> Iterator[Path]:
    """A home with an embedded database."""
    with embedded_home() as home:
        yield home


async def test_the_embedded_database_keeps_the_user_over_a_stop_and_over_a_sigkill(place: Path) -> None:
    with trio.fail_after(HANG):
        async with daemon_process(place, SESSION_SECRET=None) as first:
            api = await first.api.register()
            code = await first.stop()
        server_after_stop = running_server(place / "data" / "postgres" / "data")
        async with daemon_process(place, SESSION_SECRET=None) as second:
            me = await Api(second.client, api.key).get("/v1/auth/me")
            await second.kill()
        async with daemon_process(place, SESSION_SECRET=None) as third:
            again = await Api(third.client, api.key).get("/v1/auth/me")
            again_code = await third.stop()

    assert (code, again_code) == (0, 0)
    assert server_after_stop is None
    assert me["email"] == again["email"] == "you@example.com"
    assert third.log("database_adopted")
    assert running_server(place / "data" / "postgres" / "data") is None


async def board(daemon: RunningDaemon) -> set[tuple[str, int]]:
    """In which states its siblings are, and how often they were restarted."""
    shown = (await daemon.client.get("/health")).json()["siblings"]
    return {(entry["state"], entry["restarts"]) for entry in shown.values()}


@pytest.mark.parametrize(
    "damage",
    [
        "update cues set callback_url = 'http://[' where id = '{0}'",
        "update cues set callback_headers = sha512('headers') where id = '{0}'",
        "update cues set run_count = 9223372036854775807 where id = '{0}'",
    ],
)
async def test_a_delivery_that_a_hand_has_damaged_fails_alone(
    daemon: RunningDaemon, api: Api, database: Database, damage: str
) -> None:
    with trio.fail_after(HANG):
        async with open_receiver({"/bad": [500], "/good": [DONE]}) as receiver:
            sound = await daemon.api.register("neighbour@example.com")
            bad = await api.post("/v1/cues", cue(receiver.url("/bad"), retry={"backoff_minutes": [0]}))
            good = await sound.post("/v1/cues", cue(receiver.url("/good")))
            async with database.transaction() as tx:
                await tx.run_script(damage.format(bad["id"]))
            failing = await api.post(f"/v1/cues/{bad['id']}/fire")
            working = await sound.post(f"/v1/cues/{good['id']}/fire")
            succeeded = await sound.execution(working["id"])
            failed = await api.execution(failing["id"])
            siblings = await board(daemon)

    assert succeeded["status"] == "success"
    assert failed["status"] == "failed"
    assert failed["error_message"]
    assert siblings == {("running", 0)}


@pytest.mark.parametrize(
    "damage",
    [
        "cron = 'now and then', next_run = now()",
        "cron = '* * * * * *', next_run = now()",
        "timezone = 'Mars/Olympus_Mons', next_run = now()",
        "timezone = '../../etc/passwd', next_run = now()",
    ],
)
async def test_a_cue_that_was_damaged_in_sql_is_quarantined_alone(
    daemon: RunningDaemon, api: Api, database: Database, damage: str
) -> None:
    with trio.fail_after(HANG):
        async with open_receiver([DONE]) as receiver:
            bad, good = [await api.post("/v1/cues", cue(receiver.url())) for _ in range(2)]
            async with database.transaction() as tx:
                await tx.run_script(f"update cues set {damage} where id = '{bad['id']}'")
                await tx.run_script(f"update cues set next_run = now() where id = '{good['id']}'")
            once = (await post_soon(api, 0.5, receiver.url()))[0].json()
            requests = await receiver.wait_for(2)
            shown = await api.get(f"/v1/cues/{bad['id']}")
            siblings = await board(daemon)

    assert {request.header("x-cueapi-cue-id") for request in requests} == {good["id"], once["id"]}
    assert (shown["status"], shown["next_run"]) == ("failed", None)
    assert shown["warning"].startswith("It cannot be fired: ")
    assert siblings == {("running", 0)}
