"""
Who watches: streams of hints about what has changed of an account, to browsers and programs.

A hint carries no data: its reader asks anew. Losing one costs time. Between daemons hints travel for accounts that are
being watched, and for no others: where no stream is open, a change costs two look-ups.
"""

from collections.abc import Awaitable, Callable, Iterable
from math import inf
from typing import Self

import trio
from attrs import define, field

from cueapi.storage.database import StorageUnavailable
from cueapi.wakeups.announcements import Announcements

TOPICS = ("executions", "cues", "alerts", "workers")

MOST, MOST_OF_USER = 200, 20
"""Streams of a daemon, and of one account; one more is not opened."""

LONGEST = 600.0
"""Seconds after which a stream ends; its client opens another one."""

HINT_PAUSE = 1.0
"""Seconds between two hints of a stream, at least."""

PING_PAUSE = 15.0
"""Seconds between two pings: so a proxy keeps the connection, and a client that is gone is noticed."""

CHECKED_WITHIN = 0.8
"""Seconds in which PostgreSQL must say that a key or a session still serves; else the stream ends."""

RENEWAL, WATCHED = 2.0, 5.0
"""Seconds between two words to the other daemons that an account is watched here, and for how long one word counts."""

OPENING, PING, LATER = b": open\n\n", b": ping\n\n", b"retry: 2000\n\n"

Serves = Callable[[], Awaitable[bool]]
"""Whether the key or the session of a stream still serves."""


@define(eq=False)
class EventStream:
    """
    The answer to one watcher, as server-sent events (HTML, 9.2): each says which topics have changed.

    It counts from `async with` on. It ends after *longest* seconds, when *serves* says no, and when the daemon drains.
    """

    watchers: "Watchers"
    user: int
    serves: Serves
    longest: float = LONGEST
    _topics: set[str] = field(init=False, factory=set)
    _woken: trio.Event = field(init=False, factory=trio.Event)
    _doubted: bool = field(init=False, default=False)
    _over: bool = field(init=False, default=False)
    _next_hint: float = field(init=False, default=-inf)
    _next_ping: float = field(init=False, default=inf)
    _ends: float = field(init=False, default=inf)

    async def __aenter__(self) -> Self:
        self._over = not self.watchers.add(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.watchers.remove(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """What is sent next; waits until there is something."""
        if self._over:
            raise StopAsyncIteration
        if self._ends == inf:
            now = trio.current_time()
            self._ends, self._next_ping = now + self.longest, now + PING_PAUSE
            return OPENING
        while (part := await self._part()) is None:
            wake_at = min(self._next_ping, self._ends, self._next_hint if self._topics else inf)
            with trio.move_on_at(wake_at):
                await self._woken.wait()
            self._woken = trio.Event()
        return part

    async def _part(self) -> bytes | None:
        """What can be sent now; None where nothing can be."""
        if self.watchers.closed:
            self._over = True
            return LATER
        now = trio.current_time()
        if now >= self._ends or (self._doubted and not await self._still_serves()):
            raise StopAsyncIteration
        if self._topics and now >= self._next_hint:
            self._next_hint, self._next_ping = now + HINT_PAUSE, now + PING_PAUSE
            return self._hint()
        if now >= self._next_ping:
            self._next_ping = now + PING_PAUSE
            return PING
        return None

    def _hint(self) -> bytes:
        listed = ", ".join(f'"{topic}"' for topic in TOPICS if topic in self._topics)
        self._topics.clear()
        return f'event: changed\ndata: {{"topics": [{listed}]}}\n\n'.encode()

    async def _still_serves(self) -> bool:
        self._doubted = False
        with trio.move_on_after(CHECKED_WITHIN):
            try:
                return await self.serves()
            except StorageUnavailable:
                return False
        return False

    def hint(self, topics: Iterable[str]) -> None:
        """Say these topics with the next hint."""
        if not self._topics.issuperset(topics):
            self._topics.update(topics)
            self._woken.set()

    def doubt(self) -> None:
        """Ask whether it still serves."""
        self._doubted = True
        self._woken.set()

    def wake(self) -> None:
        """Look at once what there is to do."""
        self._woken.set()


@define(eq=False)
class Watchers:
    """Every open stream of this daemon, and which accounts are watched at others; a sibling whose end ends them all."""

    announcements: Announcements
    most: int = MOST
    closed: bool = field(init=False, default=False)
    _streams: dict[int, set[EventStream]] = field(init=False, factory=dict)
    _open: int = field(init=False, default=0)
    _elsewhere: dict[int, float] = field(init=False, factory=dict)
    """Of each account that another daemon says is watched there, until when that counts."""
    _any: trio.Event = field(init=False, factory=trio.Event)

    def __len__(self) -> int:
        """How many streams are open."""
        return self._open

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Tell the other daemons who is watched here, until it is cancelled; then every stream ends at once."""
        self.closed = False
        task_status.started()
        try:
            while True:
                await self._any.wait()
                # Its first stream has announced an account.
                while self._streams:
                    await trio.sleep(RENEWAL)
                    for user in self._streams:
                        self.announcements.add(f"watch:{user}")
                self._any = trio.Event()
        finally:
            self.closed = True
            for streams in self._streams.values():
                for stream in streams:
                    stream.wake()

    def has_room(self, user: int) -> bool:
        """Whether one more stream of *user* can be opened."""
        return self._open < self.most and len(self._streams.get(user, ())) < MOST_OF_USER

    def add(self, stream: EventStream) -> bool:
        """Count *stream*; False where there is no room for it."""
        if not self.has_room(stream.user):
            return False
        if stream.user not in self._streams:
            self.announcements.add(f"watch:{stream.user}")
        self._streams.setdefault(stream.user, set()).add(stream)
        self._open += 1
        self._any.set()
        return True

    def remove(self, stream: EventStream) -> None:
        """*stream* has ended; one that was never counted has, too."""
        streams = self._streams.get(stream.user, set())
        if stream in streams:
            streams.remove(stream)
            self._open -= 1
            if not streams:
                del self._streams[stream.user]

    def changed(self, user: int, topics: Iterable[str]) -> None:
        """Hint at *topics* to those who watch *user*, here and at other daemons."""
        self.changed_elsewhere(user, topics)
        until = self._elsewhere.get(user)
        if until is not None and until > trio.current_time():
            for topic in topics:
                self.announcements.add(f"changed:{user}:{topic}")

    def changed_elsewhere(self, user: int, topics: Iterable[str]) -> None:
        """Likewise, where another daemon has said so: those who watch here."""
        for stream in self._streams.get(user, ()):
            stream.hint(topics)

    def doubt(self, user: int) -> None:
        """A key was replaced, or a session has ended: each stream of *user* asks whether its own still serves."""
        for stream in self._streams.get(user, ()):
            stream.doubt()

    def watched_elsewhere(self, user: int) -> None:
        """Another daemon has a stream of *user*."""
        now = trio.current_time()
        self._elsewhere = {one: until for one, until in self._elsewhere.items() if until > now}
        self._elsewhere[user] = now + WATCHED
