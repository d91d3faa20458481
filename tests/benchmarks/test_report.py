"""A report: the table as Markdown, plots, and where the daemon's time goes."""

from pathlib import Path

import pytest

from tests.benchmarks import deliveries, lag, report
from tests.benchmarks.profile import profile_deliveries, table
from tests.benchmarks.size import TINY
from tests.benchmarks.table import Row
from tests.storage.own_postgres import OwnPostgres

LAG = Row(lag.MEDIAN, "3 cues", "its scheduled_for", [7.0], 100, " ms", at_most=True, series=[[6.0, 7.0, 9.0]])
DELIVERIES = Row(deliveries.NAME, "20 a second", "httpx: 25 a second", [0.8], 0.6, series=[[0.0, 0.05, 0.31]])


def test_the_table_is_written_as_markdown_with_its_plots() -> None:
    text = report.markdown([LAG, DELIVERIES], "\nHow it was measured.", ["lag.png"])

    assert "| lag, median | 3 cues | its scheduled_for | 7 ms | <= 100 ms | yes |" in text
    assert text.index("| deliveries |") < text.index("How it was measured.") < text.index("![lag](lag.png)")


def test_a_profile_tells_the_own_time_of_a_function_from_that_of_what_it_calls() -> None:
    text = table("run (a.py);send (b.py) 3\nrun (a.py) 1\n")

    assert [line.split() for line in text.splitlines()[-2:]] == [
        ["75.0%", "75.0%", "send", "(b.py)"],
        ["25.0%", "100.0%", "run", "(a.py)"],
    ]


extra = pytest.mark.skipif(bool(report.missing()), reason="the extra `benchmarks` is not installed")


@extra
def test_a_report_is_a_folder_of_four_files(tmp_path: Path) -> None:
    report.write(tmp_path / "new", [LAG, DELIVERIES], "", "own time")

    sizes = {path.name: path.stat().st_size for path in (tmp_path / "new").iterdir()}
    assert set(sizes) == {"report.md", "profile.txt", "lag.png", "throughput.png"}
    assert all(sizes.values())


@extra
async def test_a_profile_tells_what_the_daemon_did_or_why_nobody_may_look(own_server: OwnPostgres) -> None:
    profile = await profile_deliveries(own_server, TINY)

    assert profile.strip()
