"""How each kind of operation works."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Generic

from attrs import frozen

from cueapi.delivery import bulk_cues, bulk_dead_letters
from cueapi.delivery.bulk import Chosen, T, Worked
from cueapi.delivery.bulk_backfill import Backfills
from cueapi.delivery.bulk_dead_letters import Replays
from cueapi.delivery.operations import BulkWork
from cueapi.domain.bulk import Kind
from cueapi.storage.database import Executor
from cueapi.storage.operations import LockedOperation

Choose = Callable[[Executor, LockedOperation, int], Awaitable[Chosen[T]]]
Apply = Callable[[Executor, LockedOperation, Chosen[T]], Awaitable[Worked]]


@frozen
class WorkOf(Generic[T]):
    """A kind of operation that two functions make."""

    choose: Choose[T]
    apply: Apply[T]


def works(monthly: Mapping[str, int]) -> dict[Kind, BulkWork]:
    """What the operations of a daemon can do; *monthly* is how many executions each plan has in a month."""
    return {
        Kind.REPLAY: WorkOf(bulk_dead_letters.choose, Replays(monthly).apply),
        Kind.DISMISS: WorkOf(bulk_dead_letters.choose, bulk_dead_letters.dismiss),
        Kind.PAUSE: WorkOf(bulk_cues.choose, bulk_cues.pause),
        Kind.RESUME: WorkOf(bulk_cues.choose, bulk_cues.resume),
        Kind.DELETE: WorkOf(bulk_cues.choose, bulk_cues.delete),
        Kind.BACKFILL: Backfills(monthly),
    }
