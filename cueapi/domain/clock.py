"""Moments as the contract writes them. Nothing here reads a clock."""

import re
from datetime import UTC, datetime

# The margins keep every zone's clock within the years that `datetime` knows, and apart from PostgreSQL's `infinity`.
FIRST = datetime(2, 1, 1, tzinfo=UTC)
LAST = datetime(9998, 12, 31, tzinfo=UTC)

# Python takes any sign before the time.
_SEPARATED = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8}|[0-9]{4}-?W[0-9]{2}(-?[0-9])?)([Tt ].*)?")


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC, ending in `Z`, with six digits of fraction where there is one."""
    # Moments from PostgreSQL are in UTC already, and lists have hundreds of moments.
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat()[: -len("+00:00")] + "Z"


def parse_moment(text: str) -> datetime:
    """An ISO 8601 moment; without an offset it is UTC. Raises ValueError for anything else."""
    if _SEPARATED.fullmatch(text) is None:
        raise ValueError("a date, and then T or a blank before the time")
    moment = datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("out of range") from error


def is_within_calendar(moment: datetime) -> bool:
    """Whether *moment* can be kept: shown on the clock of any zone, and stored as itself."""
    return FIRST <= moment <= LAST


def parse_kept(text: str) -> datetime:
    """As `parse_moment`, of a moment that is to be kept. Raises ValueError for one that cannot be."""
    moment = parse_moment(text)
    if not is_within_calendar(moment):
        raise ValueError("out of range")
    return moment
