"""The poller: fires what is due, at the latest every interval, on time otherwise."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from operator import attrgetter

import structlog
import trio
from attrs import define, frozen

from cueapi.delivery.quarantine import Quarantine, run_isolating
from cueapi.delivery.retries import Reminder
from cueapi.domain.catchup import Catchup, FiringPlan, Overlap, is_late, plan_firings
from cueapi.domain.errors import Refusal
from cueapi.domain.zone import reading_at
from cueapi.metrics import Metrics
from cueapi.storage import due_cues
from cueapi.storage.clock import Clock
from cueapi.storage.database import Database, Unstorable
from cueapi.storage.due_cues import DueCue, DueCueRow
from cueapi.wakeups.hub import WakeupHub
from supervisor import Channel, beat

FIRINGS_A_STATEMENT = 2_000
"""A batch of due cues is cut where it would fire more: a cue may catch up on a thousand times."""

FIRINGS_AT_FIRST = 64
"""Cues and firings of the first statement of a poll; the next has twice as many. They are sent while others fire."""

MARGIN = 0.002
"""Seconds after a cue's time at which the poller looks for it: not before it is due."""

BUSY_PAUSE = 0.05
"""Seconds after which the poller looks again for a due cue that another daemon was moving."""

SCHEDULE = attrgetter("cron", "timezone", "catchup", "overlap", "next_run", "window_multiplier")
"""What a cue's firings are computed from."""

log = structlog.get_logger("cueapi.delivery.poller")


@define
class LastPoll:
    """What `/health` shows of the poller."""

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
        """Poll at each wake-up, and be woken when the next cue is due."""
        self.hub.polls.wake()
        task_status.started()
        while True:
            await self.hub.polls.wait()
            begun = trio.current_time()
            cues = await self._fire_all()
            if not cues:
                # We may have been woken for an execution fired by hand, which is in the outbox already.
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
            for part in parts(planned, at_first=FIRINGS_A_STATEMENT if moved else FIRINGS_AT_FIRST):
                held += sum(await run_isolating(part, self._fire, self._quarantine))
            moved += held
            # Nothing held: another daemon is moving what is due.
            if len(rows) < self.batch or not held:
                return moved

    async def _plan(self, rows: list[DueCueRow]) -> list[DueCue]:
        """What each due cue comes to. The same schedule, due at the same time, is computed once."""
        known: dict[tuple[object, ...], tuple[FiringPlan, bool, datetime | None]] = {}
        planned = []
        for row in rows:
            key = SCHEDULE(row)
            try:
                if key not in known:
                    await trio.lowlevel.checkpoint()
                    plan = _firing_plan(row)
                    local = plan.next_run and reading_at(plan.next_run, row.timezone)
                    known[key] = plan, _is_late(row), local
            except (Refusal, ValueError, OverflowError) as error:
                await self.quarantine.cue(row.id, row.revision, f"It cannot be fired: {error}")
                continue
            planned.append(DueCue(row.id, row.next_run, row.revision, *known[key]))
        return planned

    async def _fire(self, planned: Sequence[DueCue]) -> int:
        """Fire these; how many cues were moved."""
        result = await due_cues.fire_due(self.database, planned, self.monthly)
        self.metrics.fired(result.fired, result.missed)
        if result.alerts:
            self.hub.notice_ready(result.alerts)
        for user in result.workers or ():
            self.hub.work_ready(user)
        for user in result.users or ():
            self.hub.changed(user, "executions", "cues", *(["alerts"] if result.alerts else []))
        self.hub.delivery_ready(announce=False)
        if result.fired or result.missed:
            log.info("cues_fired", cues=result.held, executions=result.fired, missed=result.missed)
        return result.held

    async def _quarantine(self, due_cue: DueCue, error: Unstorable) -> int:
        await self.quarantine.cue(due_cue.cue_id, due_cue.revision, f"It cannot be fired: {error}")
        return 0

    @property
    def quarantine(self) -> Quarantine:
        """Where cues go that cannot be fired."""
        return Quarantine(self.database, self.hub.notice_ready)

    async def _look_ahead(self) -> None:
        """Be there in time for the next cue, and arm what comes due before the poll after the next."""
        next_due = await due_cues.ahead(self.database)
        if next_due is not None and next_due < self.hub.polls.interval:
            pause = next_due + MARGIN if next_due > 0 else BUSY_PAUSE
            self.hub.polls.wake_at(trio.current_time() + pause)
        for delay, user in await due_cues.reminders(self.database, 2 * self.hub.polls.interval):
            if delay <= 0 and user is not None:
                self.hub.work_ready(user)
            else:
                # Full? The next poll arms it.
                self.retries.offer(Reminder(delay, user))


def parts(planned: list[DueCue], *, at_first: int = FIRINGS_A_STATEMENT) -> Iterator[list[DueCue]]:
    """*planned* in portions, so that no statement fires too many: *at_first* so many, then more and more."""
    part: list[DueCue] = []
    size, most = 0, at_first
    for due_cue in planned:
        if part and size + len(due_cue.firings.fire) > most:
            yield part
            part, size, most = [], 0, min(2 * most, FIRINGS_A_STATEMENT)
        part.append(due_cue)
        size += len(due_cue.firings.fire) + 1
    if part:
        yield part


def _is_late(row: DueCueRow) -> bool:
    return is_late(row.window_multiplier, cron=row.cron, timezone=row.timezone, due=row.next_run, now=row.now)


def _firing_plan(row: DueCueRow) -> FiringPlan:
    return plan_firings(
        Catchup(row.catchup),
        Overlap(row.overlap),
        cron=row.cron,
        timezone=row.timezone,
        oldest=row.next_run,
        now=row.now,
    )
