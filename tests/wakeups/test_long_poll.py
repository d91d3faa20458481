"""Calls that wait for work: who is woken, in which order, how often PostgreSQL is asked, who gives a place up."""

from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define, field

from cueapi.settings import Settings
from cueapi.storage.database import Database
from cueapi.wakeups import long_poll
from cueapi.wakeups.long_poll import ANYTHING, Found, LongPoll
from tests.conftest import Api, RunningDaemon, cue, running
from tests.delivery.siblings import alive, until


@define
class Work:
    """What there is to do, by kind, and how often somebody looked."""

    left: dict[object, deque[int]] = field(factory=dict)
    looks: int = 0

    def look(self, kind: object, most: int = 1) -> Callable[[], Awaitable[Found]]:
        """A look that takes at most so much."""

        async def look() -> Found:
            self.looks += 1
            await trio.lowlevel.checkpoint()
            mine = self.left.setdefault(kind, deque())
            rows = [mine.popleft() for _ in range(min(most, len(mine)))]
            return Found(rows, others=1000.0 if len(rows) == most else 0)  # type: ignore[arg-type]

        return look

    def add(self, kind: object, *numbers: int) -> None:
        """More to do."""
        self.left.setdefault(kind, deque()).extend(numbers)


@define
class Caller:
    """A call that waits, and what it got."""

    got: list[Any] | None = None
    scope: trio.CancelScope = field(factory=trio.CancelScope)

    async def wait(self, room: LongPoll, work: Work, kind: object = ANYTHING, patience: float = 30.0) -> None:
        with self.scope:
            self.got = await room.find(1, kind, work.look(kind), patience=patience)


async def callers(nursery: trio.Nursery, room: LongPoll, work: Work, *kinds: object) -> list[Caller]:
    """Calls of these kinds that wait, in this order."""
    made = []
    for kind in kinds:
        made.append(Caller())
        nursery.start_soon(made[-1].wait, room, work, kind)
        await until(lambda: len(room) == len(made))
    with trio.move_on_after(1):
        await trio.testing.wait_all_tasks_blocked()
    return made


async def settled(work: Work) -> None:
    """Return when nobody looks any more."""
    before = -1
    while work.looks != before:
        before = work.looks
        await trio.testing.wait_all_tasks_blocked()


async def test_who_asks_while_there_is_work_does_not_wait() -> None:
    room, work, caller = LongPoll(), Work(), Caller()
    work.add(ANYTHING, 7)

    await caller.wait(room, work)

    assert (caller.got, work.looks, len(room)) == ([7], 1, 0)


async def test_as_many_are_woken_as_there_is_work_the_oldest_first(autojump_clock: trio.testing.MockClock) -> None:
    room, work = LongPoll(), Work()
    async with trio.open_nursery() as nursery:
        waiting_calls = await callers(nursery, room, work, *[ANYTHING] * 10)
        looked = work.looks
        work.add(ANYTHING, 1, 2, 3)
        room.wake(1)
        await settled(work)

        assert [caller.got for caller in waiting_calls] == [[1], [2], [3]] + [None] * 7
        assert work.looks - looked == 4
        nursery.cancel_scope.cancel()


async def test_work_of_one_kind_passes_over_those_who_cannot_do_it(autojump_clock: trio.testing.MockClock) -> None:
    room, work = LongPoll(), Work()
    async with trio.open_nursery() as nursery:
        paint, print_, other = await callers(nursery, room, work, "paint", "print", "print")
        work.add("print", 5)
        room.wake(1)
        await settled(work)

        assert (paint.got, print_.got, other.got) == (None, [5], None)
        nursery.cancel_scope.cancel()


async def test_work_that_comes_while_the_token_is_under_way_is_found(autojump_clock: trio.testing.MockClock) -> None:
    room, work = LongPoll(), Work()
    async with trio.open_nursery() as nursery:
        first, second = await callers(nursery, room, work, "paint", "print")
        room.wake(1)
        await trio.lowlevel.checkpoint()
        work.add("paint", 1)
        room.wake(1)
        work.add("print", 2)
        room.wake(1)
        await settled(work)

        assert (first.got, second.got) == ([1], [2])


