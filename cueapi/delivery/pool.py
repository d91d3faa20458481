"""The dispatch pool: as many requests at once as it has tasks. Decides nothing, stores nothing."""

from datetime import UTC, datetime

import structlog
import trio
from attrs import frozen

from cueapi.delivery.capacity import Places
from cueapi.delivery.webhook import Webhook
from cueapi.domain.attempt import Delivery, judge
from cueapi.domain.execution import Step, failed_try, handed_back, lost_claim
from supervisor import Channel

INTERNAL = "The try could not be made or judged: an error of the server's own"

log = structlog.get_logger("cueapi.delivery.pool")


@frozen
class Pool:
    """Drainer from `[deliveries]` to `[results]`. Once *stopping* is set, what was only claimed is handed back."""

    deliveries: Channel[Delivery]
    results: Channel[Step]
    places: Places
    webhook: Webhook
    size: int
    stopping: trio.Event

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Deliver until the channel has ended and is empty."""
        with self.deliveries.receiver() as deliveries, self.results.sender() as results:
            await self._recover(results)
            async with trio.open_nursery() as nursery:
                for number in range(self.size):
                    nursery.start_soon(self._serve, deliveries.clone(), results.clone(), name=f"dispatch {number}")
                deliveries.close()
                results.close()
                task_status.started()

    async def _recover(self, results: trio.MemorySendChannel[Step]) -> None:
        """What a former life of this sibling had in its hands goes back; what still lies in the channel stays."""
        waiting = self.deliveries.depth
        for delivery in self.places.held()[: max(self.places.taken - waiting, 0)]:
            await results.send(lost_claim(delivery.fence, delivery.retry, bounces=delivery.bounces))
            self.places.release(delivery)

    async def _serve(
        self, deliveries: trio.MemoryReceiveChannel[Delivery], results: trio.MemorySendChannel[Step]
    ) -> None:
        with deliveries, results:
            async for delivery in deliveries:
                await results.send(await self._attempt(delivery))
                self.places.release(delivery)

    async def _attempt(self, delivery: Delivery) -> Step:
        if self.stopping.is_set():
            return handed_back(delivery.fence)
        begun = trio.current_time()
        try:
            result = await self.webhook.attempt(delivery)
            return judge(delivery, result, duration=trio.current_time() - begun, now=datetime.now(UTC))
        except Exception as error:
            # A bug of ours that some row or answer brings to light ends one try, not the hundreds beside it.
            log.exception("attempt_fell", execution_id=str(delivery.execution_id))
            return failed_try(delivery.fence, delivery.retry, error=f"{INTERNAL} ({type(error).__name__}).")
