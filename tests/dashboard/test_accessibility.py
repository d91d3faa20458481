"""axe-core finds nothing serious on any page, light and dark, on a phone and on a desk."""

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import trio
from selenium.webdriver.remote.webdriver import WebDriver

from tests.api.test_browser import BROWSER, DRIVER, browser
from tests.conftest import RunningDaemon
from tests.dashboard.places import places
from tests.dashboard.sights import SIGHTS, is_too_wide, look_as, sign_in

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="there is no chromium with chromedriver here"),
]

AXE = (files("axe_playwright_python") / "axe.min.js").read_text("utf-8")
"""axe-core, as the package carries it."""

RUN = """
const [rules, done] = arguments;
const options = rules === null ? {} : {runOnly: {type: 'tag', values: rules}};
axe.run(document, {resultTypes: ['violations'], preload: false, ...options}).then((found) => done(JSON.stringify(
  found.violations
    .filter((one) => ['serious', 'critical'].includes(one.impact))
    .map((one) => [one.id, one.nodes.slice(0, 3).map((node) => node.html + ' ' + node.failureSummary)]))));
"""


SQUEEZED = """
return [...document.querySelectorAll('.name, .what')].filter((one) => one.checkVisibility() && one.clientWidth < 64)
  .map((one) => 'too narrow: ' + one.textContent.trim());
"""


COLOURS = ["cat.color"]
"""Of axe-core's rules those in which light and dark differ."""


def findings(driver: WebDriver, rules: list[str] | None) -> list[Any]:
    """What axe-core calls serious or critical by *rules* (or all of them): rules, and the elements that break them."""
    if not driver.execute_script("return 'axe' in window"):
        driver.execute_script(AXE)
    return list(json.loads(driver.execute_async_script(RUN, rules)))


SHORTENED = "for (const one of document.querySelectorAll('tr:nth-child(n + 9)')) one.remove();"
"""Of each table a few rows: axe-core takes as long for each of the rest, which are made as these are."""


def looked_at(driver: WebDriver) -> dict[str, list[Any]]:
    """What is wrong with the page as it is seen now, by how it is seen."""
    told = {}
    for sight in SIGHTS:
        if not sight.dark:
            look_as(driver, sight)
            told[sight.name] = driver.execute_script(SQUEEZED) + (["too wide"] if is_too_wide(driver) else [])
    driver.execute_script(SHORTENED)
    for sight in SIGHTS:
        look_as(driver, sight)
        told[sight.name] = told.get(sight.name, []) + findings(driver, COLOURS if sight.dark else None)
    return told


def test_axe_core_is_new_enough() -> None:
    found = re.search(r"axe v(\d+)\.(\d+)", AXE)

    assert found is not None
    assert (int(found[1]), int(found[2])) >= (4, 12)


async def test_no_page_has_a_serious_finding_is_too_wide_or_leaves_a_name_no_room(
    daemon: RunningDaemon, tmp_path: Path
) -> None:
    async with places(daemon, days=3) as seen:

        def walk() -> dict[str, list[Any]]:
            told = {}
            with browser(tmp_path, 1100, 800, dark=False, mouse=True) as driver:
                driver.set_script_timeout(120)
                for key, pages in seen:
                    if key is not None:
                        sign_in(driver, seen.base, key)
                    for name, path in pages.items():
                        driver.get(seen.base + path)
                        told |= {f"{name} {sight}": found for sight, found in looked_at(driver).items()}
            return told

        with trio.fail_after(600):
            told = await trio.to_thread.run_sync(walk)

    assert len(told) > 200
    assert {name: found for name, found in told.items() if found} == {}
