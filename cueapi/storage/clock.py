"""PostgreSQL's clock, as far as the process knows it: the only one that decides what is past."""

from datetime import UTC, datetime, timedelta

from attrs import define

TOLERANCE = timedelta(seconds=5)
"""A daemon whose clock is further off says so."""


@define
class Clock:
    """Wall time by the offset that was last measured; until then the machine's own."""

    offset: timedelta = timedelta(0)

    def now(self) -> datetime:
        """The moment by PostgreSQL's clock, give or take a round trip."""
        return datetime.now(UTC) + self.offset

    def measure(self, told: datetime) -> bool:
        """Take *told* for the present moment; True where the machine's clock has just been found to be off."""
        was_astray = abs(self.offset) > TOLERANCE
        self.offset = told - datetime.now(UTC)
        return abs(self.offset) > TOLERANCE and not was_astray
