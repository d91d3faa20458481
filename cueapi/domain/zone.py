"""
How the clocks of a zone run: evenly for a stretch, then a jump, then the next stretch.

`zoneinfo` tells a zone's offset at a moment, but not when it changes. So a year is probed, each
change between two probes is pinned down to the second, and the stretches of the year are kept.
Moments are aware and in UTC; a *reading* is what the clock on the wall shows, and is naive.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib import resources
from itertools import pairwise
from zoneinfo import ZoneInfo

from attrs import frozen

from cueapi.domain.errors import Refusal

SECOND = timedelta(seconds=1)

# No zone of the database changes twice within 6.9 days, in all of history.
PROBE = 5
"""Days."""

# Not the host's database: that is another one on each host, and on some years old. What the daemons of one
# deployment have in common is the package.
DATABASE = resources.files("tzdata")

NO_ZONE = "Factory"
"""A placeholder of the database: "no zone has been set"."""


@frozen
class OffsetPeriod:
    """From *begin* until *end* the clock is *offset* ahead of UTC; just before, it was *before* ahead."""

    begin: datetime
    end: datetime
    offset: timedelta
    before: timedelta


def check_timezone(name: str) -> str:
    """*name*, if it is a zone of the IANA database; to the letter, since file systems differ in that."""
    meant = _names().get(name.lower())
    if meant == name:
        return name
    hint = f"did you mean {meant!r}?" if meant else "valid are for example 'Europe/London' and 'UTC'"
    raise Refusal("invalid_timezone", f"{name[:64]!r} is no IANA timezone; {hint}")


def offset_periods(
    timezone: str, since: datetime, until: datetime, *, backward: bool = False
) -> Iterator[OffsetPeriod]:
    """The stretches that overlap [*since*, *until*), each within one year of UTC."""
    order = -1 if backward else 1
    for year in range(since.year, until.year + 1)[::order]:
        for period in _periods_of(timezone, year)[::order]:
            if period.begin < until and since < period.end:
                yield period


def moment_of(wall_time: datetime, timezone: str) -> datetime:
    """When the clock first shows *reading*; where a jump leaves it out, the moment of the jump."""
    zone = zone_named(timezone)
    # PEP 495: around a jump, fold 0 reckons with the offset before it and fold 1 with the one after.
    by_old = wall_time.replace(tzinfo=zone, fold=0).astimezone(UTC)
    by_new = wall_time.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if by_old <= by_new:
        return by_old
    fraction = timedelta(microseconds=wall_time.microsecond)
    return _change_between(zone, by_new - fraction, by_old - fraction)


def reading_at(moment: datetime, timezone: str) -> datetime:
    """What the clock shows at *moment*; at a jump, the earlier of what it shows before and after."""
    zone = zone_named(timezone)
    return (moment + min(_offset(zone, moment), _offset(zone, moment - SECOND))).replace(tzinfo=None)


def local_time(moment: datetime, timezone: str) -> datetime:
    """*moment* as the clock of *timezone* shows it, with its offset then."""
    return moment.astimezone(zone_named(timezone))


@lru_cache(maxsize=1)
def tzdata_version() -> str:
    """The version of the database, such as `2026a`."""
    with DATABASE.joinpath("zoneinfo", "tzdata.zi").open("r", encoding="ascii") as file:
        return file.readline().removeprefix("# version").strip()


@lru_cache(maxsize=1024)
def zone_named(name: str) -> ZoneInfo:
    with DATABASE.joinpath("zoneinfo", *check_timezone(name).split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def zone_names() -> list[str]:
    """Every zone that a schedule may have, by name."""
    return sorted(_names().values())


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    """Every zone by its name in lower case."""
    names = DATABASE.joinpath("zones").read_text("utf-8").split()
    return {name.lower(): name for name in names if name != NO_ZONE}


@lru_cache(maxsize=4096)
def _periods_of(timezone: str, year: int) -> tuple[OffsetPeriod, ...]:
    zone = zone_named(timezone)
    begin, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    begins = [begin, *_changes(zone, begin, end)]
    return tuple(
        OffsetPeriod(since, until, _offset(zone, since), _offset(zone, since - SECOND))
        for since, until in zip(begins, [*begins[1:], end], strict=True)
    )


def _changes(zone: ZoneInfo, begin: datetime, end: datetime) -> Iterator[datetime]:
    """The moments between *begin* and *end*, a year, from which on the zone has another offset."""
    moments = [*(begin + timedelta(days=day) for day in range(0, 365, PROBE)), end - SECOND]
    probes = [(moment, _offset(zone, moment)) for moment in moments]
    for (since, old), (until, new) in pairwise(probes):
        if old != new:
            yield _change_between(zone, since, until)


def _change_between(zone: ZoneInfo, begin: datetime, end: datetime) -> datetime:
    """The one second in (*begin*, *end*] from which on the offset is that of *end*."""
    old = _offset(zone, begin)
    while end - begin > SECOND:
        middle = begin + (end - begin) // SECOND // 2 * SECOND
        if _offset(zone, middle) == old:
            begin = middle
        else:
            end = middle
    return end


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    return moment.astimezone(zone).replace(tzinfo=UTC) - moment
