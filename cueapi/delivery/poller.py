"""The poller: fires what is due, at the latest every interval, on time otherwise."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

import structlog
import trio
from attrs import define, frozen

from cueapi.delivery.retries import Reminder
from cueapi.domain.catchup import Catchup, Firings, Overlap, catch_up, is_late
from cueapi.domain.errors import Refusal
from cueapi.metrics import Metrics
from cueapi.storage import due_cues
from cueapi.storage.clock import Clock
from cueapi.storage.database import Database, Row, Unstorable
from cueapi.storage.due_cues import Turn
from supervisor import Channel, Periodic, beat

FIRINGS_A_STATEMENT = 2_000
"""A batch of turns is cut where it would fire more: a cue may catch up on a thousand times."""

MARGIN = 0.002
"""Seconds after a cue's time at which it is looked for: not before it is due."""

BUSY_PAUSE = 0.05
"""Seconds after which a due cue is looked at again that another daemon was moving."""

KEY = ("cron", "timezone", "catchup", "overlap", "next_run", "window_multiplier")
"""What a cue's firings are computed from."""

log = structlog.get_logger("cueapi.delivery.poller")


@define
class LastPoll:
    """What `/health` tells of the poller."""

    at: datetime | None = None
    cues: int = 0
    duration: float = 0.0


@frozen
class Poller:
    """Source of executions and outbox rows. Ends when it is cancelled."""

    database: Database
    turns: Periodic
    outbox: Periodic
    retries: Channel[Reminder]
    clock: Clock
    metrics: Metrics
    last: LastPoll
    work_ready: Callable[[int], None]
    batch: int
    notices: Periodic
    monthly: Mapping[str, int]

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Poll at each wake-up, and know when the next cue is due."""
        self.turns.wake()
        task_status.started()
        while True:
            await self.turns.wait()
            begun = trio.current_time()
            cues = await self._fire_all()
            if not cues:
                # What woke us may be the time of a fire by hand, which lies in the outbox already.
                self.outbox.wake()
            await self._look_ahead()
            self.last.at, self.last.cues = self.clock.now(), cues
            self.last.duration = trio.current_time() - begun
            beat()

    async def _fire_all(self) -> int:
        """Fire batches until one is not full; how many cues were moved."""
        moved = 0
        while True:
            rows = await due_cues.due(self.database, self.batch)
            turns = await self._plan(rows)
            held = 0
            for part in parts(turns):
                held += await self._fire(part)
            moved += held
            # Nothing held: what is due is being moved by somebody else.
            if len(rows) < self.batch or not held:
                return moved

    async def _plan(self, rows: list[Row]) -> list[Turn]:
        """What each due cue comes to. The same schedule, due at the same time, is computed once."""
        known: dict[tuple[object, ...], tuple[Firings, bool]] = {}
        turns = []
        for row in rows:
            key = tuple(row[name] for name in KEY)
            try:
                if key not in known:
                    await trio.lowlevel.checkpoint()
                    known[key] = _firings(row), _is_late(row)
            except (Refusal, ValueError, OverflowError) as error:
                await self._set_aside(row["id"], row["revision"], error)
                continue
            turns.append(Turn(row["id"], row["next_run"], row["revision"], *known[key]))
        return turns

    async def _set_aside(self, cue: str, revision: int, error: Exception) -> None:
        log.warning("cue_set_aside", cue_id=cue, reason=str(error))
        await due_cues.set_aside(self.database, cue_id=cue, revision=revision, reason=f"It cannot be fired: {error}")

    async def _fire(self, turns: list[Turn]) -> int:
        """Fire these; how many cues were moved. One that makes the statement fall is set aside alone."""
        try:
            row = await due_cues.fire_due(self.database, turns, self.monthly)
        except Unstorable as error:
            if len(turns) > 1:
                return sum([await self._fire([turn]) for turn in turns])
            (turn,) = turns
            await self._set_aside(turn.cue_id, turn.revision, error)
            return 0
        if row is None:
            return 0
        self.metrics.fired(row["fired"], row["missed"])
        if row["alerts"]:
            self.notices.wake()
        for user in row["workers"] or ():
            self.work_ready(user)
        self.outbox.wake()
        if row["fired"] or row["missed"]:
            log.info("cues_fired", cues=row["held"], executions=row["fired"], missed=row["missed"])
        held: int = row["held"]
        return held

    async def _look_ahead(self) -> None:
        """Be there in time for the next cue, and arm what comes due before the poll after the next."""
        row = await due_cues.ahead(self.database)
        if row is None:
            return
        if self.clock.measure(row["now"]):
            log.warning("clock_astray", offset_seconds=round(self.clock.offset.total_seconds(), 1))
        if row["next_due"] is not None and row["next_due"] < self.turns.interval:
            pause = row["next_due"] + MARGIN if row["next_due"] > 0 else BUSY_PAUSE
            self.turns.wake_at(trio.current_time() + pause)
        for delay, user in await due_cues.reminders(self.database, 2 * self.turns.interval):
            if delay <= 0 and user is not None:
                self.work_ready(user)
            else:
                # Full? The next poll arms it.
                self.retries.offer(Reminder(delay, user))


def parts(turns: list[Turn]) -> Iterator[list[Turn]]:
    """*turns* in portions of which none fires more than one statement should."""
    part: list[Turn] = []
    size = 0
    for turn in turns:
        if part and size + len(turn.firings.fire) > FIRINGS_A_STATEMENT:
            yield part
            part, size = [], 0
        part.append(turn)
        size += len(turn.firings.fire) + 1
    if part:
        yield part


def _is_late(row: Row) -> bool:
    return is_late(
        row["window_multiplier"], cron=row["cron"], timezone=row["timezone"], due=row["next_run"], now=row["now"]
    )


def _firings(row: Row) -> Firings:
    cron = row["cron"] if row["schedule_type"] == "recurring" else None
    if cron is None and row["schedule_type"] == "recurring":
        raise ValueError("it recurs, and has no cron")
    return catch_up(
        Catchup(row["catchup"]),
        Overlap(row["overlap"]),
        cron=cron,
        timezone=row["timezone"],
        oldest=row["next_run"],
        now=row["now"],
    )
