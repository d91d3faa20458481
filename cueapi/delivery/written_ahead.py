"""Where PostgreSQL's clock has been set back: nothing waits beyond its first right time, and nothing fires twice."""

from datetime import datetime

import structlog
import trio

from cueapi.domain.errors import Refusal
from cueapi.domain.schedule import next_run
from cueapi.domain.zone import reading_at
from cueapi.storage import written_ahead
from cueapi.storage.database import Database
from cueapi.storage.written_ahead import AheadCueRow, PlannedAnew

log = structlog.get_logger("cueapi.delivery.written_ahead")


async def put_right(database: Database) -> int:
    """Put right what was written later than now, batch after batch; how many rows."""
    total = 0
    while True:
        found = await written_ahead.put_right(database)
        cues = await _plan_anew(database) if found.cues else 0
        total += found.executions + found.others + cues
        if not found.executions and not cues:
            break
    if total:
        log.warning("clock_set_back", rows=total)
    return total


async def _plan_anew(database: Database) -> int:
    """Plan a batch of cues anew; how many. What they have fired already is not fired again: it has its execution."""
    rows = await written_ahead.ahead_cues(database)
    firsts: dict[tuple[str, str], datetime | None] = {}
    planned = []
    for row in rows:
        await trio.lowlevel.checkpoint()
        planned.append(_planned_anew(row, firsts))
    return await written_ahead.plan_anew(database, planned)


def _planned_anew(row: AheadCueRow, firsts: dict[tuple[str, str], datetime | None]) -> PlannedAnew:
    """The cue with its stored next run, or with the first fire time after now where that is earlier."""
    if row.cron is None or row.next_run is None:
        return PlannedAnew(row, row.next_run)
    key = row.cron, row.timezone
    try:
        if key not in firsts:
            firsts[key] = next_run(row.cron, row.timezone, row.now)
    except (Refusal, ValueError, OverflowError):
        firsts[key] = None  # The poll sets it aside.
    first = firsts[key]
    if first is None or first >= row.next_run:
        return PlannedAnew(row, row.next_run)
    return PlannedAnew(row, first, reading_at(first, row.timezone))
