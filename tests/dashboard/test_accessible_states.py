"""axe-core finds nothing serious where a form was refused, a question is asked, a menu is open, or something fails."""

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from selenium.webdriver.remote.webdriver import WebDriver

from cueapi.storage.database import Database
from tests.api.test_browser import BROWSER, DRIVER, browser
from tests.conftest import Api, RunningDaemon
from tests.dashboard import accessible_states as states
from tests.dashboard.browsing import signed_in
from tests.dashboard.places import Places, places
from tests.dashboard.sights import SIGHTS, is_too_wide, look_as
from tests.dashboard.test_accessibility import AXE, COLOURS

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="there is no chromium with chromedriver here"),
]

TAKE = """
const page = new DOMParser().parseFromString(arguments[0], 'text/html');
document.title = page.title;
document.body.replaceWith(page.body);
for (const one of document.querySelectorAll('[data-copy], [data-all]')) one.hidden = false;
for (const one of document.querySelectorAll('details:not(.menu)')) one.open = true;
for (const one of document.querySelectorAll('tr:nth-child(n + 6)')) one.remove();
return document.querySelectorAll('[popover], .menu').length;
"""
"""Show a page in the place of the present one, with all that unfolds unfolded, and a few rows of each table."""

LOOK = """
const [rules, sight, done] = arguments;
const options = {resultTypes: ['violations'], preload: false, ...(rules && {runOnly: {type: 'tag', values: rules}})};
const told = [];
async function look(one) {
  for (const found of (await axe.run(one, options)).violations)
    if (['serious', 'critical'].includes(found.impact))
      told.push([found.id, found.nodes.slice(0, 3).map((node) => node.html + ' ' + node.failureSummary)]);
}
async function unfold() {
  window.asked ??= new Set();
  for (const one of document.querySelectorAll('details:not(.menu)')) await look(one);
  for (const one of document.querySelectorAll('[popover], .menu')) {
    const what = `${sight} ${one.ariaLabel}`;
    if (window.asked.has(what)) continue;
    window.asked.add(what);
    one.popover ? one.showPopover() : one.open = true;
    await look(one);
    one.popover ? one.hidePopover() : one.open = false;
  }
}
(sight === null ? look('main, .hold') : unfold()).then(() => done(JSON.stringify(told)));
"""
"""What axe-core calls serious: on the page, or in what unfolds: each kind of question once a sight, and the menu."""


def looked_at(driver: WebDriver, pages: states.States, *, unfolding: bool = False) -> dict[str, list[Any]]:
    """What is wrong with *pages*, or with what unfolds on them; by their names and how they are looked at."""
    told = {}
    for name, page in pages.items():
        driver.execute_script(TAKE, page)
        for sight in SIGHTS:
            look_as(driver, sight)
            asked = COLOURS if sight.dark else None, sight.name if unfolding else None
            found = json.loads(driver.execute_async_script(LOOK, *asked))
            told[f"{name} {sight.name}"] = found + (["too wide"] if is_too_wide(driver) else [])
    return told


async def collected(daemon: RunningDaemon, database: Database, seen: Places) -> states.States:
    """Each state of the account of *seen*."""
    person = await signed_in(daemon, Api(daemon.client, seen.key))
    own = seen.of_account
    where = {"{cue_id}": own["cue-edit"].split("/")[3], "{cue}": own["cue-edit"].removesuffix("/edit")}
    where |= {"{succeeded}": own["execution-succeeded"], "{failed}": own["execution-failed"]}
    found = await states.answered(person, where)
    await person.post("/ui/account/budgets", {"scope": "group:x", "per": "day", "max_runs": "9", "warn_at": "0.8"})
    await person.post("/ui/mutes", {"scope": "group", "subject": "night", "reason": "maintenance"})
    return found | await states.held(person) | await states.cancelled(person, database)


async def unfolded(daemon: RunningDaemon, seen: Places) -> states.States:
    """Pages with questions, or with what unfolds."""
    person = await signed_in(daemon, Api(daemon.client, seen.key))
    return {name: (await person.get(seen.of_account.get(name, name))).text for name in UNFOLDED}


UNFOLDED = (
    "now", "cue-nightly-report", "cue-new", "execution-failed", "execution-succeeded", "execution-running",
    "executions", "incident", "workers", "channels", "/ui/mutes", "account", "keys", "/ui/account/budgets", "audit",
)  # fmt: skip
"""Pages with questions, or with what unfolds."""


async def test_nothing_serious_is_found_in_questions_refusals_secrets_and_failures(
    daemon: RunningDaemon, database: Database, tmp_path: Path
) -> None:
    pages = await states.first_account(daemon, database)
    async with places(daemon, days=1) as seen:
        folded = await unfolded(daemon, seen)
        pages |= await collected(daemon, database, seen) | await states.signed_out(daemon)

        def walk() -> dict[str, list[Any]]:
            with browser(tmp_path, 1100, 800, dark=False, mouse=True) as driver:
                driver.set_script_timeout(120)
                driver.get(f"{daemon.address}/ui/sign-in")
                driver.execute_script(AXE)
                return looked_at(driver, pages) | looked_at(driver, folded, unfolding=True)

        with trio.fail_after(300):
            told = await trio.to_thread.run_sync(walk)

    assert len(told) == 4 * (len(pages) + len(folded))
    assert {name: found for name, found in told.items() if found} == {}