async def test_a_caller_that_goes_with_the_token_in_its_hand_hands_it_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    room, work = LongPoll(), Work()
    async with trio.open_nursery() as nursery:
        gone, stays = await callers(nursery, room, work, ANYTHING, ANYTHING)
        work.add(ANYTHING, 1)
        room.wake(1)
        gone.scope.cancel()
        await settled(work)

        assert (gone.got, stays.got, len(room)) == (None, [1], 0)


async def test_patience_ends_with_nothing_and_never_cuts_a_look(autojump_clock: trio.testing.MockClock) -> None:
    room = LongPoll()

    async def slow_look() -> Found:
        await trio.sleep(5)
        return Found([1])  # type: ignore[list-item]

    begun = trio.current_time()
    caller = Caller()
    await caller.wait(room, Work(), patience=3.0)
    waited = trio.current_time() - begun
    found = await room.find(1, ANYTHING, slow_look, patience=1.0)

    assert (caller.got, waited, found) == ([], 3.0, [1])


async def test_one_caller_too_many_is_answered_at_once(autojump_clock: trio.testing.MockClock) -> None:
    room, work = LongPoll(), Work()
    async with trio.open_nursery() as nursery:
        await callers(nursery, room, work, *[ANYTHING] * long_poll.MOST_OF_USER)
        begun, caller = trio.current_time(), Caller()
        await caller.wait(room, work)

        assert (caller.got, trio.current_time() - begun) == ([], 0.0)
        nursery.cancel_scope.cancel()


async def test_when_the_room_closes_everybody_is_answered_with_nothing(autojump_clock: trio.testing.MockClock) -> None:
    room, work = LongPoll(), Work()
    async with trio.open_nursery() as nursery:
        async with alive(room.run):
            waiting_calls = await callers(nursery, room, work, *[ANYTHING] * 3)
        await settled(work)
        late = Caller()
        await late.wait(room, work)

        assert [caller.got for caller in [*waiting_calls, late]] == [[]] * 4


async def heartbeat(api: Api, **fields: object) -> list[dict[str, Any]]:
    """What a heartbeat that claims is given."""
    return list((await api.post("/v1/worker/heartbeat", {"claim": 1, "wait_seconds": 20, **fields}))["executions"])


async def test_a_waiting_heartbeat_gets_what_is_fired_meanwhile_and_asks_postgresql_no_more(
    daemon: RunningDaemon, api: Api, database: Database
) -> None:
    given: list[dict[str, Any]] = []
    made = await api.post("/v1/cues", cue(name="print"))

    async def wait() -> None:
        given.extend(await heartbeat(api, handlers=["print"]))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await waits(daemon, 1)
            # It has looked once: what looks has a connection.
            await until(lambda: _claims(database))
            await until(lambda: not daemon.resources.database.pool.in_use)
            before = await _claims(database)
            asked = set()
            for _ in range(20):
                await trio.sleep(0.05)
                asked |= await _claims(database) - before
            fired = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]

    assert [one["execution_id"] for one in given] == [fired]
    assert given[0]["lease_seconds"] == 900
    assert asked == set()


async def waits(daemon: RunningDaemon, number: int) -> None:
    """Return when so many calls wait, as /metrics tells it."""
    line = f"cueapi_waiting_calls {number:.1f}"
    while line not in (await daemon.client.get("/metrics")).text.splitlines():
        await trio.sleep(0.01)


async def _claims(database: Database) -> set[tuple[object, ...]]:
    """The claims of workers that connections have last asked: each by its connection and its time."""
    rows = await database.fetch(
        "select pid, query_start from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid() and query like '%wanted as (%'"
    )
    return {tuple(row) for row in rows}


async def test_a_waiting_list_shows_what_comes_and_only_its_task(daemon: RunningDaemon, api: Api) -> None:
    shown: list[dict[str, Any]] = []
    paint = await api.post("/v1/cues", cue(payload={"task": "paint"}))
    print_ = await api.post("/v1/cues", cue(payload={"task": "print"}))

    async def wait() -> None:
        shown.extend((await api.get("/v1/executions/claimable?task=print&wait_seconds=20"))["executions"])

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await waits(daemon, 1)
            await api.post(f"/v1/cues/{paint['id']}/fire")
            fired = (await api.post(f"/v1/cues/{print_['id']}/fire"))["id"]

    assert [(one["execution_id"], one["task"]) for one in shown] == [(fired, "print")]


