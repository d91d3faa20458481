"""`cueapid demo` tells the whole story, heeds nobody's settings, and leaves nothing behind."""

import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
import trio

from tests.process import HANG, LOOK, ROOT, Commands, embedded_home, environment


def left_behind(home: Path) -> tuple[list[Path], list[str]]:
    """Folders, and servers in *home*, that are still there."""
    lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    return [*home.iterdir()], [line for line in lines if str(home) in line]


async def test_the_demo_tells_of_a_cue_on_time_a_retry_and_a_worker_and_cleans_up(
    cueapid: Commands, tmp_path: Path
) -> None:
    with embedded_home() as home:
        url = "postgresql://nobody@127.0.0.1:1/none"
        ended = await cueapid.run(tmp_path, "demo", DATABASE_URL=url, PORT=1, CALLBACK_ALLOW="", TMPDIR=home)
        left = left_behind(home)

    assert (ended.code, ended.told) == (0, "")
    for words in (
        "attempt 1 of flaky-report fails",
        "attempt 2 of flaky-report: done",
        "worker laptop has claimed nightly-work",
        "attempt 1 of brief-once: done",
        "the dashboard, while this story lasts: http://localhost:",
    ):
        assert words in ended.said
    table = [line.split() for line in ended.said.splitlines() if "reported_success" in line]
    assert sorted(table) == [
        ["brief-once", "success", "1", "reported_success", "done"],
        ["flaky-report", "success", "2", "reported_success", "done"],
        ["nightly-work", "success", "1", "reported_success", "printed"],
    ]
    assert left == ([], [])


async def test_a_demo_that_is_ended_leaves_nothing_behind(tmp_path: Path) -> None:
    with trio.fail_after(HANG):
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "cueapi", "demo"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT,
            env=environment(tmp_path),
        )  # fmt: skip
        homes = set[str]()
        while not homes and process.poll() is None:
            with suppress(psutil.Error):  # of a process that has ended since
                servers = psutil.Process(process.pid).children(recursive=True)
                said = " ".join(part for server in servers for part in server.cmdline())
                homes = set(re.findall(r"/[^\s\"=]*cueapi-demo-\w+", said))
            await trio.sleep(LOOK)
        process.terminate()
        code = await process.wait()

    assert code > 0
    assert psutil.wait_procs(servers, timeout=HANG)[1] == []
    assert [home for home in homes if Path(home).exists()] == []


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
async def test_a_demo_that_is_kept_serves_its_dashboard_until_it_is_asked_to_end(
    tmp_path: Path, end: signal.Signals
) -> None:
    said = tmp_path / "said"
    command = [sys.executable, "-m", "cueapi", "demo", "--keep"]

    with said.open("wb") as output, trio.fail_after(HANG):
        process = await trio.lowlevel.open_process(
            command, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT, env=environment(tmp_path)
        )
        while "Ctrl-C" not in said.read_text():
            assert process.poll() is None, said.read_text()
            await trio.sleep(LOOK)
        (link,) = re.findall(r"http://\S+/ui/enter/\S+", said.read_text())
        async with httpx.AsyncClient(trust_env=False, timeout=HANG) as client:
            page = await client.get(link)
        servers = psutil.Process(process.pid).children(recursive=True)
        homes = set(re.findall(r"/[^\s\"=]*cueapi-demo-\w+", " ".join(servers[0].cmdline())))
        process.send_signal(end)
        code = await process.wait()

    assert (page.status_code, "Sign in as you@example.com?" in page.text) == (200, True)
    assert code == 0
    assert said.read_text().splitlines()[-1] == "Ctrl-C ends it, and leaves nothing behind."
    assert homes
    assert [home for home in homes if Path(home).exists()] == []
    assert [server.pid for server in servers if server.is_running()] == []
