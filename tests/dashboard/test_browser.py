"""Signing in and the account in a real browser, without JavaScript, on a phone and on a desk."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver

from tests.api.test_browser import BROWSER, DRIVER, SIGHTS, browser, folder
from tests.conftest import Api, RunningDaemon

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="there is no chromium with chromedriver here"),
]


def fits(driver: WebDriver) -> bool:
    """Whether nothing of the page lies beyond its right edge."""
    return bool(driver.execute_script("return document.documentElement.scrollWidth <= window.innerWidth"))


def signs_in(driver: WebDriver, base: str, key: str) -> None:
    driver.get(f"{base}/")
    driver.find_element(By.ID, "api_key").send_keys("cue_sk_wrong" + Keys.ENTER)
    assert "opens no account" in driver.find_element(By.ID, "api_key-problem").text
    driver.find_element(By.ID, "api_key").send_keys(key + Keys.ENTER)
    driver.find_element(By.LINK_TEXT, "Account").click()
    driver.find_element(By.XPATH, "//h1[normalize-space()='Account']")  # waits for the next page


def replaces_the_key(driver: WebDriver) -> str:
    """By keyboard alone; the safe button has the focus first."""
    button = driver.find_element(By.CSS_SELECTOR, "[popovertarget=replace-key]")
    button.send_keys(Keys.ENTER)
    assert driver.switch_to.active_element.text == "Cancel"
    driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not driver.find_element(By.ID, "replace-key").is_displayed()
    button.send_keys(Keys.ENTER)
    driver.switch_to.active_element.send_keys(Keys.TAB)
    assert driver.switch_to.active_element.text == "Replace it"
    driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert not driver.find_element(By.CSS_SELECTOR, "[data-copy=secret]").is_displayed()  # it needs the script
    return driver.find_element(By.ID, "secret").text


def signs_out(driver: WebDriver) -> None:
    driver.find_element(By.CSS_SELECTOR, ".menu summary").send_keys(Keys.ENTER)
    driver.find_element(By.XPATH, "//button[text()='Sign out']").send_keys(Keys.ENTER)
    driver.find_element(By.ID, "api_key")  # waits for the next page
    assert driver.find_element(By.TAG_NAME, "h1").text == "Sign in"


@pytest.mark.parametrize("sight", SIGHTS)
async def test_a_person_signs_in_replaces_the_key_and_signs_out_without_javascript(
    daemon: RunningDaemon, api: Api, tmp_path: Path, sight: str
) -> None:
    width, height, dark = SIGHTS[sight]

    def walk() -> tuple[str, list[bool], list[str]]:
        with browser(tmp_path, width, height, dark=dark) as driver:
            look = _looks(driver, folder(tmp_path), sight)
            driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
            signs_in(driver, daemon.address, api.key)
            fitting = [look("account")]
            key = replaces_the_key(driver)
            driver.get(f"{daemon.address}/ui/system")
            fitting.append(look("system"))
            signs_out(driver)
            fitting.append(look("sign-in"))
            return key, fitting, [str(entry["message"]) for entry in driver.get_log("browser")]

    with trio.fail_after(300):
        key, fitting, told = await trio.to_thread.run_sync(walk)

    assert (await Api(daemon.client, key).ask("GET", "/v1/auth/me")).status_code == 200
    assert fitting == [True] * 3
    assert [line for line in told if "status of 401" not in line] == []


def _looks(driver: webdriver.Chrome | WebDriver, place: Path, sight: str) -> Callable[[str], bool]:
    """Takes a picture of a page, and says whether it fits."""

    def look(name: str) -> bool:
        driver.save_screenshot(str(place / f"{name} {sight}.png"))
        return fits(driver)

    return look
