"""Wake-ups between daemons: LISTEN, bundled NOTIFY, and the advisory lock that shows that this daemon is alive."""

import structlog
import trio
from attrs import define

from cueapi.storage import daemons
from cueapi.storage.database import Database, StorageUnavailable, Transaction, open_listener
from cueapi.storage.notify import CHANNEL, notify
from cueapi.wakeups.hub import WakeupHub
from cueapi.wakeups.identity import DaemonId
from supervisor import beat

HEARTBEAT = 5.0
"""Seconds of silence after which the connection is checked."""

BUNDLE_PAUSE = 0.02
"""Seconds between two NOTIFYs of a daemon, at least: each takes a lock that all commits share."""

LOCK_ATTEMPTS, LOCK_PAUSE = 10, 0.5
"""How often, and after how many seconds, we try to take our own lock, which the server may not have freed yet."""

LOCK_TIMEOUT = 15.0
"""Seconds for all of that; a server that does not answer counts as away."""

log = structlog.get_logger("cueapi.wakeups")


@define(eq=False)
class WakeupRelay:
    """
    Holds the LISTEN connection and, on it, the lock of this daemon's number. Ends when it is cancelled.

    A daemon that reconnects before the others declare it dead keeps its number and its claims.
    """

    dsn: str
    database: Database
    identity: DaemonId
    hub: WakeupHub

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Receive what other daemons announce, and announce what the hub has gathered."""
        async with open_listener(self.dsn, CHANNEL, heartbeat=HEARTBEAT) as (listener, db):
            with trio.fail_after(LOCK_TIMEOUT):
                self.identity.number = await self._acquire_number(db)
            self.identity.lock_held = True
            self.hub.connected()
            try:
                task_status.started()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._announce, name="wakeups: announce")
                    while True:
                        notification = await listener.next()
                        if notification is not None:
                            self._receive(notification.payload)
                        beat()
            finally:
                self.identity.lock_held = False
                self.hub.disconnected()

    async def _acquire_number(self, db: Transaction) -> int:
        """Hold the lock of our number: the former one if the others have not declared it dead, else a new one."""
        former = self.identity.number
        if former is not None and await daemons.resume(db, former):
            for _ in range(LOCK_ATTEMPTS):
                if await daemons.acquire_lock(db, former):
                    return former
                await trio.sleep(LOCK_PAUSE)
        number = await daemons.register(db, self.identity.instance)
        if not await daemons.acquire_lock(db, number):
            raise StorageUnavailable("the lock of a new daemon is held by another session")
        log.info("daemon_registered", daemon=number)
        return number

    async def _announce(self) -> None:
        """One NOTIFY for all topics that gathered since the last one."""
        while True:
            await self.hub.announcements.wait()
            await trio.sleep(BUNDLE_PAUSE)
            topics = self.hub.announcements.take()
            texts = [topic if moment is None else f"{topic}:{moment}" for topic, moment in topics.items()]
            try:
                await notify(self.database, f"{self.identity.number} {' '.join(texts)}")
            except BaseException:
                # NOTIFY failed or was cancelled: requeue the topics for the next run; a revoked key must be announced.
                for topic, moment in topics.items():
                    self.hub.announcements.add(topic, moment)
                raise

    def _receive(self, payload: str) -> None:
        sender, *topics = payload.split(" ")
        if sender == str(self.identity.number):
            return
        for topic in topics:
            try:
                self.hub.receive(topic)
            except ValueError:
                # Any session of this database may notify.
                log.warning("wakeup_unknown", topic=topic[:100])
