"""Another version of tzdata: what was planned by other rules is planned anew, before anything is fired."""

import structlog
import trio
from attrs import define, field

from cueapi.domain.errors import Refusal
from cueapi.domain.zone import moment_of, reading_at, tzdata_version
from cueapi.domain.zone_change import replanned
from cueapi.storage import zone_changes
from cueapi.storage.database import Database, Transaction
from cueapi.storage.zone_changes import MovedCue, PlannedCueRow

log = structlog.get_logger("cueapi.delivery.zone_changes")


async def follow_zones(database: Database) -> int:
    """
    Plan every cue by the tzdata of this daemon, unless that is done; how many moved.

    Of many daemons that start at once, one does it.
    """
    ours = tzdata_version()
    async with database.transaction() as tx:
        await zone_changes.lock(tx)
        if await zone_changes.planned_with(tx) == {ours}:
            return 0
        moved = await _replan(tx)
        await zone_changes.accept(tx, ours)
    if moved:
        log.warning("zones_changed", cues=moved, tzdata=ours)
    return moved


@define
class ZoneWatch:
    """
    A daemon with an older tzdata that runs beside plans by its own rules, and says so in the database.

    The one with the newest version plans its cues anew, at most every *interval* seconds and a twentieth of the time.
    """

    interval: float = 60.0
    _next: float = field(init=False)

    @_next.default
    def _first(self) -> float:
        return trio.current_time() + self.interval

    async def look(self, database: Database, planned_with: str) -> int:
        """How many cues moved, where times may be planned with these versions."""
        begun, versions = trio.current_time(), planned_with.split()
        if begun < self._next or len(versions) < 2 or max(versions) != tzdata_version():
            return 0
        moved = await follow_zones(database)
        ended = trio.current_time()
        self._next = ended + max(self.interval, 20 * (ended - begun))
        return moved


async def _replan(tx: Transaction) -> int:
    """Plan all cues anew, batch after batch; how many moved."""
    moved, last = 0, ""
    while rows := await zone_changes.planned(tx, last):
        found = [one for row in rows if (one := _moved(row)) is not None]
        moved += await zone_changes.move(tx, found) if found else 0
        last = rows[-1].id
    return moved


def _moved(row: PlannedCueRow) -> MovedCue | None:
    """A cue whose times are others by the rules of today; None where they stand."""
    at, run = row.schedule_at, row.next_run
    try:
        if row.cron is not None and run is not None:
            run = replanned(row.cron, row.timezone, run, row.next_local, row.now)
        elif row.schedule_local is not None:
            at = moment_of(row.schedule_local, row.timezone)
            run = at if run is not None else None
        reading = None if row.cron is None or run is None else reading_at(run, row.timezone)
    except (Refusal, ValueError, OverflowError):
        return None  # Its zone is gone, say: the poll sets it aside when it is due.
    if (run, at, reading) == (row.next_run, row.schedule_at, row.next_local):
        return None
    return MovedCue(row, run, at, reading)
