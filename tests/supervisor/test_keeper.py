"""Running siblings fall alone and come back; too many falls end the tree; what is away is waited for."""

from collections.abc import Callable

import pytest
import trio
from structlog.typing import EventDict
from trio.testing import MockClock

from supervisor import Channel, OnStop, Policy, RestartsExhausted, Sibling, State, Tree, beat
from supervisor.sibling import Run


class StorageAway(Exception):
    """What the siblings of these tests stand on is away."""


async def serve(*, task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    await trio.sleep_forever()


def counting(seen: list[float]) -> Run:
    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        while True:
            seen.append(trio.current_time())
            await trio.sleep(1)

    return run


def falling(lives: list[float], error: Callable[[], Exception | None], lasting: float = 0.0) -> Run:
    """Each life lasts *lasting* seconds and ends with *error*, or for ever where that is None."""

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        lives.append(trio.current_time())
        task_status.started()
        await trio.sleep(lasting)
        if (failure := error()) is not None:
            raise failure
        await trio.sleep_forever()

    return run


def away_until(moment: float) -> Callable[[], Exception | None]:
    return lambda: StorageAway("refused") if trio.current_time() < moment else None


async def test_a_crashed_sibling_comes_back_after_growing_pauses_while_its_neighbour_keeps_running(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    lives: list[float] = []
    seen: list[float] = []
    tree = Tree(
        [
            Sibling("collect", falling(lives, lambda: ValueError("bad row")), OnStop.FINISH),
            Sibling("count", counting(seen), OnStop.CANCEL),
        ]
    )
    await nursery.start(tree.run)
    await trio.sleep(8.1)

    assert lives == [0, 1, 3, 7]
    assert seen == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert tree.board.snapshot()["collect"].restarts == 4
    assert tree.board.snapshot()["collect"].state is State.RESTARTING
    assert tree.board.snapshot()["collect"].last_error == "ValueError: bad row"
    assert tree.board.snapshot()["count"].restarts == 0
    nursery.cancel_scope.cancel()


async def test_a_sibling_that_came_back_is_running_and_its_error_is_remembered(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    errors = iter([ValueError("once"), None])
    tree = Tree([Sibling("collect", falling([], lambda: next(errors)), OnStop.FINISH)])
    await nursery.start(tree.run)
    await trio.sleep(2)

    entry = tree.board.snapshot()["collect"]
    assert (entry.state, entry.restarts, entry.last_error) == (State.RUNNING, 1, "ValueError: once")
    nursery.cancel_scope.cancel()


async def test_a_sibling_that_returns_before_stop_has_fallen(
    autojump_clock: MockClock, nursery: trio.Nursery, logged: list[EventDict]
) -> None:
    async def once(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()

    tree = Tree([Sibling("janitor", once, OnStop.CANCEL)])
    await nursery.start(tree.run)
    await trio.sleep(0.5)

    assert (logged[0]["event"], logged[0]["sibling"]) == ("sibling_failed", "janitor")
    assert logged[0]["error"] == ("SiblingReturned: sibling 'janitor' returned before it was asked to stop")
    nursery.cancel_scope.cancel()


async def test_a_consumer_that_falls_breaks_its_channel_for_nobody(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    channel = Channel[int]("numbers", 1)
    collected: list[int] = []

    async def collect(*, task_status: trio.TaskStatus[None]) -> None:
        with channel.receiver() as numbers:
            task_status.started()
            async for number in numbers:
                if number == 2:
                    raise ValueError(number)
                collected.append(number)

    async def count(*, task_status: trio.TaskStatus[None]) -> None:
        with channel.sender() as numbers:
            task_status.started()
            for number in range(10):
                await numbers.send(number)
            await trio.sleep_forever()

    tree = Tree([Sibling("collect", collect, OnStop.FINISH), Sibling("count", count, OnStop.CANCEL)], [channel])
    await nursery.start(tree.run)
    await trio.sleep(2)

    assert collected == [0, 1, 3, 4, 5, 6, 7, 8, 9]
    assert tree.board.snapshot()["count"].restarts == 0
    nursery.cancel_scope.cancel()


async def test_a_sibling_that_falls_too_often_ends_the_tree_after_a_drain(
    autojump_clock: MockClock, logged: list[EventDict]
) -> None:
    lives: list[float] = []
    ended: list[str] = []

    async def neighbour(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            ended.append("neighbour")

    tree = Tree(
        [
            Sibling("poller", falling(lives, lambda: ValueError("bad row")), OnStop.CANCEL, Policy(limit=3)),
            Sibling("api", neighbour, OnStop.LAST),
        ]
    )
    with trio.fail_after(20), pytest.raises(RestartsExhausted) as raised:
        await tree.run()

    assert lives == [0, 1, 3, 7]
    assert ended == ["neighbour"]
    assert str(raised.value) == "sibling 'poller' failed 4 times within 60 s, at last with ValueError: bad row"
    assert [line["event"] for line in logged[-3:]] == ["restarts_exhausted", "drain_begun", "drain_ended"]
    assert logged[-1]["reason"] == str(raised.value)
    assert logged[-1]["failed"] == ("poller",)


async def test_failures_far_apart_never_end_the_tree(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    lives: list[float] = []
    fall = falling(lives, lambda: ValueError("now and then"), lasting=60)
    tree = Tree([Sibling("poller", fall, OnStop.CANCEL, Policy(limit=1, window=60))])
    await nursery.start(tree.run)
    await trio.sleep(611)

    assert lives == [61 * life for life in range(11)]
    nursery.cancel_scope.cancel()


async def test_a_sibling_whose_storage_is_away_waits_and_is_not_counted(
    autojump_clock: MockClock, nursery: trio.Nursery, logged: list[EventDict]
) -> None:
    lives: list[float] = []
    away = falling(lives, away_until(1000))
    tree = Tree([Sibling("poller", away, OnStop.CANCEL, Policy(limit=0))], waits_for=(StorageAway,))
    await nursery.start(tree.run)
    await trio.sleep(100)

    entry = tree.board.snapshot()["poller"]
    assert lives == [0, 1, 3, 7, 15, 30, 45, 60, 75, 90]
    assert (entry.state, entry.restarts, entry.last_error) == (State.WAITING, 0, "StorageAway: refused")
    assert [line["event"] for line in logged if line["log_level"] == "warning"] == ["sibling_waiting"]
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("error", [OSError(24, "x"), ExceptionGroup("x", [OSError(24, "x"), StorageAway("x")])])
async def test_a_sibling_that_the_machine_is_too_short_for_waits_and_is_not_counted(
    autojump_clock: MockClock, nursery: trio.Nursery, error: Exception
) -> None:
    lives: list[float] = []
    sibling = Sibling("poller", falling(lives, lambda: error), OnStop.CANCEL, Policy(limit=0))
    tree = Tree([sibling], waits_for=(StorageAway,), is_shortage=lambda failure: getattr(failure, "errno", 0) == 24)
    await nursery.start(tree.run)
    await trio.sleep(100)

    entry = tree.board.snapshot()["poller"]
    assert (entry.state, entry.restarts, len(lives)) == (State.WAITING, 0, 10)
    nursery.cancel_scope.cancel()


async def test_a_wait_in_which_each_attempt_takes_long_is_one_episode(
    autojump_clock: MockClock, nursery: trio.Nursery, logged: list[EventDict]
) -> None:
    away_from = 10.0

    async def listen(*, task_status: trio.TaskStatus[None]) -> None:
        if trio.current_time() >= away_from:
            await trio.sleep(10)  # until the connection attempt is given up
            raise StorageAway
        task_status.started()
        await trio.sleep_until(away_from)
        raise StorageAway

    tree = Tree([Sibling("wakeups", listen, OnStop.CANCEL, longest_wait=2.0)], waits_for=(StorageAway,))
    await nursery.start(tree.run)
    await trio.sleep(100)

    assert [line["event"] for line in logged if line["log_level"] == "warning"] == ["sibling_waiting"]
    nursery.cancel_scope.cancel()


async def test_a_wait_ends_when_the_storage_is_back_and_the_next_one_begins_with_a_short_pause(
    autojump_clock: MockClock, nursery: trio.Nursery, logged: list[EventDict]
) -> None:
    lives: list[float] = []
    away = [(0.0, 10.0), (100.0, 102.0)]

    async def poll(*, task_status: trio.TaskStatus[None]) -> None:
        lives.append(trio.current_time())
        task_status.started()
        while True:
            if any(begin <= trio.current_time() < end for begin, end in away):
                raise StorageAway
            beat()
            await trio.sleep(5)

    tree = Tree([Sibling("poller", poll, OnStop.CANCEL, silent_after=10)], waits_for=(StorageAway,))
    await nursery.start(tree.run)
    await trio.sleep(14)
    before = tree.board.snapshot()["poller"].state
    await trio.sleep(6)
    between = tree.board.snapshot()["poller"].state
    await trio.sleep(100)

    assert lives == [0, 1, 3, 7, 15, 101, 103]
    assert (before, between) == (State.WAITING, State.RUNNING)
    assert [line["event"] for line in logged] == ["sibling_waiting", "sibling_resumed"] * 2
    nursery.cancel_scope.cancel()


async def test_a_beating_sibling_is_shown_as_waiting_until_its_first_beat(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Its `started()` comes before its first query, which may hang for long."""
    tree = Tree(
        [Sibling("poller", falling([], away_until(20), lasting=8), OnStop.CANCEL, silent_after=60)],
        waits_for=(StorageAway,),
    )
    await nursery.start(tree.run)
    await trio.sleep(10)

    assert tree.board.snapshot()["poller"].state is State.WAITING
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("inner", "state"),
    [
        pytest.param([StorageAway(), StorageAway()], State.WAITING, id="of nothing else: a wait"),
        pytest.param([ExceptionGroup("", [StorageAway()])], State.WAITING, id="nested: a wait"),
        pytest.param([StorageAway(), ValueError()], State.RESTARTING, id="of something else too: a fall"),
    ],
)
async def test_a_group_of_errors_is_a_wait_when_it_consists_of_nothing_else(
    autojump_clock: MockClock, nursery: trio.Nursery, inner: list[Exception], state: State
) -> None:
    tree = Tree(
        [Sibling("pool", falling([], lambda: ExceptionGroup("", inner)), OnStop.FINISH)],
        waits_for=(StorageAway,),
    )
    await nursery.start(tree.run)
    await trio.sleep(0.5)

    assert tree.board.snapshot()["pool"].state is state
    nursery.cancel_scope.cancel()


async def test_a_group_of_errors_is_a_fall_where_nothing_is_waited_for(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    tree = Tree(
        [Sibling("pool", falling([], lambda: ExceptionGroup("", [StorageAway()])), OnStop.FINISH)],
    )
    await nursery.start(tree.run)
    await trio.sleep(0.5)

    assert tree.board.snapshot()["pool"].state is State.RESTARTING
    nursery.cancel_scope.cancel()


async def test_the_logs_of_a_sibling_and_of_its_children_name_it(
    autojump_clock: MockClock, nursery: trio.Nursery, logged: list[EventDict]
) -> None:
    tree = Tree([Sibling("pool", falling([], lambda: ValueError("x")), OnStop.FINISH)])
    await nursery.start(tree.run)
    await trio.sleep(0.5)

    assert (logged[0]["sibling"], logged[0]["pause"]) == ("pool", 1.0)
    nursery.cancel_scope.cancel()
