"""Sliding windows: who asks too often, counted in Redis or in the process."""

import re
from collections import OrderedDict, deque
from collections.abc import Callable
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from math import ceil, inf
from time import monotonic

import structlog
from attrs import define, field, frozen

from cueapi.domain.address import read_address
from cueapi.domain.errors import Refusal
from cueapi.net.redis import Redis, RedisUnavailable

MINUTE, HOUR = 60.0, 3_600.0

WINDOW = MINUTE
PAUSE = 5.0
"""Seconds after which a Redis that is away is asked again, by one request."""

NEWS_SERVE = 5.0
"""Seconds for which what was heard of Redis is told again."""

KEYS_REMEMBERED = 20_000
"""Windows of one kind that are kept: beyond that the one that was touched longest ago is forgotten."""

Networks = tuple[IPv4Network | IPv6Network, ...]

log = structlog.get_logger("cueapi.api")


@frozen
class RateLimitResult:
    """Where a caller stands: of *limit* requests *remaining* are left, more in *reset* seconds."""

    limit: int
    remaining: int
    reset: float
    refused: bool

    @property
    def used(self) -> int:
        """How many requests the window holds, up to the limit."""
        return self.limit - self.remaining

    @property
    def retry_after(self) -> int:
        """Whole seconds, at least one."""
        return max(ceil(self.reset), 1)


@define(eq=False)
class Windows:
    """
    Counts requests by key; a refused one does not count.

    In Redis, shared by all daemons, where there is one; without it, and while it is away, in the process: never off.
    """

    redis: Redis | None = None
    clock: Callable[[], float] = monotonic
    remembered: int = KEYS_REMEMBERED
    _hits: dict[str, OrderedDict[str, deque[float]]] = field(init=False, factory=dict)
    """By kind, which a key begins with: what strangers make up must not push out what others rely on."""
    _away: bool = field(init=False, default=False)
    _heard: float = field(init=False, default=-inf)
    _asked_again: float = field(init=False, default=-inf)

    async def count(
        self, key: str, limit: int, *, window: float = WINDOW, never_refuse: bool = False
    ) -> RateLimitResult:
        """Count a request of *key*, unless it is one too many within *window* seconds."""
        redis = self.redis
        if redis is None or not self._is_worth_asking():
            return self._count_here(key, limit, window, never_refuse=never_refuse)
        try:
            counted = await redis.count(key, limit, window, never_refuse=never_refuse)
        except RedisUnavailable as away:
            self._lost(away)
            return self._count_here(key, limit, window, never_refuse=never_refuse)
        self._answered()
        return RateLimitResult(limit, max(limit - counted.used, 0), counted.reset, counted.refused)

    async def check(self, name: str, key: str, limit: int, window: float) -> None:
        """Count a request under a limit of its own, called *name*; refuses what is one too many."""
        # By digest: a key may be long, or an e-mail address, and Redis is no place for those.
        digest = sha256(key.encode("utf-8", "replace")).hexdigest()[:32]
        result = await self.count(f"{name}:{digest}", limit, window=window)
        if result.refused:
            raise too_many(limit, window, result)

    async def release(self, name: str, key: str) -> None:
        """Take back the newest hit that `check` has counted: what failed otherwise is counted, this did not fail."""
        digest = sha256(key.encode("utf-8", "replace")).hexdigest()[:32]
        counted = f"{name}:{digest}"
        if self.redis is not None and not self._away:
            try:
                await self.redis.release(counted)
            except RedisUnavailable as away:
                self._lost(away)
            return
        if hits := self._hits.setdefault(name, OrderedDict()).get(counted):
            hits.pop()

    async def is_shared(self) -> bool | None:
        """Whether Redis answers; None where there is none. Asked where nothing was heard of it for a while."""
        redis = self.redis
        if redis is None:
            return None
        if self._away or self.clock() - self._heard > NEWS_SERVE:
            if not self._is_worth_asking():
                return False
            try:
                await redis.ping()
            except RedisUnavailable as away:
                self._lost(away)
            else:
                self._answered()
        return not self._away

    def _is_worth_asking(self) -> bool:
        """False while Redis is away, but for one request every few seconds."""
        if not self._away:
            return True
        now = self.clock()
        if now - self._asked_again < PAUSE:
            return False
        self._asked_again = now
        return True

    def _answered(self) -> None:
        self._heard = self.clock()
        if self._away:
            self._away = False
            log.info("rate_limits_shared")

    def _lost(self, reason: RedisUnavailable) -> None:
        self._asked_again = self.clock()
        if not self._away:
            self._away = True
            log.warning("rate_limits_local", reason=str(reason))

    def _count_here(self, key: str, limit: int, window: float, *, never_refuse: bool) -> RateLimitResult:
        now = self.clock()
        of_kind = self._hits.setdefault(key.partition(":")[0], OrderedDict())
        hits = of_kind.setdefault(key, deque())
        while hits and hits[0] <= now - window:
            hits.popleft()
        refused = len(hits) >= limit and not never_refuse
        if not refused:
            hits.append(now)
            # Requests that are never refused still count: keep the newest *limit* hits.
            if len(hits) > limit:
                hits.popleft()
        of_kind.move_to_end(key)
        if len(of_kind) > self.remembered:
            of_kind.popitem(last=False)
        reset = hits[0] + window - now if hits else window
        return RateLimitResult(limit, max(limit - len(hits), 0), reset, refused)


def too_many(limit: int, window: float, result: RateLimitResult) -> Refusal:
    """The refusal of one request too many."""
    return Refusal(
        "rate_limit_exceeded",
        f"More than {limit} requests in {window:g} seconds. Try again in {result.retry_after} s.",
        retry_after=result.retry_after,
    )


def client_address(peer: str | None, forwarded: str | None, trusted: Networks) -> str:
    """
    Who calls: the right-most address of X-Forwarded-For that is no trusted proxy, where the peer is one.

    A port and brackets beside an address are passed over. What is no address counts against the proxy that sent it.
    IPv6 counts by its /64, which is what one customer has.
    """
    address = peer or "unknown"
    hops = [hop for hop in (forwarded or "").split(",") if hop.strip()]
    while hops and is_trusted(address, trusted):
        found = _HOP.fullmatch(hops.pop().strip())
        if found is None or not _is_address(hop := found["v6"] or found["plain"]):
            break
        address = hop
    return client_network(address)


# 7.7.7.7, 7.7.7.7:1001, 2001:db8::1, [2001:db8::1], "[2001:db8::1]:1001" (RFC 7239, 6).
_HOP = re.compile(
    r'"?(\[(?P<v6>[0-9A-Fa-f:.]+)\](:[0-9]{1,5})?|(?P<plain>[0-9.]+(?=:)|[0-9A-Fa-f:.]+)(:[0-9]{1,5})?)"?'
)


def _is_address(text: str) -> bool:
    try:
        read_address(text)
    except ValueError:
        return False
    return True


def is_trusted(address: str, trusted: Networks) -> bool:
    """Whether *address* belongs to a proxy that is trusted."""
    try:
        parsed = read_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in trusted)


def client_network(address: str) -> str:
    """What *address* counts as: of IPv6 the /64, which is what one customer has."""
    try:
        parsed = read_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)
