"""The first signal drains, the second stops at once."""

import os
import signal

import pytest
import trio
from structlog.typing import EventDict

from supervisor import OnStop, Sibling, Tree
from supervisor.signals import watch


async def serve(*, task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    await trio.sleep_forever()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_drains(number: signal.Signals, nursery: trio.Nursery) -> None:
    tree = Tree([Sibling("api", serve, OnStop.LAST)])
    await nursery.start(watch, tree.stop, nursery.cancel_scope)
    os.kill(os.getpid(), number)
    with trio.fail_after(5):
        drained = await tree.run()

    assert drained.reason == number.name
    assert not nursery.cancel_scope.cancel_called
    nursery.cancel_scope.cancel()


async def test_the_second_signal_stops_at_once_whatever_the_grace(logged: list[EventDict]) -> None:
    tree = Tree([Sibling("pool", serve, OnStop.FINISH)], grace=1000.0)
    with trio.fail_after(5), trio.CancelScope() as everything:
        async with trio.open_nursery() as nursery:
            await nursery.start(watch, tree.stop, everything)
            await nursery.start(tree.run)
            os.kill(os.getpid(), signal.SIGTERM)
            await tree.stopping.wait()
            os.kill(os.getpid(), signal.SIGINT)

    assert everything.cancelled_caught
    assert {line["event"]: line for line in logged}["drain_cut"]["left"] == ("pool",)
    assert logged[-1]["event"] == "drain_cut"
