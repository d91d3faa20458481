"""Moments as the contract writes them. Nothing here reads a clock."""

from datetime import UTC, datetime


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC, ending in `Z`, with six digits of fraction where there is one."""
    # Moments from PostgreSQL are in UTC already, and lists have hundreds of moments.
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat()[: -len("+00:00")] + "Z"


def parse_moment(text: str) -> datetime:
    """An ISO 8601 moment; without an offset it is UTC. Raises ValueError for anything else."""
    moment = datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("out of range") from error
