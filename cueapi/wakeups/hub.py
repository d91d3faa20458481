"""The wake-up hub: one object with a verb for each thing that can happen. It wakes the parts that have to act on it."""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Protocol

import trio
from attrs import define, field

from cueapi.storage.clock import Clock
from cueapi.wakeups.announcements import Announcements
from cueapi.wakeups.long_poll import LongPoll
from cueapi.wakeups.watching import TOPICS, Watchers
from supervisor import Periodic

MARGIN = 0.002
"""Seconds after a cue's time at which the poller looks for it: PostgreSQL must not say "not yet"."""


TARGETS_INTERVAL = 5.0
"""Seconds after which targets that are down are looked at again, though no daemon has said that one has changed."""


class AccountCache(Protocol):
    """What remembers accounts, and must not go by what has changed."""

    def invalidate(self, user: int) -> None:
        """Forget that account."""
        ...

    def mark_cache_valid(self, valid: bool) -> None:
        """Whether changes are announced to this daemon; where not, forget everything."""
        ...


@define(eq=False)
class WakeupHub:
    """
    Verbs: `cue_written`, `delivery_ready`, `work_ready`, `notice_ready`, `operation_ready`, `target_changed`,
    `released`, `changed`.

    Each is a hint: losing one costs time, never work. In this daemon it takes effect at once; the other daemons
    receive it within some 20 ms, unless *announce* is False. They poll at least every *poll_interval* seconds.
    """

    clock: Clock
    poll_interval: float
    accounts: AccountCache
    long_poll: LongPoll = field(factory=LongPoll)
    alerts: Counter[str] = field(factory=Counter)
    """How many were raised by this daemon, by type."""
    announcements: Announcements = field(factory=Announcements)
    watchers: Watchers = field(init=False)
    polls: Periodic = field(init=False)
    dispatches: Periodic = field(init=False)
    notifications: Periodic = field(init=False)
    targets: Periodic = field(init=False)
    operations: Periodic = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.watchers = Watchers(self.announcements)
        self.polls = Periodic(self.poll_interval)
        self.dispatches = Periodic(self.poll_interval)
        self.notifications = Periodic(self.poll_interval)
        self.targets = Periodic(min(self.poll_interval, TARGETS_INTERVAL))
        self.operations = Periodic(self.poll_interval)

    def cue_written(self, next_run: datetime | None) -> None:
        """A cue is due at *next_run*: the pollers will be there in time."""
        if next_run is None:
            return
        moment = next_run.timestamp()
        self._wake_poller(moment)
        # The other daemons poll before a later moment, and look ahead themselves.
        if moment <= self.clock.now().timestamp() + self.poll_interval:
            self.announcements.add("cue", moment)

    def delivery_ready(self, *, announce: bool = True) -> None:
        """A delivery waits in the outbox: the nearest dispatcher takes it."""
        self.dispatches.wake()
        if announce:
            self.announcements.add("delivery")

    def work_ready(self, user: int, *, announce: bool = True) -> None:
        """A worker of *user* can claim something."""
        self.long_poll.wake(user)
        if announce:
            self.announcements.add(f"work:{user}")

    def notice_ready(self, alerts: Iterable[str] = ()) -> None:
        """A notification waits: this daemon's notifier sends it. *alerts* are the types of those that were raised."""
        self.alerts.update(alerts)
        self.notifications.wake()

    def target_changed(self) -> None:
        """A target has opened or closed, or is to be probed."""
        self.targets.wake()
        self.announcements.add("target")

    def operation_ready(self) -> None:
        """An operation on many has begun, or a place for one has come free."""
        self.operations.wake()

    def account_changed(self, user: int) -> None:
        """A key was replaced or revoked, or a limit changed: no daemon may go by what it remembers."""
        self._forget_account(user)
        self.announcements.add(f"account:{user}")

    def released(self, user: int) -> None:
        """An account is no longer held: what was stopped at its time fires on the daemons that find it first."""
        self.polls.wake()
        self.announcements.add("cue", 0.0)
        self.delivery_ready()
        self.work_ready(user)
        self.changed(user, "executions", "cues")

    def changed(self, user: int, *topics: str) -> None:
        """Something of *user* is another now (see TOPICS): those who watch look again."""
        self.watchers.changed(user, topics)

    def _forget_account(self, user: int) -> None:
        self.accounts.invalidate(user)
        self.watchers.doubt(user)

    def connected(self) -> None:
        """Announcements of other daemons arrive from now on; earlier ones may be lost."""
        self.accounts.mark_cache_valid(True)
        self.polls.wake()
        self.dispatches.wake()
        self.notifications.wake()
        self.targets.wake()
        self.operations.wake()

    def disconnected(self) -> None:
        """Announcements of other daemons do not arrive any more."""
        self.accounts.mark_cache_valid(False)

    def receive(self, topic: str) -> None:
        """Act on a topic that another daemon has announced. Raises ValueError for one that is not known."""
        self._action(topic)()

    def _action(self, topic: str) -> Callable[[], None]:
        kind, _, detail = topic.partition(":")
        match kind:
            case "cue":
                return partial(self._wake_poller, float(detail))
            case "delivery" | "target":
                return {"delivery": self.dispatches, "target": self.targets}[kind].wake
            case "work":
                return partial(self.long_poll.wake, int(detail))
            case "account":
                return partial(self._forget_account, int(detail))
            case "watch":
                return partial(self.watchers.watched_elsewhere, int(detail))
            case "changed":
                user, _, what = detail.partition(":")
                return partial(self.watchers.changed_elsewhere, int(user), (TOPICS[TOPICS.index(what)],))
            case _:
                raise ValueError(kind)

    def _wake_poller(self, moment: float) -> None:
        delay = moment - self.clock.now().timestamp() + MARGIN
        self.polls.wake_at(trio.current_time() + delay)