async def test_a_retry_and_a_fire_at_a_later_time_wake_who_waits(daemon: RunningDaemon, api: Api) -> None:
    made = await api.post("/v1/cues", cue(retry={"backoff_minutes": [0]}))
    fired = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]
    await api.post(f"/v1/executions/{fired}/claim")
    given: list[str] = []

    async def wait() -> None:
        given.extend(one["execution_id"] for one in await heartbeat(api))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await waits(daemon, 1)
            await api.post(f"/v1/executions/{fired}/outcome", {"success": False})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await waits(daemon, 1)
            soon = {"send_at": (await _soon(api))}
            later = (await api.post(f"/v1/cues/{made['id']}/fire", soon))["id"]

    assert given == [fired, later]


async def test_another_name_of_a_cue_wakes_who_waits_for_that(daemon: RunningDaemon, api: Api) -> None:
    made = await api.post("/v1/cues", cue(name="old"))
    fired = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]
    given: list[str] = []

    async def wait() -> None:
        body = {"handlers": ["new"], "claim": 1, "wait_seconds": 20}
        given.extend(one["execution_id"] for one in (await api.post("/v1/worker/heartbeat", body))["executions"])

    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await waits(daemon, 1)
            await until(lambda: not daemon.resources.database.pool.in_use)
            await api.patch(f"/v1/cues/{made['id']}", {"name": "new"})

    assert given == [fired]


async def _soon(api: Api) -> str:
    now = datetime.fromisoformat((await api.get("/health"))["timestamp"])
    return (now + timedelta(seconds=1)).isoformat()


async def test_the_other_daemon_wakes_who_waits_here(settings: Settings) -> None:
    given: list[str] = []

    with trio.fail_after(30):
        async with running(settings) as here, running(settings) as there:
            api = await here.api.register()
            made = await api.post("/v1/cues", cue())

            async def wait() -> None:
                given.extend(one["execution_id"] for one in await heartbeat(api))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await waits(here, 1)
                fired = (await Api(there.client, api.key).post(f"/v1/cues/{made['id']}/fire"))["id"]

    assert given == [fired]


async def test_a_client_that_hangs_up_frees_its_place_and_gets_no_work(daemon: RunningDaemon, api: Api) -> None:
    made = await api.post("/v1/cues", cue())

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(heartbeat, api)
            await waits(daemon, 1)
            nursery.cancel_scope.cancel()
        await waits(daemon, 0)
        fired = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]

    assert (await api.get(f"/v1/executions/{fired}"))["status"] == "pending"


async def test_a_drain_answers_who_waits_at_once(settings: Settings) -> None:
    given: list[list[dict[str, Any]]] = []

    with trio.fail_after(20):
        async with running(settings) as daemon:
            api = await daemon.api.register()

            async def wait() -> None:
                given.append(await heartbeat(api))

            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(wait)
                await waits(daemon, 3)
                daemon.stop("drain")

    assert given == [[], [], []]


@pytest.mark.parametrize("query", ["31", "-1", "x", "1e1", "1" * 30, "nan"])
async def test_waiting_has_its_bounds(api: Api, query: str) -> None:
    listed = await api.refused("GET", f"/v1/executions/claimable?wait_seconds={query}")
    body = {"claim": 1, "wait_seconds": 31}

    assert listed[:2] == (422, "validation_error")
    assert (await api.refused("POST", "/v1/worker/heartbeat", body))[:2] == (422, "validation_error")


async def test_what_a_worker_no_longer_runs_by_its_own_word_is_a_failed_attempt(api: Api, database: Database) -> None:
    made = await api.post("/v1/cues", cue(retry={"max_attempts": 1}))
    ids = [(await api.post(f"/v1/cues/{made['id']}/fire"))["id"] for _ in range(4)]
    for one in ids[:3]:
        await api.post(f"/v1/executions/{one}/claim", {"worker_id": "w1"})
    await api.post(f"/v1/executions/{ids[3]}/claim", {"worker_id": "w2"})
    await database.execute(
        "update executions set claimed_at = now() - interval '61 seconds' where id <> $1::uuid", ids[2]
    )

    await api.post("/v1/worker/heartbeat", {"worker_id": "w1", "running": [ids[0], "no id", ids[0].upper()]})

    shown = [await api.get(f"/v1/executions/{one}") for one in ids]
    assert [one["status"] for one in shown] == ["delivering", "failed", "delivering", "delivering"]
    assert shown[1]["error_message"] == "Worker w1 does not run it any more."
