"""SIGTERM and SIGINT: the first drains, the second stops at once."""

import signal
from collections.abc import Callable

import structlog
import trio
from structlog.typing import FilteringBoundLogger

log: FilteringBoundLogger = structlog.get_logger("supervisor.signals")


async def watch(
    stop: Callable[[str], None],
    everything: trio.CancelScope,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Call *stop* at the first signal and cancel *everything* at the second, which ends the watch."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as arrivals:
        task_status.started()
        name = signal.Signals(await anext(arrivals)).name
        stop(name)
        name = signal.Signals(await anext(arrivals)).name
        log.warning("stopped_at_once", reason=f"{name} during the drain")
        everything.cancel(reason=f"second signal: {name}")
