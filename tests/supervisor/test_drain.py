"""A tree ends well: sources first, then what runs dry, then what serves to the last, all within the grace."""

import pytest
import trio
from attrs import define, field
from structlog.typing import EventDict
from trio.testing import MockClock

from supervisor import Channel, Drained, OnStop, RestartsExhausted, Sibling, State, Tree
from supervisor.drain import LAST_WORDS
from supervisor.restart import Policy
from supervisor.sibling import Run


class StorageAway(Exception):
    """What the siblings of these tests stand on is away."""


@define(eq=False)
class ConnectionHandler:
    """A source, two drainers of which the second takes *pace* seconds an item, and a server."""

    pace: float = 1.0
    numbers: Channel[int] = field(factory=lambda: Channel("numbers", 3))
    squares: Channel[int] = field(factory=lambda: Channel("squares", 3))
    sent: list[int] = field(factory=list)
    written: list[int] = field(factory=list)
    ended: dict[str, float] = field(factory=dict)

    def tree(self, grace: float = 30.0) -> Tree:
        siblings = [
            Sibling("recorder", self.record, OnStop.FINISH),
            Sibling("pool", self.square, OnStop.FINISH),
            Sibling("api", self.serve, OnStop.LAST),
            Sibling("poller", self.count, OnStop.CANCEL),
        ]
        return Tree(siblings, [self.numbers, self.squares], grace=grace)

    async def count(self, *, task_status: trio.TaskStatus[None]) -> None:
        with self.numbers.sender() as numbers:
            task_status.started()
            try:
                while True:
                    await numbers.send(len(self.sent))
                    self.sent.append(len(self.sent))
            finally:
                self.ended["poller"] = trio.current_time()

    async def square(self, *, task_status: trio.TaskStatus[None]) -> None:
        with self.numbers.receiver() as numbers, self.squares.sender() as squares:
            task_status.started()
            async for number in numbers:
                await squares.send(number**2)
        self.ended["pool"] = trio.current_time()

    async def record(self, *, task_status: trio.TaskStatus[None]) -> None:
        with self.squares.receiver() as squares:
            task_status.started()
            async for number in squares:
                await trio.sleep(self.pace)
                self.written.append(number)
        self.ended["recorder"] = trio.current_time()

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self.ended["api"] = trio.current_time()


async def run_and_stop(tree: Tree, after: float) -> Drained:
    async def stop() -> None:
        await trio.sleep(after)
        tree.stop("SIGTERM")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop)
        return await tree.run()


