"""`cueapid demo` tells the whole story, heeds nobody's settings, and leaves nothing behind."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.process import Commands, commands

TRACES = "cueapi-demo-*"


@pytest.fixture
def cueapid() -> Iterator[Commands]:
    with commands() as cueapid:
        yield cueapid


def left_behind(before: set[Path]) -> tuple[set[Path], list[str]]:
    """Folders and servers of demos that are still there."""
    folders = set(Path(tempfile.gettempdir()).glob(TRACES)) - before
    lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    return folders, [line for line in lines if any(str(folder) in line for folder in folders)]


async def test_the_demo_tells_of_a_cue_on_time_a_retry_and_a_worker_and_cleans_up(
    cueapid: Commands, tmp_path: Path
) -> None:
    before = set(Path(tempfile.gettempdir()).glob(TRACES))

    ended = await cueapid.run(
        tmp_path, "demo", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none", PORT=1, CALLBACK_ALLOW="", TMPDIR=None
    )

    assert (ended.code, ended.told) == (0, "")
    for words in (
        "attempt 1 of flaky-report fails",
        "attempt 2 of flaky-report: done",
        "worker laptop has claimed nightly-work",
        "attempt 1 of brief-once: done",
    ):
        assert words in ended.said
    table = [line.split() for line in ended.said.splitlines() if "reported_success" in line]
    assert sorted(table) == [
        ["brief-once", "success", "1", "reported_success", "done"],
        ["flaky-report", "success", "2", "reported_success", "done"],
        ["nightly-work", "success", "1", "reported_success", "printed"],
    ]
    assert left_behind(before) == (set(), [])
