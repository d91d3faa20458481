"""The page of targets: those that are down, and a page of those that serve."""

from datetime import datetime

from attrs import frozen

from cueapi.domain.breaker import TargetState
from cueapi.storage import target_pages
from cueapi.storage.database import Executor
from cueapi.storage.target_pages import TargetPage, TargetRow

SHOWN = 50
"""Targets of a page that serve; of those that are down there are at most twice as many."""


@frozen
class TargetOverview:
    """Targets that are down, the longest first, and others by their hosts."""

    down: list[TargetRow]
    serving: TargetPage


async def read(db: Executor, *, user: int, after: str | None) -> TargetOverview:
    """What the page shows; of those that serve, the ones behind the host *after*."""
    down: list[TargetRow] = []
    for state in (TargetState.OPEN, TargetState.HALF_OPEN):
        down += (await target_pages.page(db, user=user, state=state, after=None, limit=2 * SHOWN)).rows
    serving = await target_pages.page(db, user=user, state=TargetState.CLOSED, after=after, limit=SHOWN)
    return TargetOverview(sorted(down, key=_since), serving)


def _since(row: TargetRow) -> tuple[bool, datetime | None, str]:
    return row.since is None, row.since, row.host
