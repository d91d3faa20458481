"""The filters in the queries of pages: whatever stands there, a page answers."""

import pytest

from cueapi.dashboard import audit, dead_letters, executions
from tests.dashboard.browsing import Browser

FILTERED = {
    "/ui": ("range",),
    "/ui/executions": executions.READERS,
    "/ui/dead": dead_letters.READERS,
    "/ui/account/audit": audit.READERS,
    "/ui/incidents": ("status", "kind", "cue_id", "group"),
    "/ui/cues": ("q", "status", "group", "cursor"),
    "/ui/targets": ("cursor",),
}
ODD = ["%00", "a%00b", "%ED%A0%80", "%F0%9F%98%80", "x" * 2_000, "'", "%25"]


@pytest.mark.parametrize("path", FILTERED)
async def test_an_odd_filter_is_read_or_refused_and_is_no_failure_of_ours(person: Browser, path: str) -> None:
    asked = [f"{path}?{name}={odd}" for name in FILTERED[path] for odd in ODD]
    found = {query: (await person.get(query)).status_code for query in asked}

    assert {query: status for query, status in found.items() if status not in {200, 400}} == {}
