"""Every page can be seen as a picture, and nothing of it lies beyond the screen."""

from pathlib import Path

import pytest
import trio
from attrs import evolve

from tests import screenshots
from tests.api.test_browser import BROWSER, DRIVER
from tests.conftest import RunningDaemon
from tests.dashboard.places import places
from tests.dashboard.sights import Sight

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="there is no chromium with chromedriver here"),
]

PNG = b"\x89PNG\r\n\x1a\n"
PHONE = Sight(390, 844, dark=True)


async def test_pages_become_pictures_as_wide_as_the_screen(daemon: RunningDaemon, tmp_path: Path) -> None:
    async with places(daemon, days=2) as seen:
        few = {name: seen.of_account[name] for name in ("now", "cues", "execution-failed")}

        def take() -> list[Path]:
            return screenshots.take(evolve(seen, of_account=few, of_empty={}), tmp_path / "all", tmp_path, [PHONE])

        with trio.fail_after(300):
            taken = await trio.to_thread.run_sync(take)

    heads = [path.read_bytes()[:24] for path in taken]
    names = ["sign-in", "enter", "now", "cues", "execution-failed"]
    assert [path.name for path in taken] == [f"{name}-390-dark.png" for name in names]
    assert [(head[:8], int.from_bytes(head[16:20])) for head in heads] == [(PNG, 390)] * 5
