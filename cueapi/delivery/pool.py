"""The dispatch pool: as many requests at once as it has tasks. Decides nothing, stores nothing."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

import structlog
import trio
from attrs import field, frozen

from cueapi.delivery.capacity import Capacity
from cueapi.delivery.claims import ClaimLost
from cueapi.delivery.webhook import Webhook
from cueapi.domain.attempt import Delivery, Postponed, Result, evaluate_attempt
from cueapi.domain.execution import Transition, attempt_failed, claim_lost, held_back, postponed, released
from cueapi.net.shortage import Shortages, shortage_in
from supervisor import Channel

Observe: TypeAlias = Callable[[Delivery, Result, float], Awaitable[None]]
"""Awaited with each result, and the moment at which its attempt began."""

INTERNAL = "The attempt could not be made or evaluated: an error of the server's own"

log = structlog.get_logger("cueapi.delivery.pool")


async def _do_nothing(_delivery: Delivery, _result: Result, _begun: float) -> None:
    """Default callback: do nothing."""


def _holds_nothing(_delivery: Delivery) -> bool:
    """Default callback: every target is sent to."""
    return False


@frozen
class DispatchPool:
    """
    Drainer from `[deliveries]` to `[results]`. Once *stopping* is set, what was only claimed is released.

    Nothing is sent before *confirm* has returned; what it raises ClaimLost for is released, too. *observe* is told of
    each result before that is handed on. What *holds* is true of, whose target has opened since, is released as well.
    """

    deliveries: Channel[Delivery]
    results: Channel[Transition]
    capacity: Capacity
    webhook: Webhook
    confirm: Callable[[Delivery], Awaitable[None]]
    size: int
    stopping: trio.Event
    shortages: Shortages = field(factory=Shortages)
    observe: Observe = _do_nothing
    holds: Callable[[Delivery], bool] = _holds_nothing

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Deliver until the channel has ended and is empty."""
        with self.deliveries.receiver() as deliveries, self.results.sender() as results:
            await self._recover(results)
            async with trio.open_nursery() as watching:
                watching.start_soon(self.webhook.standstills.watch, name="dispatch: notice standstills")
                watching.start_soon(self._open_at_drain, name="dispatch: release what was claimed ahead")
                async with trio.open_nursery() as nursery:
                    for number in range(self.size):
                        nursery.start_soon(self._serve, deliveries.clone(), results.clone(), name=f"dispatch {number}")
                    deliveries.close()
                    results.close()
                    task_status.started()
                watching.cancel_scope.cancel(reason="all is delivered")

    async def _open_at_drain(self) -> None:
        await self.stopping.wait()
        self.capacity.slots.open()

    async def _recover(self, results: trio.MemorySendChannel[Transition]) -> None:
        """Release what this sibling was delivering before a restart; what is still in the channel stays."""
        waiting = self.deliveries.depth
        for delivery in self.capacity.held()[: max(self.capacity.taken - waiting, 0)]:
            await results.send(claim_lost(delivery.fence, delivery.retry, lost_claims=delivery.lost_claims))
            self.capacity.release(delivery)

    async def _serve(
        self, deliveries: trio.MemoryReceiveChannel[Delivery], results: trio.MemorySendChannel[Transition]
    ) -> None:
        with deliveries, results:
            async for delivery in deliveries:
                transition = await self._attempt(delivery)
                try:
                    results.send_nowait(transition)
                except trio.WouldBlock:
                    await results.send(transition)
                self.capacity.release(delivery)

    async def _attempt(self, delivery: Delivery) -> Transition:
        try:
            if not (self.capacity.slots.take(delivery.host) or await self._wait_for_slot(delivery)):
                # It keeps its place among those that wait: it has waited for its host all the time.
                return held_back(delivery.fence)
            try:
                if (unsent := self._unsent(delivery)) is not None:
                    return unsent
                begun = trio.current_time()
                scope = self.capacity.scope(delivery)
                result = await self.webhook.attempt(delivery, partial(self.confirm, delivery), scope)
            finally:
                self.capacity.slots.release(delivery.host)
            duration = trio.current_time() - begun
            await self.observe(delivery, result, begun)
            return self._evaluate(delivery, result, duration)
        except ClaimLost:
            return released(delivery.fence)
        except Exception as error:
            if (reason := shortage_in(error)) is not None:
                self.shortages.note(reason)
                return postponed(delivery.fence)
            # A bug of ours that one row or answer triggers fails one attempt, not the hundreds beside it.
            log.exception(
                "attempt_crashed", cue_id=delivery.cue_id, cue=delivery.cue_name,
                execution_id=str(delivery.execution_id), attempt=delivery.attempt,
            )  # fmt: skip
            return attempt_failed(delivery.fence, delivery.retry, error=f"{INTERNAL} ({type(error).__name__}).")

    async def _wait_for_slot(self, delivery: Delivery) -> bool:
        """True when a slot of its host is its own; False where none came free, or it was interrupted before."""
        with self.capacity.scope(delivery):
            return await self.capacity.slots.acquire(delivery.host)
        return False

    def _unsent(self, delivery: Delivery) -> Transition | None:
        """What follows where it is not to be sent any more: we are draining, or its target has opened."""
        if self.stopping.is_set():
            return released(delivery.fence)
        return held_back(delivery.fence) if self.holds(delivery) else None

    def _evaluate(self, delivery: Delivery, result: Result, duration: float) -> Transition:
        if isinstance(result, Postponed):
            self.shortages.note(result.reason)
        return evaluate_attempt(delivery, result, duration=duration, now=self.webhook.clock.now())
