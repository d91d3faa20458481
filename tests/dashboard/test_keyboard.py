"""Whatever can be done on a page is reached by the Tab key, and is seen to have the focus."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import trio
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver

from tests.api.test_browser import BROWSER, DRIVER, browser
from tests.conftest import Api, RunningDaemon, cue
from tests.dashboard.browsing import Browser
from tests.dashboard.places import Places, places
from tests.dashboard.sights import sign_in

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="there is no chromium with chromedriver here"),
]

PAGES = (
    "now", "cues", "executions", "workers", "alerts", "account", "system", "cue-nightly-report", "cue-edit",
    "execution-failed", "execution-running",
)  # fmt: skip

WATCH = """
const usable = 'a[href], button, input:not([type=hidden]), select, textarea, summary';
const text = (one) => one.getAttribute('aria-label') ?? one.textContent.trim();
const label = (one) => [one.tagName, one.id, one.name, one.value, text(one), one.getAttribute('href')].join(' ');
const isOutlined = (style) => style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1;
const isSeen = (one) => one === null || (getComputedStyle(one).opacity === '1' && isSeen(one.parentElement));
window.offered = () => [...document.querySelectorAll(usable)].filter((one) => one.checkVisibility() && !one.disabled
  && !one.closest('[popover]:not(:popover-open)') && !(one.type === 'radio' && !one.checked)).map(label);
window.reached = {};
document.addEventListener('focusin', ({target: one}) => {
  const outlined = [null, '::after'].some((part) => isOutlined(getComputedStyle(one, part)));
  window.reached[label(one)] = outlined && isSeen(one);
});
window.before = window.offered();
return window.before.length;
"""

# What comes meanwhile, since a cue of the account fires, need not be reached.
REACHED = """
return JSON.stringify([window.reached, window.offered().filter((one) => window.before.includes(one))]);
"""

PRETENDED = """
return [...document.querySelectorAll('[onclick], [role=button]:not(button), [tabindex]')]
  .filter((one) => one.tabIndex > 0 || one.matches('[onclick], [role=button]')).map((one) => one.outerHTML);
"""
"""What would be a control for the mouse alone, or out of the order of the page."""


def walk(driver: WebDriver) -> dict[str, list[str]]:
    """What the Tab key does not reach on the page, what is reached and not seen to be, and what is no real control."""
    number = int(driver.execute_script(WATCH))
    assert number >= 10
    ActionChains(driver, duration=0).send_keys(*[Keys.TAB] * (number + 20)).perform()
    reached, offered = json.loads(driver.execute_script(REACHED))
    told = {
        "not reached": [one for one in offered if one not in reached],
        "not seen": [one for one, is_seen in reached.items() if not is_seen],
        "no control": list(driver.execute_script(PRETENDED)),
    }
    return {name: found for name, found in told.items() if found}


async def test_the_tab_key_reaches_every_control_of_every_page_and_the_focus_is_seen(
    daemon: RunningDaemon, tmp_path: Path
) -> None:
    async with places(daemon, days=1) as seen:

        def walk_all() -> dict[str, Any]:
            with browser(tmp_path, 1100, 800, dark=False, mouse=True) as driver:
                sign_in(driver, seen.base, seen.key)
                told = {}
                for name in PAGES:
                    driver.get(seen.base + seen.of_account[name])
                    told[name] = walk(driver)
                return told

        with trio.fail_after(300):
            told = await trio.to_thread.run_sync(walk_all)

    assert told == {name: {} for name in PAGES}


def asks(driver: WebDriver, seen: Places, page: str, button: str) -> tuple[str, bool, bool]:
    """Press a button that asks first: what has the focus then, and whether the question goes away by Escape."""
    driver.get(seen.base + seen.of_account[page])
    driver.find_element(By.XPATH, f"//main//button[@popovertarget and contains(., '{button}')]").send_keys(Keys.ENTER)
    focused = driver.switch_to.active_element
    question = driver.find_element(By.CSS_SELECTOR, ":popover-open")
    label, was_open = focused.text, question.is_displayed()
    focused.send_keys(Keys.ESCAPE)
    return label, was_open, question.is_displayed()


async def test_a_question_is_answered_by_keyboard_and_its_safe_button_comes_first(
    daemon: RunningDaemon, tmp_path: Path
) -> None:
    buttons = {"cue-nightly-report": "Delete", "account": "Replace", "workers": "Remove", "executions": "Replay"}

    async with places(daemon, days=1) as seen:

        def ask_all() -> dict[str, tuple[str, bool, bool]]:
            with browser(tmp_path, 1100, 800, dark=False, mouse=True) as driver:
                sign_in(driver, seen.base, seen.key)
                # The questions are the browser's own; without scripts no row is replaced meanwhile.
                driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
                return {page: asks(driver, seen, page, button) for page, button in buttons.items()}

        with trio.fail_after(300):
            told = await trio.to_thread.run_sync(ask_all)

    assert told == dict.fromkeys(buttons, ("Cancel", True, False))


async def test_the_feed_is_read_out_when_something_is_added_also_while_it_is_empty(person: Browser, api: Api) -> None:
    made = await api.post("/v1/cues", cue())
    before = await person.get("/ui")
    await api.post(f"/v1/cues/{made['id']}/fire")
    after = await person.get("/ui")

    assert [re.findall(r'id="feed" (aria-live="\w+")', page.text) for page in (before, after)] == [
        ['aria-live="polite"'],
        ['aria-live="polite"'],
    ]
