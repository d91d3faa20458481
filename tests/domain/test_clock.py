"""Moments as they are read."""

from datetime import UTC, datetime

import pytest

from cueapi.domain.clock import parse_moment


@pytest.mark.parametrize(
    "text",
    [
        "2030-01-02T03:04:05Z", "2030-01-02t03:04:05+00:00", "2030-01-02 03:04:05", "20300102T030405",
        "2030-W01-3T03:04:05", "2030W013 030405", "2030-01-02T05:04:05+02:00",
    ],
)  # fmt: skip
def test_a_time_follows_its_date_after_a_t_or_a_blank(text: str) -> None:
    assert parse_moment(text) == datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_a_date_alone_is_its_midnight() -> None:
    assert parse_moment("2030-01-02") == datetime(2030, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize("sign", ["x", "_", "-", ":", "+", "\u00a0", "\t", "\n", "5", "é", "TT"])
def test_no_other_sign_may_stand_between_date_and_time(sign: str) -> None:
    with pytest.raises(ValueError, match=r"blank|isoformat"):
        parse_moment(f"2030-01-02{sign}03:04:05")
