"""Who this daemon is to the others: the number under which it claims."""

from attrs import define


@define
class Identity:
    """
    *instance* outlives a restart (host, address, port); *number* is new with each life.

    While the lock of the number is not *locked*, the others may take the daemon for gone.
    """

    instance: str
    number: int | None = None
    locked: bool = True

    @property
    def claims_as(self) -> int | None:
        """The number to claim under; None while nothing may be claimed, since others would take it back."""
        return self.number if self.locked else None
