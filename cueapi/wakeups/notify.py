"""Wake-ups between daemons: LISTEN, bundled NOTIFY, and the lock that says that this daemon lives."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

import structlog
import trio
from attrs import define, field, frozen

from cueapi.storage import daemons
from cueapi.storage.clock import Clock
from cueapi.storage.database import Database, StorageUnavailable, Transaction, open_listener
from cueapi.storage.notify import CHANNEL, notify
from cueapi.wakeups.identity import Identity
from supervisor import Periodic, beat

HEARTBEAT = 5.0
"""Seconds of silence after which the connection is asked whether it lives."""

BUNDLE_PAUSE = 0.02
"""Seconds that lie between two NOTIFYs of a daemon at least: one takes a lock that all commits share."""

LOCK_TRIES, LOCK_PAUSE = 10, 0.5
"""How often, and after how many seconds, we try to take our own lock, which the server may not have freed yet."""

LIVE_PATIENCE = 15.0
"""Seconds for all of that; a server that says nothing any more counts as away."""

log = structlog.get_logger("cueapi.wakeups")


@frozen
class Ears:
    """Who is told. *trust* hears True while changes are heard of, False when what is remembered may be old."""

    poller: Periodic
    outbox: Periodic
    notices: Periodic
    work_ready: Callable[[int], None]
    account_changed: Callable[[int], None]
    trust: Callable[[bool], None]


@define(eq=False)
class Wakeups:
    """
    Holds the LISTEN connection and, on it, the lock of this daemon's number. Ends when it is cancelled.

    A daemon that was cut off and comes back before the others gave it up keeps its number and its claims.
    """

    dsn: str
    database: Database
    identity: Identity
    clock: Clock
    ears: Ears
    _said: dict[str, float | None] = field(init=False, factory=dict)
    _something: trio.Event = field(init=False, factory=trio.Event)

    def cue_written(self, next_run: datetime | None) -> None:
        """A cue is due at *next_run*: the pollers, ours and the others', will be there."""
        if next_run is None:
            return
        moment = next_run.timestamp()
        self._wake_poller(moment)
        if moment > self.clock.now().timestamp() + self.ears.poller.interval:
            return  # The others poll before that, and look ahead themselves.
        self._say("cue", moment)

    def delivery_ready(self) -> None:
        """Something lies in the outbox: whichever dispatcher is nearer takes it."""
        self.ears.outbox.wake()
        self._say("delivery")

    def work_ready(self, user: int) -> None:
        """A worker of *user* can claim something."""
        self.ears.work_ready(user)
        self._say(f"work:{user}")

    def account_changed(self, user: int) -> None:
        """A key was replaced or revoked, a limit is another: no daemon may go by what it remembers."""
        self.ears.account_changed(user)
        self._say(f"account:{user}")

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Hear and tell."""
        async with open_listener(self.dsn, CHANNEL, heartbeat=HEARTBEAT) as (listener, tx):
            with trio.fail_after(LIVE_PATIENCE):
                self.identity.number = await self._live(tx)
            self.identity.locked = True
            self.ears.trust(True)
            try:
                self.ears.poller.wake()
                self.ears.outbox.wake()
                self.ears.notices.wake()
                task_status.started()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._tell, name="wakeups: tell")
                    while True:
                        notification = await listener.next()
                        if notification is not None:
                            self._hear(notification.payload)
                        beat()
            finally:
                self.identity.locked = False
                self.ears.trust(False)

    async def _live(self, tx: Transaction) -> int:
        """Hold the lock of our number: the former one where the others still wait for us, else a new one."""
        former = self.identity.number
        if former is not None and await daemons.keep(tx, former):
            for _ in range(LOCK_TRIES):
                if await daemons.take_lock(tx, former):
                    return former
                await trio.sleep(LOCK_PAUSE)
        if await tx.is_pooled():
            # By transaction it would know neither LISTEN nor our lock.
            log.warning("pooler_found", advice="a pooler lies before PostgreSQL: it must pool by session")
        number = await daemons.register(tx, self.identity.instance)
        if not await daemons.take_lock(tx, number):
            raise StorageUnavailable("the lock of a new daemon is held by somebody else")
        log.info("daemon_registered", daemon=number)
        return number

    def _say(self, topic: str, moment: float | None = None) -> None:
        """Have it told with the next NOTIFY; of two moments the earlier one."""
        known = self._said.get(topic)
        self._said[topic] = moment if known is None or moment is None else min(known, moment)
        self._something.set()

    async def _tell(self) -> None:
        """One NOTIFY for all that gathered since the last one."""
        while True:
            await self._something.wait()
            await trio.sleep(BUNDLE_PAUSE)
            said, self._said = self._said, {}
            self._something = trio.Event()
            texts = [topic if moment is None else f"{topic}:{moment}" for topic, moment in said.items()]
            try:
                await notify(self.database, f"{self.identity.number} {' '.join(texts)}")
            except BaseException:
                # Failed, or cut off since the ear failed first: said again by the next life, for a dead key must be
                # heard of.
                for topic, moment in said.items():
                    self._say(topic, moment)
                raise

    def _hear(self, payload: str) -> None:
        sender, *topics = payload.split(" ")
        if sender == str(self.identity.number):
            return
        for topic in topics:
            try:
                heed = self._read(topic)
            except ValueError:
                log.warning("wakeup_unknown", topic=topic[:100])  # Whoever may connect may say anything.
            else:
                heed()

    def _read(self, topic: str) -> Callable[[], None]:
        """What to do about a topic; raises ValueError for one that nobody understands."""
        kind, _, detail = topic.partition(":")
        match kind:
            case "cue":
                return partial(self._wake_poller, float(detail))
            case "delivery":
                return self.ears.outbox.wake
            case "work":
                return partial(self.ears.work_ready, int(detail))
            case "account":
                return partial(self.ears.account_changed, int(detail))
            case _:
                raise ValueError(kind)

    def _wake_poller(self, moment: float) -> None:
        # A little late rather than early: PostgreSQL would say "not yet".
        delay = moment - self.clock.now().timestamp() + 0.002
        self.ears.poller.wake_at(trio.current_time() + delay)
