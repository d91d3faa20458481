"""Sliding windows of 60 s, in the process."""

from collections import OrderedDict, deque
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from math import ceil
from time import monotonic

from attrs import define, field, frozen

WINDOW = 60.0
KEYS_REMEMBERED = 100_000
"""Whose windows are kept: beyond that the one that was touched longest ago is forgotten."""

Networks = tuple[IPv4Network | IPv6Network, ...]


@frozen
class Standing:
    """Where a caller stands: of *limit* requests *remaining* are left, more in *reset* seconds."""

    limit: int
    remaining: int
    reset: float
    refused: bool

    @property
    def retry_after(self) -> int:
        """Whole seconds, at least one."""
        return max(ceil(self.reset), 1)


@define(eq=False)
class Windows:
    """Counts requests by key; a refused one does not count."""

    clock: Callable[[], float] = monotonic
    _hits: OrderedDict[str, deque[float]] = field(init=False, factory=OrderedDict)

    def count(self, key: str, limit: int, *, never_refuse: bool = False) -> Standing:
        """Count a request of *key*, unless it is one too many."""
        now = self.clock()
        hits = self._current(key, now)
        refused = len(hits) >= limit and not never_refuse
        if not refused:
            hits.append(now)
            self._hits[key] = hits
            self._hits.move_to_end(key)
            if len(self._hits) > KEYS_REMEMBERED:
                self._hits.popitem(last=False)
        reset = hits[0] + WINDOW - now if hits else WINDOW
        return Standing(limit, max(limit - len(hits), 0), reset, refused)

    def used(self, key: str) -> int:
        """How many requests of *key* the window holds."""
        return len(self._current(key, self.clock()))

    def _current(self, key: str, now: float) -> deque[float]:
        hits = self._hits.get(key)
        if hits is None:
            return deque()
        while hits and hits[0] <= now - WINDOW:
            hits.popleft()
        return hits


def client_address(peer: str | None, forwarded: str | None, trusted: Networks) -> str:
    """
    Who calls: the right-most address of X-Forwarded-For that is no trusted proxy, where the peer is one.

    IPv6 counts by its /64, which is what one customer has.
    """
    address = peer or "unknown"
    hops = [hop.strip() for hop in (forwarded or "").split(",") if hop.strip()]
    while hops and _is_trusted(address, trusted):
        address = hops.pop()
    return _network(address)


def _is_trusted(address: str, trusted: Networks) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in trusted)


def _network(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(IPv6Network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)
