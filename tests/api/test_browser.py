"""
A person signs in: in a real browser, on a phone and on a desk, by day and by night.

The screenshots lie in the folder that SCREENSHOTS names, else in the test's own.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver

from tests.api.signing_in import EMAIL, begin, poll, printed
from tests.conftest import RunningDaemon
from tests.ports import free_port

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="there is no chromium with chromedriver here"),
]

MOUSE = "blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4"
"""What a machine without one tells Chromium of it."""

SIGHTS = {"phone by day": (390, 844, False), "desk by night": (1100, 800, True)}


@contextmanager
def browser(home: Path, width: int, height: int, *, dark: bool, mouse: bool = False) -> Iterator[WebDriver]:
    """A Chromium that knows nobody, and has a mouse where *mouse* says so; gone at the end of the block."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for word in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
        "disable-component-update", "disable-sync", "disable-dev-shm-usage", f"user-data-dir={home / 'profile'}",
        f"window-size={width},{height}", *(["force-dark-mode"] if dark else []),
        *([MOUSE, "hide-scrollbars"] if mouse else []),
    ):  # fmt: skip
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(executable_path=str(DRIVER), port=free_port()))
    try:
        driver.implicitly_wait(60)  # For the next page, too; the machine may be slow.
        driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]},
        )
        yield driver
    finally:
        driver.quit()


def folder(tmp_path: Path) -> Path:
    """Where screenshots go."""
    place = Path(os.environ.get("SCREENSHOTS", tmp_path))
    place.mkdir(parents=True, exist_ok=True)
    return place


def complaints(driver: WebDriver) -> list[str]:
    """What the browser did not like: all but pages that are refusals, and that there is no icon."""
    lines = [line["message"] for line in driver.get_log("browser")]
    return [line for line in lines if "favicon" not in line and "responded with a status of 4" not in line]


class Walk:
    """What a person does, one page after the other; each is looked at."""

    def __init__(self, driver: WebDriver, shots: Path, sight: str) -> None:
        self.driver, self.shots, self.sight = driver, shots, sight.replace(" ", "-")

    def look(self, name: str) -> str:
        """A screenshot, and the text of the page; nothing may have been refused or be wider than the screen."""
        self.driver.save_screenshot(str(self.shots / f"{self.sight}-{name}.png"))
        wider = self.driver.execute_script("return document.documentElement.scrollWidth > window.innerWidth")
        assert not wider, f"{name} is wider than the screen"
        assert complaints(self.driver) == []
        return self.driver.find_element(By.TAG_NAME, "main").text

    def submit(self, url: str) -> list[str]:
        """Open the page of the code and give an address, a wrong one first."""
        self.driver.get(url)
        texts = [self.look("1-code")]
        field = self.driver.find_element(By.ID, "email")
        assert self.driver.find_element(By.CSS_SELECTOR, "label[for=email]").text
        assert self.driver.switch_to.active_element == field
        field.send_keys("a@b")
        self.driver.find_element(By.TAG_NAME, "button").click()
        self.driver.find_element(By.ID, "problem")
        texts.append(self.look("2-wrong"))
        field = self.driver.find_element(By.ID, "email")
        field.clear()
        field.send_keys(EMAIL + "\n")
        self.driver.find_element(By.TAG_NAME, "strong")
        texts.append(self.look("3-sent"))
        return texts

    def confirm(self, link: str) -> list[str]:
        """Open the link, press the button, and open the link once more."""
        self.driver.get(link)
        texts = [self.look("4-confirm")]
        self.driver.find_element(By.TAG_NAME, "button").click()
        self.driver.find_element(By.XPATH, "//h1[contains(., 'signed in')]")
        texts.append(self.look("5-done"))
        self.driver.get(link)
        texts.append(self.look("6-used"))
        return texts


async def in_thread(work: Callable[[str], list[str]], url: str) -> list[str]:
    return await trio.to_thread.run_sync(work, url)


@pytest.mark.parametrize(("width", "height", "dark"), SIGHTS.values(), ids=SIGHTS.keys())
async def test_a_person_signs_a_program_in(
    daemon: RunningDaemon,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
    width: int,
    height: int,
    dark: bool,
) -> None:
    with trio.fail_after(120), browser(tmp_path, width, height, dark=dark) as driver:
        walk = Walk(driver, folder(tmp_path), request.node.callspec.id)
        url = (await begin(daemon.api)).replace("localhost", "127.0.0.1")
        asked = await in_thread(walk.submit, url)
        ((_, link),) = printed(capsys)
        confirmed = await in_thread(walk.confirm, link.replace("localhost", "127.0.0.1"))
        got = await poll(daemon.api)

    assert ["ABCD-EFGH" in text for text in asked + confirmed[:1]] == [True] * 4
    assert "no e-mail address" in asked[1]
    assert EMAIL in asked[2]
    assert EMAIL in confirmed[0]
    assert "used already" in confirmed[2]
    assert (got["status"], got["email"]) == ("approved", EMAIL)


OPEN, CLOSED = ".opblock-tag[data-is-open=true]", ".opblock-tag[data-is-open=false]"
"""The headings of groups of operations."""


async def test_the_docs_open_on_cues_and_show_every_route_without_complaint(
    daemon: RunningDaemon, tmp_path: Path
) -> None:
    def look(url: str) -> list[str]:
        with browser(tmp_path, 1200, 1000, dark=False) as driver:
            driver.get(url)
            driver.find_element(By.CLASS_NAME, "opblock")
            opened = [tag.get_attribute("data-tag") for tag in driver.find_elements(By.CSS_SELECTOR, OPEN)]
            for tag in driver.find_elements(By.CSS_SELECTOR, CLOSED):
                tag.click()
            driver.save_screenshot(str(folder(tmp_path) / "docs.png"))
            shown = driver.find_elements(By.CLASS_NAME, "opblock-summary-path")
            return [*opened, *[path.text.replace("\u200b", "") for path in shown], *complaints(driver)]

    with trio.fail_after(120):
        seen = await in_thread(look, f"{daemon.address}/docs")
        document = await daemon.api.get("/openapi.json")

    told = [path for path, methods in document["paths"].items() for _ in methods]
    assert seen[0] == "cues"
    assert sorted(seen[1:]) == sorted([*told, *document["webhooks"]])
