"""Numbers as PostgreSQL's numeric holds them: what adds up in decimals."""

from decimal import Decimal


def decimal(number: float | None) -> Decimal | None:
    """*number* as it is written: 0.1 is a tenth, and not the nearest double."""
    return None if number is None else Decimal(str(number))
