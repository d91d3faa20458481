"""The circuit breaker at work: counts what attempts say of their targets, opens those that fail, and follows probes."""

import structlog
import trio
from attrs import define, field

from cueapi.delivery.held_targets import HeldTargets
from cueapi.domain.attempt import Delivery, Result
from cueapi.domain.breaker import TargetCounts, cannot_serve, why
from cueapi.domain.execution import SHORTAGE_PAUSE
from cueapi.storage import targets
from cueapi.storage.database import Database, StorageUnavailable, Unstorable
from cueapi.storage.targets import TargetKey, Trip
from cueapi.wakeups.hub import WakeupHub

MOST_COUNTED = 10_000
"""Targets whose attempts are counted; beyond, those go that nothing was sent to within the window."""

log = structlog.get_logger("cueapi.delivery.breaker")


@define(eq=False)
class Breaker:
    """
    Told of each attempt before its result is recorded, so that the claim of a probe stands until its target has moved.

    The counts are this daemon's own, and lost with it; the state is a row. Where it is not *on*, no target opens.
    """

    database: Database
    hub: WakeupHub
    held: HeldTargets
    on: bool = True
    _counts: dict[TargetKey, TargetCounts] = field(init=False, factory=dict)

    async def observe(self, delivery: Delivery, result: Result, begun: float) -> None:
        """An attempt that began at *begun* has come to *result*. While PostgreSQL is away no target moves."""
        target, failed = TargetKey(delivery.user_id, delivery.host), cannot_serve(result)
        try:
            if delivery.opens is not None:
                await self._follow_probe(delivery, result, failed)
            elif self.on and failed is not None and self._trips(target, failed, begun):
                await self._open(target, why(result))
        except (StorageUnavailable, Unstorable) as error:
            # The attempt itself has come to its result all the same.
            log.warning("target_unmoved", user_id=target.user, host=target.host, reason=str(error))

    def holds(self, delivery: Delivery) -> bool:
        """Whether *delivery*, claimed before its target opened, is not to be sent now."""
        return delivery.opens is None and self.held.is_down(TargetKey(delivery.user_id, delivery.host))

    def restart(self, target: TargetKey) -> None:
        """It has closed: what was counted before says nothing of it any more."""
        if target in self._counts:
            self._counts[target].restart(trio.current_time())

    def announce(self, target: TargetKey) -> None:
        """It has moved, or was probed."""
        self.hub.target_changed()
        # An incident may have opened or ended.
        self.hub.notice_ready()
        self.hub.changed(target.user, "cues", "executions", "alerts")

    def _trips(self, target: TargetKey, failed: bool, begun: float) -> bool:
        now, counts = trio.current_time(), self._counts.get(target)
        if counts is None:
            if len(self._counts) >= MOST_COUNTED:
                self._counts = {one: each for one, each in self._counts.items() if each.told(now)[0]}
            counts = self._counts[target] = TargetCounts(self.held.rules)
        if begun < counts.since:
            return False
        counts.add(failed, now)
        return failed and counts.trips(now) and not self.held.is_down(target)

    async def _open(self, target: TargetKey, reason: str) -> None:
        now, pause = trio.current_time(), self.held.rules.pause_after(1)
        attempts, failures = self._counts[target].told(now)
        # At once: other attempts at it are failing, too, and need not ask.
        self.held.note_opening(target, now + pause)
        if await self._opens(target, Trip(reason, attempts, failures), pause):
            log.warning(
                "target_opened", user_id=target.user, host=target.host, reason=reason, attempts=attempts,
                failures=failures,
            )  # fmt: skip
        self.announce(target)

    async def _opens(self, target: TargetKey, trip: Trip, pause: float) -> bool:
        try:
            has_opened = await targets.open_target(self.database, target, trip, pause=pause)
        except BaseException:
            self.held.forget(target)
            raise
        self.held.note_opened(target, trio.current_time())
        return has_opened

    async def _follow_probe(self, delivery: Delivery, result: Result, failed: bool | None) -> None:
        assert delivery.opens is not None
        target, rules = TargetKey(delivery.user_id, delivery.host), self.held.rules
        if failed is False:
            self.restart(target)
            slow_start = rules.slow_start(self.held.most)
            if await targets.close_target(self.database, target, delivery.claim, slow_start=slow_start):
                log.info("target_closed", user_id=target.user, host=target.host)
        else:
            pause = rules.pause_after(delivery.opens + 1) if failed else SHORTAGE_PAUSE
            reason = why(result) if failed else None
            if await targets.reopen(self.database, target, delivery.claim, failed=reason, pause=pause):
                log.info("target_probed", user_id=target.user, host=target.host, reason=reason, next_probe_in=pause)
        self.announce(target)
