"""The retry wheel: wakes the dispatcher, or workers, when what waits comes due. It holds moments, no executions."""

import trio
from attrs import frozen

from cueapi.wakeups.hub import WakeupHub
from supervisor import Channel, Wheel, beat

LONGEST_SILENCE = 10.0
"""Seconds after which an empty wheel beats."""


@frozen
class Reminder:
    """Something comes due in *delay* seconds: for the dispatcher, or for the workers of *user*."""

    delay: float
    user: int | None = None


@frozen
class Retries:
    """Source: turns the wheel while there is something in it. Ends when it is cancelled."""

    reminders: Channel[Reminder]
    wheel: Wheel[int | None]
    """Of the users whose workers are to be woken; None: the dispatcher is."""

    hub: WakeupHub

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Receive reminders, and wake the dispatcher or the workers at their time."""
        with self.reminders.receiver() as reminders:
            task_status.started()
            while True:
                await self._idle(reminders)
                await self._turn_while_filled(reminders)

    async def _idle(self, reminders: trio.MemoryReceiveChannel[Reminder]) -> None:
        while not len(self.wheel):
            with trio.move_on_after(LONGEST_SILENCE):
                self._arm(await reminders.receive())
            beat()

    async def _turn_while_filled(self, reminders: trio.MemoryReceiveChannel[Reminder]) -> None:
        next_tick = trio.current_time() + self.wheel.tick
        while len(self.wheel):
            with trio.move_on_at(next_tick):
                while True:
                    self._arm(await reminders.receive())
            next_tick += self.wheel.tick
            for user in self.wheel.turn():
                self._wake(user)
            beat()

    def _wake(self, user: int | None) -> None:
        # The other daemons have wheels of their own.
        if user is None:
            self.hub.delivery_ready(announce=False)
        else:
            self.hub.work_ready(user, announce=False)

    def _arm(self, reminder: Reminder) -> None:
        self.wheel.schedule(reminder.user, reminder.delay)
