"""How values are shown."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from cueapi.dashboard.browser_names import browser_name
from cueapi.dashboard.filters import amount, cut, duration, moment, number


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"), (-0.2, "0 ms"), (0, "0 ms"), (0.0004, "0 ms"), (0.042, "42 ms"), (0.9994, "999 ms"),
        (0.9996, "1.0 s"), (1.24, "1.2 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min"),
        (61, "1 min 1 s"), (600, "10 min"), (3_599, "59 min"), (3_600, "1 h"), (7_500, "2 h 5 min"),
        (86_399, "23 h 59 min"), (86_400, "1 d"), (93_600, "1 d 2 h"), (86_400 * 400, "400 d"),
    ],
)  # fmt: skip
def test_a_duration_has_at_most_two_units(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


def test_a_moment_is_shown_in_utc_and_marked_up_for_scripts() -> None:
    at = datetime(2026, 11, 29, 1, 2, 3, 456_000, tzinfo=timezone(timedelta(hours=-8)))

    assert moment(at) == (
        '<time datetime="2026-11-29T09:02:03.456Z" title="2026-11-29 09:02:03 UTC" data-shown="full">'
        "2026-11-29 09:02:03 UTC</time>"
    )
    assert str(moment(at, "time")).endswith(">09:02:03</time>")
    assert str(moment(at, "day")).endswith(">11-29 09:02</time>")
    assert str(moment(datetime(1, 1, 1, tzinfo=UTC), "minute")).endswith(">0001-01-01 00:00 UTC</time>")
    assert moment(None) == "–"


def test_a_long_id_is_cut_in_its_middle() -> None:
    assert cut("01a2b3c4-0000-7000-8000-000000000538") == "01a2b3c4-000…00538"
    assert len(cut("x" * 500)) == 18
    assert (cut("short"), cut("x" * 9, 4)) == ("short", "xx…x")


def test_thousands_stand_apart() -> None:
    assert (number(1_204), number(0), number(None)) == ("1,204", "0", "–")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"), (0.5, "0.5"), (20, "20"), (0.1 + 0.2, "0.3"), (12_345_678_901.5, "12,345,678,901.5"),
        (1e17, "100,000,000,000,000,000"), (1e-12, "1e-12"), (100, "100"),
    ],
)  # fmt: skip
def test_a_cost_has_no_exponent_as_long_as_it_can_be_read_without(value: float, shown: str) -> None:
    assert amount(value) == shown


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/130.0 Safari/537.36", "Chrome on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/130.0 Safari/537.36 Edg/130.0", "Edge on Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14_0) AppleWebKit/605.1 Version/17.0 Safari/605.1", "Safari on macOS"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) CriOS/130.0 Safari/604.1", "Chrome on iPhone"),
        ("curl/8.5.0", "curl"),
        ("", "Another browser"),
        ("Linux thing", "Linux"),
    ],
)  # fmt: skip
def test_a_browser_is_called_as_people_call_it(user_agent: str, name: str) -> None:
    assert browser_name(user_agent) == name
