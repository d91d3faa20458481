"""Pages that follow what happens, in a real browser: no part of one is older than the part beside it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic, sleep

import pytest
import trio
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from cueapi.storage.database import Database
from tests.api.test_browser import BROWSER, DRIVER, browser
from tests.conftest import Api, RunningDaemon, cue
from tests.receiver import open_receiver
from tests.storage.rows import add_execution

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="there is no chromium with chromedriver here"),
]

HANG = 60


def wait(reached: Callable[[], bool]) -> None:
    end = monotonic() + HANG
    while not reached():
        assert monotonic() < end
        sleep(0.05)


def enter(driver: Chrome, address: str, api: Api) -> None:
    driver.get(f"{address}/ui/sign-in")
    driver.find_element(By.ID, "api_key").send_keys(api.key + Keys.ENTER)
    wait(lambda: driver.current_url.endswith("/ui"))


def says(driver: Chrome, identity: str, text: str) -> bool:
    return text in str(driver.execute_script(f"return document.getElementById('{identity}').textContent"))


async def test_what_stands_around_a_live_table_keeps_up_with_its_rows(
    daemon: RunningDaemon, api: Api, tmp_path: Path
) -> None:
    async def fire(cue_id: str) -> str:
        fired = await api.post(f"/v1/cues/{cue_id}/fire")
        return str((await api.execution(fired["id"]))["id"])

    def walk(cue_id: str) -> None:
        with browser(tmp_path, 1100, 800, dark=False) as driver:
            enter(driver, daemon.address, api)
            wait(lambda: says(driver, "day", "1 succeeded"))
            driver.switch_to.new_window("tab")
            driver.get(f"{daemon.address}/ui/cues/{cue_id}")
            wait(lambda: says(driver, "live-state", "live"))
            newest = trio.from_thread.run(fire, cue_id)
            wait(lambda: len(driver.find_elements(By.CSS_SELECTOR, "#cue-executions tbody tr")) == 2)
            chosen = "return document.querySelector('#cue-executions input[name=execution]').value"
            wait(lambda: driver.execute_script(chosen) == newest)
            driver.switch_to.window(driver.window_handles[0])
            wait(lambda: says(driver, "day", "2 succeeded"))

    with trio.fail_after(300):
        async with open_receiver() as receiver:
            made = await api.post("/v1/cues", cue(receiver.url()))
            await fire(made["id"])
            await trio.to_thread.run_sync(walk, made["id"])


async def test_a_page_keeps_up_also_around_its_content_and_with_its_buttons(
    daemon: RunningDaemon, api: Api, tmp_path: Path
) -> None:
    made = await api.post("/v1/cues", cue())

    def walk() -> None:
        with browser(tmp_path, 1100, 800, dark=False) as driver:
            enter(driver, daemon.address, api)
            driver.get(f"{daemon.address}/ui/cues/{made['id']}")
            wait(lambda: says(driver, "live-state", "live"))
            trio.from_thread.run(api.ask, "PUT", "/v1/hold", {"reason": "loops"})
            wait(lambda: says(driver, "hold-banner", "loops") and not says(driver, "hold-button", "Hold"))
            trio.from_thread.run(api.ask, "DELETE", "/v1/hold")
            trio.from_thread.run(api.patch, f"/v1/cues/{made['id']}", {"status": "paused", "name": "other"})
            wait(lambda: says(driver, "cue-actions", "Resume") and says(driver, "cue-facts", "Paused"))
            wait(lambda: driver.title == "other · CueAPI" and says(driver, "cue-title", "other"))
            wait(lambda: not says(driver, "hold-banner", "loops"))
            wait(lambda: says(driver, "hold-button", "Hold"))

    with trio.fail_after(300):
        await trio.to_thread.run_sync(walk)


async def test_a_live_page_shows_all_that_comes_of_an_execution_and_takes_away_nothing_that_was_typed(
    daemon: RunningDaemon, api: Api, tmp_path: Path
) -> None:
    made = await api.post("/v1/cues", cue(transport="worker", payload={"task": "t"}))
    fired = await api.post(f"/v1/cues/{made['id']}/fire")
    path = f"/v1/executions/{fired['id']}"
    claim = {"worker_id": "mac", "handlers": ["t"], "claim": 1}
    outcome = {"success": True, "result": "142 pages"}

    def walk() -> None:
        with browser(tmp_path, 1100, 800, dark=False) as driver:
            enter(driver, daemon.address, api)
            driver.get(daemon.address + path.replace("/v1", "/ui"))
            wait(lambda: says(driver, "live-state", "live"))
            trio.from_thread.run(api.post, "/v1/worker/heartbeat", claim)
            wait(lambda: says(driver, "facts", "mac"))
            driver.find_element(By.CSS_SELECTOR, "#report summary").click()
            driver.find_element(By.ID, "text").send_keys("typed")
            # Neither the focus nor what the reader has unfolded keeps it now.
            driver.execute_script("document.activeElement.blur(); document.getElementById('report').open = false")
            trio.from_thread.run(api.post, f"{path}/outcome", outcome)
            wait(lambda: says(driver, "verdict", "142 pages") and says(driver, "answers", "Attempt 1"))
            assert driver.find_element(By.ID, "text").get_attribute("value") == "typed"

    with trio.fail_after(300):
        await trio.to_thread.run_sync(walk)


async def fail(api: Api, cue_id: str) -> None:
    fired = await api.post(f"/v1/cues/{cue_id}/fire")
    await api.post(f"/v1/executions/{fired['id']}/outcome", {"success": False, "retry": False})


@pytest.mark.parametrize(("page", "offered"), [("executions", "Replay the selected"), ("dead", "Replay all")])
async def test_a_list_that_was_empty_has_all_that_belongs_to_it_once_it_is_not(
    daemon: RunningDaemon, api: Api, tmp_path: Path, page: str, offered: str
) -> None:
    made = await api.post("/v1/cues", cue(transport="worker"))

    def walk() -> None:
        with browser(tmp_path, 1100, 800, dark=False) as driver:
            enter(driver, daemon.address, api)
            driver.get(f"{daemon.address}/ui/{page}")
            wait(lambda: says(driver, "live-state", "live"))
            assert not says(driver, "main", offered)
            trio.from_thread.run(fail, api, made["id"])
            wait(lambda: says(driver, "main", offered))

    with trio.fail_after(300):
        await trio.to_thread.run_sync(walk)


async def test_older_leads_to_what_follows_the_rows_of_a_live_list(
    daemon: RunningDaemon, api: Api, database: Database, tmp_path: Path
) -> None:
    made = await api.post("/v1/cues", cue(transport="worker"))
    for _ in range(50):
        await add_execution(database, made["id"])
    rows = "return [...document.querySelectorAll('#executions tbody tr')].map((row) => row.id)"

    def walk() -> list[str]:
        seen: list[str] = []
        with browser(tmp_path, 1100, 800, dark=False) as driver:
            enter(driver, daemon.address, api)
            driver.get(f"{daemon.address}/ui/executions")
            wait(lambda: says(driver, "live-state", "live") and not says(driver, "pager", "Older"))
            trio.from_thread.run(fail, api, made["id"])
            wait(lambda: says(driver, "pager", "Older"))
            seen += driver.execute_script(rows)
            driver.get(driver.find_element(By.CSS_SELECTOR, "#pager [rel=next]").get_attribute("href") or "")
            return seen + driver.execute_script(rows)

    with trio.fail_after(300):
        seen = await trio.to_thread.run_sync(walk)
    assert len(seen) == len(set(seen)) == 51


async def test_a_page_of_one_account_shows_nothing_of_the_next_that_signs_in(
    daemon: RunningDaemon, api: Api, tmp_path: Path
) -> None:
    other = await api.register("other@example.com")
    await other.post("/v1/cues", cue(name="theirs"))

    def walk() -> str:
        with browser(tmp_path, 1100, 800, dark=False) as driver:
            enter(driver, daemon.address, api)
            driver.get(f"{daemon.address}/ui/cues")
            wait(lambda: says(driver, "live-state", "live"))
            driver.switch_to.new_window("tab")
            driver.get(f"{daemon.address}/ui")
            driver.delete_all_cookies()
            enter(driver, daemon.address, other)
            driver.switch_to.window(driver.window_handles[0])
            wait(partial(says, driver, "live-state", "signed in as another"))
            return driver.find_element(By.ID, "main").text

    with trio.fail_after(300):
        shown = await trio.to_thread.run_sync(walk)

    assert "theirs" not in shown
