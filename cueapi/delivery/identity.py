"""Who this daemon is to the others: the number under which it claims."""

from attrs import define


@define
class Identity:
    """*instance* outlives a restart (host, address, port); *number* is new with each life."""

    instance: str
    number: int | None = None
