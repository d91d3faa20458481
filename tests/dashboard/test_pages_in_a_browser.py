"""The pages about executions in a real browser, without JavaScript: nothing is refused, and nothing is cut off."""

from pathlib import Path

import pytest
import trio
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from cueapi.storage.database import Database
from tests.api.test_browser import BROWSER, DRIVER, SIGHTS, browser, folder
from tests.conftest import Api, RunningDaemon
from tests.dashboard.test_browser import fits
from tests.dashboard.test_hostile_texts import add_all

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="there is no chromium with chromedriver here"),
]


@pytest.mark.parametrize("sight", SIGHTS)
async def test_every_page_fits_the_screen_and_asks_for_nothing_that_the_policy_refuses(
    daemon: RunningDaemon, api: Api, database: Database, user: int, tmp_path: Path, sight: str
) -> None:
    width, height, dark = SIGHTS[sight]
    await add_all(database, user, "long " + "W" * 180 + " and hostile <script>alert(1)</script>", 1)
    own = await add_all(database, user, "short", 2)
    pages = ("/ui", "/ui/cues", "/ui/executions", "/ui/alerts", "/ui/workers", *own)

    def walk() -> tuple[dict[str, bool], list[str]]:
        with browser(tmp_path, width, height, dark=dark) as driver:
            driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
            driver.get(f"{daemon.address}/ui/sign-in")
            driver.find_element(By.ID, "api_key").send_keys(api.key + Keys.ENTER)
            driver.find_element(By.CLASS_NAME, "sentence")
            fitting = {}
            for page in pages:
                driver.get(daemon.address + page)
                driver.save_screenshot(str(folder(tmp_path) / f"{page.split('/')[-1]} {sight}.png"))
                fitting[page] = fits(driver)
            return fitting, [str(entry["message"]) for entry in driver.get_log("browser")]

    with trio.fail_after(300):
        fitting, told = await trio.to_thread.run_sync(walk)

    assert fitting == dict.fromkeys(pages, True)
    assert told == []


async def test_an_execution_is_found_opened_and_replayed_by_keyboard_alone(
    daemon: RunningDaemon, api: Api, database: Database, user: int, tmp_path: Path
) -> None:
    await add_all(database, user, "short", 1)

    def walk() -> tuple[str, str]:
        with browser(tmp_path, 1100, 800, dark=False) as driver:
            driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
            driver.get(f"{daemon.address}/ui/executions?status=failed")
            driver.find_element(By.ID, "api_key").send_keys(api.key + Keys.ENTER)
            driver.find_element(By.CSS_SELECTOR, "a.opens").send_keys(Keys.ENTER)
            verdict = driver.find_element(By.ID, "verdict").text
            driver.find_element(By.XPATH, "//button[text()='Replay']").send_keys(Keys.ENTER)
            return verdict, driver.find_element(By.CLASS_NAME, "notice").text

    with trio.fail_after(300):
        verdict, notice = await trio.to_thread.run_sync(walk)

    assert "Failed after 1 attempt: the handler said “short”." in verdict
    assert notice == "Replayed: this is the new execution."