async def serve(*, task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    await trio.sleep_forever()


def falling(lives: list[float], error: Exception, on_life: int = 1) -> Run:
    """Falls with *error* in its first *on_life* lives."""

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        lives.append(trio.current_time())
        task_status.started()
        if len(lives) <= on_life:
            raise error
        await trio.sleep_forever()

    return run


async def test_a_drain_cancels_sources_and_loses_nothing_that_they_sent(autojump_clock: MockClock) -> None:
    line = ConnectionHandler()
    with trio.fail_after(60):
        drained = await run_and_stop(line.tree(), after=10.5)

    assert line.ended["poller"] == 10.5
    assert line.written == [number**2 for number in line.sent]
    assert drained.is_clean()


async def test_the_last_serve_until_every_drainer_has_finished(autojump_clock: MockClock) -> None:
    line = ConnectionHandler()
    with trio.fail_after(60):
        drained = await run_and_stop(line.tree(), after=10.5)

    assert line.ended["poller"] < line.ended["pool"] < line.ended["recorder"] == line.ended["api"]
    assert drained == Drained("SIGTERM", seconds=line.ended["api"] - 10.5)


async def test_what_is_not_done_within_the_grace_is_cut_and_named(
    autojump_clock: MockClock, logged: list[EventDict]
) -> None:
    line = ConnectionHandler(pace=100.0)
    with trio.fail_after(60):
        drained = await run_and_stop(line.tree(grace=5.0), after=10.0)

    assert trio.current_time() == 15.0 + LAST_WORDS
    assert drained == Drained(
        "SIGTERM", 5.0 + LAST_WORDS, left=("recorder", "pool"), channels={"numbers": 3, "squares": 3}
    )
    assert logged[-1] == {
        "event": "drain_ended",
        "log_level": "warning",
        "reason": "SIGTERM",
        "seconds": 5.0 + LAST_WORDS,
        "left": ("recorder", "pool"),
        "failed": (),
        "channels": {"numbers": 3, "squares": 3},
    }


async def test_what_a_cut_drainer_had_handed_on_is_still_taken_in(autojump_clock: MockClock) -> None:
    results: Channel[int] = Channel("results", 3)
    written: list[int] = []

    async def deliver(*, task_status: trio.TaskStatus[None]) -> None:
        with results.sender() as sender:
            task_status.started()
            await trio.sleep(4.9)
            await sender.send(1)
            await trio.sleep_forever()

    async def record(*, task_status: trio.TaskStatus[None]) -> None:
        with results.receiver() as receiver:
            task_status.started()
            async for number in receiver:
                await trio.sleep(0.5)
                written.append(number)

    tree = Tree(
        [Sibling("recorder", record, OnStop.FINISH), Sibling("pool", deliver, OnStop.FINISH)], [results], grace=5.0
    )
    with trio.fail_after(60):
        drained = await run_and_stop(tree, after=0.1)

    assert written == [1]
    assert drained.left == ("pool",)


async def test_the_last_line_of_a_clean_drain_says_so(autojump_clock: MockClock, logged: list[EventDict]) -> None:
    tree = Tree([Sibling("api", serve, OnStop.LAST)])
    with trio.fail_after(5):
        await run_and_stop(tree, after=1.0)

    assert [line["event"] for line in logged] == ["drain_begun", "drain_ended"]
    assert (logged[-1]["log_level"], logged[-1]["left"]) == ("info", ())


async def test_everyone_is_shown_as_stopped_after_a_drain(autojump_clock: MockClock) -> None:
    tree = ConnectionHandler().tree()
    with trio.fail_after(60):
        await run_and_stop(tree, after=5.0)

    assert {entry.state for entry in tree.board.snapshot().values()} == {State.STOPPED}


async def test_drainers_are_shown_as_draining_and_the_last_as_running(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    tree = ConnectionHandler(pace=10.0).tree()
    await nursery.start(tree.run)
    await trio.sleep(5)
    tree.stop("SIGTERM")
    await trio.sleep(1)

    assert {name: entry.state for name, entry in tree.board.snapshot().items()} == {
        "recorder": State.DRAINING,
        "pool": State.DRAINING,
        "api": State.RUNNING,
        "poller": State.STOPPED,
    }
    nursery.cancel_scope.cancel()


async def test_a_server_that_does_not_let_go_is_named_when_the_grace_is_over(
    autojump_clock: MockClock,
) -> None:
    async def linger(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.move_on_after(8, shield=True):
                await trio.sleep_forever()

    tree = Tree([Sibling("api", linger, OnStop.LAST)], grace=5.0)
    with trio.fail_after(10):
        drained = await run_and_stop(tree, after=1.0)

    assert drained == Drained("SIGTERM", 8.0, left=("api",))


async def test_nothing_is_restarted_during_a_drain(autojump_clock: MockClock) -> None:
    lives: list[float] = []

    async def fall_at_the_end(*, task_status: trio.TaskStatus[None]) -> None:
        lives.append(trio.current_time())
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("clean-up failed")

    tree = Tree([Sibling("poller", fall_at_the_end, OnStop.CANCEL)])
    with trio.fail_after(5):
        drained = await run_and_stop(tree, after=1.0)

    assert lives == [0]
    assert drained.failed == ("poller",)


@pytest.mark.parametrize("on_stop", list(OnStop))
@pytest.mark.parametrize("error", [ValueError("bad row"), StorageAway("refused")], ids=["fallen", "waiting"])
async def test_a_sibling_that_pauses_when_the_drain_begins_does_not_come_back(
    autojump_clock: MockClock, on_stop: OnStop, error: Exception
) -> None:
    lives: list[float] = []
    tree = Tree([Sibling("recorder", falling(lives, error), on_stop)], waits_for=(StorageAway,))
    with trio.fail_after(0.6):
        drained = await run_and_stop(tree, after=0.5)

    assert lives == [0]
    assert drained.failed == ("recorder",)
    assert tree.board.snapshot()["recorder"].state is State.FAILED


async def test_clean_up_that_fails_in_several_tasks_of_a_cut_sibling_does_not_escape(
    autojump_clock: MockClock,
) -> None:
    async def fall_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("clean-up failed")

    async def deliver(*, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as places:
            for _ in range(3):
                places.start_soon(fall_when_cancelled)
            task_status.started()

    tree = Tree([Sibling("pool", deliver, OnStop.FINISH)], grace=2.0)
    with trio.fail_after(5):
        drained = await run_and_stop(tree, after=1.0)

    assert (drained.left, drained.failed) == (("pool",), ("pool",))


async def test_a_late_send_during_a_drain_meets_no_broken_pipe(autojump_clock: MockClock) -> None:
    results = Channel[int]("results", 2)
    sent: list[int] = []

    async def record(*, task_status: trio.TaskStatus[None]) -> None:
        with results.receiver() as receiver:
            task_status.started()
            async for _ in receiver:
                raise ValueError("bad row")

    async def deliver(*, task_status: trio.TaskStatus[None]) -> None:
        with results.sender() as sender:
            task_status.started()
            for number in range(10):
                await trio.sleep(1)
                await sender.send(number)
                sent.append(number)

    tree = Tree(
        [Sibling("recorder", record, OnStop.FINISH), Sibling("pool", deliver, OnStop.FINISH)],
        [results],
        grace=20.0,
    )
    with trio.fail_after(60):
        drained = await run_and_stop(tree, after=0.5)

    # The first was taken by the recorder that fell over it; two found room.
    assert sent == [0, 1, 2]
    assert drained == Drained("SIGTERM", 20.0, left=("pool",), failed=("recorder",), channels={"results": 2})


async def test_a_second_signal_during_the_drain_ends_at_once_and_names_who_was_left(
    autojump_clock: MockClock, logged: list[EventDict]
) -> None:
    tree = ConnectionHandler(pace=100.0).tree(grace=1000.0)
    with trio.fail_after(20), trio.move_on_after(12) as everything:
        await run_and_stop(tree, after=10.0)

    assert everything.cancelled_caught
    assert trio.current_time() == 12.0
    assert logged[-1]["event"] == "drain_cut"
    assert logged[-1]["left"] == ("recorder", "pool", "api")
    assert logged[-1]["channels"] == {"numbers": 3, "squares": 3}


async def test_only_the_first_reason_counts(autojump_clock: MockClock) -> None:
    tree = Tree([Sibling("api", serve, OnStop.LAST)])
    tree.stop("SIGTERM")
    tree.stop("SIGINT")
    with trio.fail_after(1):
        drained = await tree.run()

    assert drained.reason == "SIGTERM"


async def test_exhausted_restarts_drain_as_a_signal_does(autojump_clock: MockClock) -> None:
    line = ConnectionHandler()
    tree = line.tree()
    falls = falling([], ValueError("bad row"), on_life=99)
    tree = Tree([*tree.siblings, Sibling("janitor", falls, OnStop.CANCEL, Policy(limit=2))], tree.channels)
    with trio.fail_after(60), pytest.raises(RestartsExhausted, match="'janitor' failed 3 times"):
        await tree.run()

    assert line.written == [number**2 for number in line.sent]
    assert line.ended["api"] == line.ended["recorder"]
