"""The language of the house, as failing tests: one name for one thing, and words that are not to return."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from cueapi import logs

ROOT = Path(__file__).parent.parent
PRODUCT = sorted([*ROOT.glob("cueapi/**/*.py"), *ROOT.glob("supervisor/**/*.py")])
PROSE = [*PRODUCT, *sorted(ROOT.glob("cueapi/**/*.sql")), ROOT / "README.md", *sorted(ROOT.glob(".github/*.md"))]

LONGEST = 300
"""Lines of a file."""


def name_of(path: Path) -> str:
    """The path below the root, as it is written in messages."""
    return path.relative_to(ROOT).as_posix()


def test_a_class_name_stands_in_one_module_the_models_of_the_api_aside() -> None:
    modules: dict[str, set[str]] = defaultdict(set)
    for path in PRODUCT:
        if "models" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                modules[node.name].add(name_of(path))

    assert {name: places for name, places in modules.items() if len(places) > 1} == {}


@pytest.mark.parametrize("path", PRODUCT, ids=map(name_of, PRODUCT))
def test_no_file_is_longer_than_300_lines(path: Path) -> None:
    lines = len(path.read_text("utf-8").splitlines())

    assert lines <= LONGEST, f"{name_of(path)} has {lines} lines"


# The names of the table "now | the field's term" that are no words of other trades.
PRIVATE_NAMES = (
    "Ground", "open_ground", "Joints", "plant", "Outlets", "outlets", "Pokes", "Ears", "poke", "hungry", "strays",
    "passed_over", "Wish", "Placed", "ByHand", "Firings", "Stretch", "Keyring", "WaitingRoom", "claims_as",
    "end_plainly", "judge", "Belief", "believe", "judged_by_person", "lost_claim", "never_claimed", "handed_back",
    "bounces", "bounced", "streak", "LeanQuart", "bury", "set_aside", "clearly", "told_when", "unseal", "sealed",
    "hand_back", "failed_try",
)  # fmt: skip


@pytest.mark.parametrize("path", PRODUCT, ids=map(name_of, PRODUCT))
def test_no_private_name_returns(path: Path) -> None:
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    names = {
        name
        for node in nodes
        for name in (getattr(node, "id", None), getattr(node, "attr", None), getattr(node, "name", None))
        if isinstance(name, str)
    }

    assert names & set(PRIVATE_NAMES) == set()


IDIOMS = re.compile(
    r"\b(whoever|nobody|somebody|(what|which|whom) a hand|a hand has|fell over|falls over|planted|is none of ours|"
    r"what stands deeper|no one is hungry|lets? (us|him|her|it|them) in)\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("path", PROSE, ids=map(name_of, PROSE))
def test_no_translated_idiom_returns(path: Path) -> None:
    found = [f"{number}: {line.strip()}" for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
             if IDIOMS.search(line)]  # fmt: skip

    assert found == []


def said(path: Path) -> Iterator[str]:
    """Docstrings, and every other text of a module: what a person may read."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("path", PRODUCT, ids=map(name_of, PRODUCT))
def test_a_person_reads_attempt_and_not_try(path: Path) -> None:
    tries = re.compile(
        r"\b(a|the|each|every|first|last|next|second|one|same|failed|no|of|per|\d|\}) (try|tries)\b|\btries\b"
    )

    assert [text for text in said(path) if tries.search(text)] == []


def events(path: Path) -> set[str]:
    """The events that a module logs: the texts that a logger's verb may be given first."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and _is_verb_of_the_log(node.func) and node.args:
            found |= {part.value for part in ast.walk(node.args[0]) if _is_event(part)}
    return found


def _is_verb_of_the_log(function: ast.expr) -> bool:
    verbs = {"debug", "info", "warning", "error", "exception"}
    if isinstance(function, ast.Name):
        return function.id in {"write_log", "take_back"}
    if not isinstance(function, ast.Attribute):
        return False
    return (isinstance(function.value, ast.Name) and function.value.id == "log" and function.attr in verbs) or (
        function.attr == "_take_back"
    )


def _is_event(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and "_" in node.value


def test_the_table_of_events_equals_the_events_that_are_logged() -> None:
    table = {
        event
        for line in (logs.__doc__ or "").splitlines()
        if line.startswith("| ") and not line.startswith(("| event", "| sibling"))
        for event in line.split("|")[1].replace(" ", "").split(",")
    }
    kernel = {name for path in PRODUCT if path.is_relative_to(ROOT / "supervisor") for name in events(path)}
    logged = {name for path in PRODUCT for name in events(path)} - kernel

    assert table == logged


def test_the_glossary_has_ten_rows_at_most() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    glossary = readme[readme.index("## Glossary") : readme.index("## FAQ")]

    assert len([line for line in glossary.splitlines() if line.startswith("|")]) - 2 <= 10


def test_rows_are_not_indexed_by_strings() -> None:
    indexed = re.compile(r"\b(row|rows\[\S+\]|counts|lost|made|kept|claimed|old|changed|user)\[\"[a-z_]+\"\]")
    met = {
        f"{name_of(path)}: {line.strip()}"
        for path in PRODUCT
        if path.parts[-2] != "cli" or path.name != "demo.py"
        for line in path.read_text("utf-8").splitlines()
        if indexed.search(line)
    }

    assert met == set()


def test_five_files_lie_loose_in_the_product_at_most() -> None:
    assert len([path for path in PRODUCT if path.parent == ROOT / "cueapi"]) <= 6  # with __init__
