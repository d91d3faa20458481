"""What cannot be stored is run once more, alone, before it is set aside."""

from collections.abc import Sequence

import pytest

from cueapi.delivery.quarantine import run_isolating
from cueapi.storage.database import Unstorable


@pytest.mark.parametrize(
    ("failures", "ends"),
    [
        pytest.param(1, [["stored"]], id="by a race"),
        pytest.param(2, ["quarantined"], id="for good"),
    ],
)
async def test_what_cannot_be_stored_at_first_is_quarantined_only_where_it_fails_again(
    failures: int, ends: list[object]
) -> None:
    runs: list[Sequence[str]] = []

    async def run(batch: Sequence[str]) -> object:
        runs.append(batch)
        if len(runs) <= failures:
            raise Unstorable("the channel is gone")
        return list(batch)

    async def quarantine(_: str, error: Unstorable) -> object:
        return "quarantined"

    assert await run_isolating(["stored"], run, quarantine) == ends
    assert runs == [["stored"]] * 2
