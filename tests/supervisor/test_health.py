"""The board tells how each sibling is."""

from datetime import UTC, datetime, timedelta

import trio
from trio.testing import MockClock

from supervisor import Entry, HealthBoard, OnStop, Sibling, State, Tree, beat

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def noon_and_trio_time() -> datetime:
    return NOON + timedelta(seconds=trio.current_time())


async def test_a_sibling_is_starting_until_it_has_come_up(autojump_clock: MockClock) -> None:
    board = HealthBoard(now=noon_and_trio_time)
    board.enter("poller")
    await trio.sleep(2)
    before = board.snapshot()["poller"]
    board.change("poller", State.RUNNING)

    assert before == Entry(State.STARTING, NOON)
    assert board.snapshot()["poller"] == Entry(State.RUNNING, NOON + timedelta(seconds=2), last_beat=2.0)


async def test_since_is_when_the_state_began_not_when_it_was_last_confirmed(
    autojump_clock: MockClock,
) -> None:
    board = HealthBoard(now=noon_and_trio_time)
    board.enter("poller")
    board.change("poller", State.WAITING, OSError("away"))
    await trio.sleep(2)
    board.change("poller", State.WAITING, OSError("still away"))

    entry = board.snapshot()["poller"]
    assert (entry.since, entry.last_error) == (NOON, "OSError: still away")


async def test_a_sibling_that_is_silent_for_longer_than_it_promised_is_stalled(
    autojump_clock: MockClock,
) -> None:
    board = HealthBoard()
    board.enter("poller", silent_after=30.0)
    board.change("poller", State.RUNNING)
    await trio.sleep(30)
    within = board.snapshot()["poller"].state
    await trio.sleep(1)
    beyond = board.snapshot()["poller"].state
    board.beat("poller")

    assert (within, beyond) == (State.RUNNING, State.STALLED)
    assert board.snapshot()["poller"].state is State.RUNNING


async def test_a_sibling_that_promised_nothing_is_never_stalled(autojump_clock: MockClock) -> None:
    board = HealthBoard()
    board.enter("pool")
    board.change("pool", State.RUNNING)
    await trio.sleep(80_000)

    assert board.snapshot()["pool"].state is State.RUNNING


async def test_an_empty_board_is_not_up() -> None:
    assert not HealthBoard().all_up()


async def test_one_sibling_that_is_not_running_is_enough_for_not_up() -> None:
    board = HealthBoard()
    board.enter("pool")
    board.enter("poller")
    board.change("pool", State.RUNNING)
    before = board.all_up()
    board.change("poller", State.RUNNING)

    assert (before, board.all_up()) == (False, True)


async def test_a_beat_outside_of_a_tree_is_not_heard() -> None:
    beat()


async def test_a_beat_in_a_child_task_is_its_siblings_and_nobody_elses(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    async def beat_for_a_while() -> None:
        for _ in range(5):
            await trio.sleep(1)
            beat()

    async def loop(*, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as children:
            children.start_soon(beat_for_a_while)
            task_status.started()
            await trio.sleep_forever()

    async def hang(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await trio.sleep_forever()

    tree = Tree(
        [
            Sibling("loop", loop, OnStop.CANCEL, silent_after=3.0),
            Sibling("hang", hang, OnStop.CANCEL, silent_after=3.0),
        ]
    )
    await nursery.start(tree.run)
    await trio.sleep(7)

    assert {name: (entry.state, entry.last_beat) for name, entry in tree.board.snapshot().items()} == {
        "loop": (State.RUNNING, 5.0),
        "hang": (State.STALLED, 0.0),
    }
    assert not tree.board.all_up()
    nursery.cancel_scope.cancel()
