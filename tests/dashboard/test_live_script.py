"""What the one script of the pages may be: small, without libraries, and without a way for text to become markup."""

import re
from importlib.resources import files

SCRIPT = (files("cueapi.dashboard.static") / "live.js").read_text("utf-8")


def test_the_script_is_small_and_loads_nothing() -> None:
    assert len(SCRIPT.splitlines()) <= 250
    assert re.findall(r"\b(import|require|eval|Function)\b", SCRIPT) == []
    assert "://" not in SCRIPT


def test_text_cannot_become_markup_by_the_script() -> None:
    assert re.findall(r"innerHTML|outerHTML|insertAdjacent|document\.write|setHTML", SCRIPT) == []
