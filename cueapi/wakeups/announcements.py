"""What this daemon has to tell the others, gathered until it is sent."""

import trio
from attrs import define, field


@define(eq=False)
class Announcements:
    """Topics for the other daemons, gathered until they are sent. Of one topic's moments the earliest counts."""

    _topics: dict[str, float | None] = field(init=False, factory=dict)
    _any: trio.Event = field(init=False, factory=trio.Event)

    def add(self, topic: str, moment: float | None = None) -> None:
        """Have *topic* sent with the next notification."""
        known = self._topics.get(topic)
        self._topics[topic] = moment if known is None or moment is None else min(known, moment)
        self._any.set()

    async def wait(self) -> None:
        """Return when there is something to send."""
        await self._any.wait()

    def take(self) -> dict[str, float | None]:
        """Everything that has gathered; the caller sends it, or adds it again."""
        taken, self._topics = self._topics, {}
        self._any = trio.Event()
        return taken
