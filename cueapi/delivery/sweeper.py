"""The sweeper: closes connections to handlers that rest for too long, or that their handlers have closed."""

import trio
from attrs import frozen

from cueapi.net.http_client import IdleConnections
from supervisor import Periodic, beat

SWEEP_INTERVAL = 5.0
"""Seconds between two looks: for so long a connection that its handler has closed keeps its descriptor."""


@frozen
class Sweeper:
    """Ends when it is cancelled."""

    idle: IdleConnections
    ticks: Periodic

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Look at each tick, whether or not anything is delivered."""
        task_status.started()
        while True:
            await self.ticks.wait()
            self.idle.sweep()
            beat()
