"""What people do in a browser that no story tells: behind a proxy, twice at once, in two tabs, and back again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from cueapi.settings import Settings
from cueapi.storage.database import Database
from tests.api.test_browser import BROWSER, DRIVER, browser
from tests.api.test_dead_letters import add_dead
from tests.conftest import Api, cue, running
from tests.dashboard.test_story import Person
from tests.ports import free_port

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="there is no chromium with chromedriver here"),
]

BELOW = "/cue"


@asynccontextmanager
async def stripping_proxy(port: int, daemon: int) -> AsyncIterator[None]:
    """A proxy at *port* that takes `/cue` from each path and hands the request on; a connection is one request."""

    async def answer(client: trio.SocketStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            part = await client.receive_some()
            if not part:
                return
            head += part
        line, _, rest = head.partition(b"\r\n")
        async with await trio.open_tcp_stream("127.0.0.1", daemon) as server, trio.open_nursery() as nursery:
            nursery.start_soon(_copy, client, server, nursery.cancel_scope)
            line = line.replace(BELOW.encode(), b"", 1)
            rest = rest.replace(b"Connection: keep-alive", b"Connection: close", 1)
            await server.send_all(line + b"\r\n" + rest)
            await _copy(server, client, nursery.cancel_scope)

    async with trio.open_nursery() as serving:
        await serving.start(trio.serve_tcp, answer, port)
        yield
        serving.cancel_scope.cancel()


async def _copy(source: trio.SocketStream, target: trio.SocketStream, over: trio.CancelScope) -> None:
    """Until *source* has no more, or one of them is gone: then both are *over*."""
    try:
        while part := await source.receive_some():
            await target.send_all(part)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    over.cancel()


def replaces_the_key_by_a_double_click(person: Person) -> str:
    """The key that its page shows."""
    person.open("/ui/account")
    button = "document.querySelector('#replace-key .danger')"
    person.driver.execute_script(
        f"document.querySelector('#replace-key').showPopover(); {button}.click(); {button}.click()"
    )
    person.until(lambda: person.driver.find_elements(By.ID, "secret"))
    return person.driver.find_element(By.ID, "secret").text


def selects_all_dead_letters(person: Person) -> tuple[str, int]:
    """What the page says is selected, and how many rows are ticked."""
    person.open("/ui/dead")
    # At once: the page is live, and may take another one for it between being found and being clicked.
    person.driver.execute_script("document.querySelector('[data-all]').click()")
    ticked = person.driver.find_elements(By.CSS_SELECTOR, "tbody input:checked")
    return person.driver.find_element(By.CSS_SELECTOR, "[data-selected]").text, len(ticked)


def presses_return_in_a_box(person: Person) -> str:
    """The notices that follow, or the titles of the pages that stay."""
    seen = []
    for path in ("/ui/cues", "/ui/executions", "/ui/dead"):
        person.open(path)
        person.driver.find_element(By.CSS_SELECTOR, "tbody input").send_keys(Keys.SPACE + Keys.ENTER)
        person.open("/ui/workers")
        seen += [one.text for one in person.driver.find_elements(By.CSS_SELECTOR, ".notice")]
        person.open(path)
        seen += [one.text for one in person.driver.find_elements(By.CSS_SELECTOR, ".notice, h1")]
    return " ".join(seen)


def signs_out_in_the_other_tab(person: Person) -> tuple[str, str]:
    """What the first tab says by itself, and what a form of it is answered with."""
    driver = person.driver
    person.open("/ui/cues")
    person.until(lambda: driver.find_element(By.ID, "live-state").text == "live")
    first = driver.current_window_handle
    driver.switch_to.new_window("tab")
    person.open("/ui/workers")
    person.signs_out()
    driver.switch_to.window(first)
    said = person.until(lambda: "signed out" in driver.find_element(By.ID, "live-state").text)
    assert said
    # It is seen where the pointer or the focus is.
    driver.execute_script("document.querySelector('button[value^=pause]').click()")
    person.sees("Sign in")
    return driver.current_url, driver.find_element(By.TAG_NAME, "h1").text


def goes_back(person: Person) -> str:
    """What is seen where the list of cues was, and before it the key."""
    person.driver.back()
    person.sees("Sign in")
    seen = person.text
    person.driver.back()
    # The answer to a form is asked for by sending the form again, which Chromium does not do by itself.
    person.until(lambda: "Confirm Form Resubmission" in person.text or "Sign in" in person.text)
    return seen + person.text


async def test_the_dashboard_serves_people_behind_a_proxy_twice_at_once_in_two_tabs_and_after_signing_out(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    front = free_port()
    below = settings.model_copy(update={"base_url": f"http://127.0.0.1:{front}{BELOW}"})
    async with running(below) as daemon, stripping_proxy(front, daemon.resources.listener.getsockname()[1]):
        api = await daemon.api.register()
        made = await api.post("/v1/cues", cue(name="שלום world"))
        for _ in range(3):
            await add_dead(database, made["id"])

        def walk() -> tuple[Person, str, tuple[str, int], str, tuple[str, str], str]:
            with browser(tmp_path, 1100, 800, dark=False, mouse=True) as driver:
                driver.implicitly_wait(0)
                person = Person(driver, f"http://127.0.0.1:{front}{BELOW}")
                person.open("/ui")
                driver.find_element(By.ID, "api_key").send_keys(api.key + Keys.ENTER)
                person.sees("Cues")
                selected, title = selects_all_dead_letters(person), presses_return_in_a_box(person)
                key = replaces_the_key_by_a_double_click(person)
                return person, key, selected, title, signs_out_in_the_other_tab(person), goes_back(person)

        with trio.fail_after(200):
            person, key, *told, back = await trio.to_thread.run_sync(walk)
        owner = Api(daemon.client, key)
        me, cues = await owner.get("/v1/auth/me"), (await owner.get("/v1/cues"))["cues"]
        listed = (await owner.get("/v1/executions"))["executions"]

    assert told == [("3 selected", 3), "Cues Executions Dead letters", (f"{person.base}/ui/sign-in", "Sign in")]
    assert (me["email"], len(listed), cues[0]["status"]) == ("you@example.com", 3, "active")
    assert "שלום" not in back
    assert "cue_sk_" not in back.replace("cue_sk_…", "")
