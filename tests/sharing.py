"""How the tests are shared out among processes that run them at the same time."""

from collections.abc import Set as AbstractSet
from pathlib import PurePath
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling


class SharedByFiles(LoadScopeScheduling):
    """
    One process runs all tests of a file: they share what is costly to make, a database of a million rows, say.

    In directories named in *alone* each test may go to another process. The order is that of the collection.
    """

    def __init__(self, config: pytest.Config, log: Any, *, alone: AbstractSet[str]) -> None:
        super().__init__(config, log)
        self.alone = alone

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return nodeid if PurePath(path).parent.name in self.alone else path
