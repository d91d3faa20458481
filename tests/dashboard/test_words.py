"""What pages have words for: each member of an enumeration, so that none makes a page fail."""

import importlib
import pkgutil
from collections.abc import Iterator
from enum import Enum

import pytest

import cueapi.dashboard

OF_SOME = {"cueapi.dashboard.states._SIGNS", "cueapi.dashboard.states._OUTCOMES"}
"""Where success is told apart by what was reported."""


def tables() -> Iterator[tuple[str, dict[Enum, object]]]:
    """Each table of the pages by members of an enumeration, by its name."""
    for found in pkgutil.iter_modules(cueapi.dashboard.__path__, "cueapi.dashboard."):
        for name, value in vars(importlib.import_module(found.name)).items():
            if isinstance(value, dict) and value and all(isinstance(key, Enum) for key in value):
                yield f"{found.name}.{name}", value


TABLES = dict(tables())


def test_the_tables_are_found() -> None:
    assert {"cueapi.dashboard.alerts.WORDS", "cueapi.dashboard.operations.SKIPPED"} <= TABLES.keys()


@pytest.mark.parametrize("name", TABLES)
def test_each_member_has_its_words(name: str) -> None:
    (kind,) = {type(key) for key in TABLES[name]}
    missing = {one for one in kind if one not in TABLES[name]}

    assert bool(missing) is (name in OF_SOME), missing
