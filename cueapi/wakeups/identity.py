"""Who this daemon is to the others: the number under which it claims."""

from attrs import define


@define
class DaemonId:
    """
    *instance* outlives a restart (host, address, port); *number* is new with each start.

    Unless *lock_held*, the other daemons may declare this one dead.
    """

    instance: str
    number: int | None = None
    lock_held: bool = True

    @property
    def claim_number(self) -> int | None:
        """The number to claim under; None while nothing may be claimed, since others would take it back."""
        return self.number if self.lock_held else None
