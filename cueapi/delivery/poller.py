"""The poller: fires what is due, at the latest every interval, on time otherwise."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from operator import attrgetter

import structlog
import trio
from attrs import define, frozen

from cueapi.delivery.retries import Reminder
from cueapi.domain.catchup import Catchup, FiringPlan, Overlap, is_late, plan_firings
from cueapi.domain.errors import Refusal
from cueapi.metrics import Metrics
from cueapi.storage import due_cues
from cueapi.storage.clock import Clock
from cueapi.storage.database import Database, Unstorable
from cueapi.storage.due_cues import DueCue, DueCueRow
from cueapi.wakeups.hub import WakeupHub
from supervisor import Channel, beat

FIRINGS_A_STATEMENT = 2_000
"""A batch of due cues is cut where it would fire more: a cue may catch up on a thousand times."""

MARGIN = 0.002
"""Seconds after a cue's time at which it is looked for: not before it is due."""

BUSY_PAUSE = 0.05
"""Seconds after which a due cue is looked at again that another daemon was moving."""

SCHEDULE = attrgetter("cron", "timezone", "catchup", "overlap", "next_run", "window_multiplier")
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
    hub: WakeupHub
    retries: Channel[Reminder]
    clock: Clock
    metrics: Metrics
    last: LastPoll
    batch: int
    monthly: Mapping[str, int]

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Poll at each wake-up, and know when the next cue is due."""
        self.hub.polls.wake()
        task_status.started()
        while True:
            await self.hub.polls.wait()
            begun = trio.current_time()
            cues = await self._fire_all()
            if not cues:
                # What woke us may be the time of a fire by hand, which lies in the outbox already.
                self.hub.delivery_ready(announce=False)
            await self._look_ahead()
            self.last.at, self.last.cues = self.clock.now(), cues
            self.last.duration = trio.current_time() - begun
            beat()

    async def _fire_all(self) -> int:
        """Fire batches until one is not full; how many cues were moved."""
        moved = 0
        while True:
            rows = await due_cues.due(self.database, self.batch)
            planned = await self._plan(rows)
            held = 0
            for part in parts(planned):
                held += await self._fire(part)
            moved += held
            # Nothing held: what is due is being moved by somebody else.
            if len(rows) < self.batch or not held:
                return moved

    async def _plan(self, rows: list[DueCueRow]) -> list[DueCue]:
        """What each due cue comes to. The same schedule, due at the same time, is computed once."""
        known: dict[tuple[object, ...], tuple[FiringPlan, bool]] = {}
        planned = []
        for row in rows:
            key = SCHEDULE(row)
            try:
                if key not in known:
                    await trio.lowlevel.checkpoint()
                    known[key] = _firing_plan(row), _is_late(row)
            except (Refusal, ValueError, OverflowError) as error:
                await self._quarantine(row.id, row.revision, error)
                continue
            planned.append(DueCue(row.id, row.next_run, row.revision, *known[key]))
        return planned

    async def _quarantine(self, cue: str, revision: int, error: Exception) -> None:
        log.warning("cue_set_aside", cue_id=cue, reason=str(error))
        await due_cues.quarantine(self.database, cue_id=cue, revision=revision, reason=f"It cannot be fired: {error}")

    async def _fire(self, planned: list[DueCue]) -> int:
        """Fire these; how many cues were moved. One that makes the statement fall is set aside alone."""
        try:
            row = await due_cues.fire_due(self.database, planned, self.monthly)
        except Unstorable as error:
            if len(planned) > 1:
                return sum([await self._fire([due_cue]) for due_cue in planned])
            (due_cue,) = planned
            await self._quarantine(due_cue.cue_id, due_cue.revision, error)
            return 0
        self.metrics.fired(row.fired, row.missed)
        if row.alerts:
            self.hub.notice_ready()
        for user in row.workers or ():
            self.hub.work_ready(user)
        self.hub.delivery_ready(announce=False)
        if row.fired or row.missed:
            log.info("cues_fired", cues=row.held, executions=row.fired, missed=row.missed)
        return row.held

    async def _look_ahead(self) -> None:
        """Be there in time for the next cue, and arm what comes due before the poll after the next."""
        row = await due_cues.ahead(self.database)
        if self.clock.measure(row.now):
            log.warning("clock_astray", offset_seconds=round(self.clock.offset.total_seconds(), 1))
        if row.next_due is not None and row.next_due < self.hub.polls.interval:
            pause = row.next_due + MARGIN if row.next_due > 0 else BUSY_PAUSE
            self.hub.polls.wake_at(trio.current_time() + pause)
        for delay, user in await due_cues.reminders(self.database, 2 * self.hub.polls.interval):
            if delay <= 0 and user is not None:
                self.hub.work_ready(user)
            else:
                # Full? The next poll arms it.
                self.retries.offer(Reminder(delay, user))


def parts(planned: list[DueCue]) -> Iterator[list[DueCue]]:
    """*planned* in portions of which none fires more than one statement should."""
    part: list[DueCue] = []
    size = 0
    for due_cue in planned:
        if part and size + len(due_cue.firings.fire) > FIRINGS_A_STATEMENT:
            yield part
            part, size = [], 0
        part.append(due_cue)
        size += len(due_cue.firings.fire) + 1
    if part:
        yield part


def _is_late(row: DueCueRow) -> bool:
    return is_late(row.window_multiplier, cron=row.cron, timezone=row.timezone, due=row.next_run, now=row.now)


def _firing_plan(row: DueCueRow) -> FiringPlan:
    cron = row.cron if row.schedule_type == "recurring" else None
    if cron is None and row.schedule_type == "recurring":
        raise ValueError("it recurs, and has no cron")
    return plan_firings(
        Catchup(row.catchup),
        Overlap(row.overlap),
        cron=cron,
        timezone=row.timezone,
        oldest=row.next_run,
        now=row.now,
    )
