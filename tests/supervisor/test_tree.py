"""A tree comes up in order or not at all."""

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from supervisor import Channel, OnStop, RestartsExhausted, Sibling, SiblingReturned, State, Tree
from supervisor.restart import Policy
from supervisor.sibling import Run


async def serve(*, task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    await trio.sleep_forever()


def slowly(seconds: float, came_up: list[float]) -> Run:
    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(seconds)
        came_up.append(trio.current_time())
        task_status.started()
        await trio.sleep_forever()

    return run


async def test_siblings_come_up_one_after_the_other_and_then_the_tree_is_up(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    came_up: list[float] = []
    tree = Tree(
        [Sibling(name, slowly(2, came_up), OnStop.CANCEL) for name in ("recorder", "pool", "poller")],
    )
    with trio.fail_after(10):
        await nursery.start(tree.run)

    assert came_up == [2, 4, 6]
    assert trio.current_time() == 6
    assert tree.board.all_up()
    nursery.cancel_scope.cancel()


async def test_a_sibling_that_does_not_come_up_fails_the_whole_start_with_its_own_error(
    autojump_clock: MockClock,
) -> None:
    ended: list[str] = []

    async def recorder(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            ended.append("recorder")

    async def api(*, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(1)
        raise OSError("port 8000 is taken")

    tree = Tree(
        [
            Sibling("recorder", recorder, OnStop.FINISH),
            Sibling("api", api, OnStop.LAST),
            Sibling("poller", serve, OnStop.CANCEL),
        ],
        waits_for=(OSError,),
    )
    with trio.fail_after(5), pytest.raises(OSError, match="port 8000 is taken"):
        await tree.run()

    assert ended == ["recorder"]
    assert {name: entry.state for name, entry in tree.board.snapshot().items()} == {
        "recorder": State.STOPPED,
        "api": State.FAILED,
        "poller": State.STARTING,
    }


async def test_a_sibling_that_returns_before_it_has_come_up_fails_the_start(
    autojump_clock: MockClock,
) -> None:
    async def nothing(*, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(1)

    with trio.fail_after(5), pytest.raises(SiblingReturned, match="'api'"):
        await Tree([Sibling("api", nothing, OnStop.LAST)]).run()


async def test_a_failed_start_does_not_wait_for_a_neighbour_that_pauses(autojump_clock: MockClock) -> None:
    async def crash(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        raise ValueError("at once")

    async def api(*, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(0.5)
        raise OSError("port 8000 is taken")

    tree = Tree([Sibling("crash", crash, OnStop.FINISH), Sibling("api", api, OnStop.LAST)])
    with trio.fail_after(0.6), pytest.raises(OSError, match="port 8000 is taken"):
        await tree.run()


async def test_a_stop_in_the_midst_of_the_start_calls_it_off_and_drains(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    came_up: list[float] = []
    tree = Tree(
        [
            Sibling("recorder", serve, OnStop.LAST),
            Sibling("pool", slowly(60, came_up), OnStop.FINISH),
            Sibling("poller", serve, OnStop.CANCEL),
        ]
    )

    async def stop_soon() -> None:
        await trio.sleep(5)
        tree.stop("SIGTERM")

    nursery.start_soon(stop_soon)
    with trio.fail_after(6):
        drained = await tree.run()

    assert came_up == []
    assert drained.is_clean()
    assert tree.board.snapshot()["poller"].state is State.STARTING


async def test_a_tree_that_was_stopped_before_it_ran_starts_nobody(autojump_clock: MockClock) -> None:
    came_up: list[float] = []
    tree = Tree([Sibling("pool", slowly(0, came_up), OnStop.FINISH)])
    tree.stop("SIGTERM")
    with trio.fail_after(1):
        drained = await tree.run()

    assert came_up == []
    assert drained.reason == "SIGTERM"


async def test_who_started_a_tree_that_is_stopped_meanwhile_is_told(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    tree = Tree([Sibling("pool", slowly(60, []), OnStop.FINISH)])
    tree.stop("SIGTERM")
    with trio.fail_after(1):
        await nursery.start(tree.run)

    assert tree.stopping.is_set()


async def test_a_sibling_that_falls_too_often_during_the_start_ends_it(autojump_clock: MockClock) -> None:
    async def crash(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        raise ValueError("bad")

    tree = Tree(
        [
            Sibling("crash", crash, OnStop.FINISH, Policy(limit=0)),
            Sibling("slow", slowly(60, []), OnStop.FINISH),
        ]
    )
    with trio.fail_after(1), pytest.raises(RestartsExhausted):
        await tree.run()


async def test_the_surroundings_cancelled_end_everything_at_once(autojump_clock: MockClock) -> None:
    channel = Channel[int]("deliveries", 1)

    async def fill(*, task_status: trio.TaskStatus[None]) -> None:
        with channel.sender() as sender:
            task_status.started()
            while True:
                await sender.send(0)

    tree = Tree(
        [
            Sibling("pool", serve, OnStop.FINISH),
            Sibling("outbox", fill, OnStop.CANCEL),
            Sibling("api", serve, OnStop.LAST),
        ],
        [channel],
    )
    with trio.fail_after(5.5), trio.move_on_after(5) as scope:
        await tree.run()

    assert scope.cancelled_caught
    assert {entry.state for entry in tree.board.snapshot().values()} == {State.STOPPED}


def test_two_siblings_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two siblings have one name: pool, pool"):
        Tree([Sibling("pool", serve, OnStop.FINISH), Sibling("pool", serve, OnStop.FINISH)])
