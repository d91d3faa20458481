"""What a row class says of its columns is what its statement returns."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from datetime import date, datetime
from types import NoneType
from typing import Any, get_args
from uuid import UUID

import pytest
import trio

import cueapi.storage
from cueapi.storage.database import Database, Row

TYPES: dict[str, object] = {
    "bool": bool,
    "bytea": bytes,
    "date": date,
    "float8": float,
    "int2": int,
    "int4": int,
    "int8": int,
    "json": str,
    "jsonb": str,
    "text": str,
    "timestamp": datetime,
    "timestamptz": datetime,
    "uuid": UUID,
    "int4[]": list[int],
    "int8[]": list[int],
    "text[]": list[str],
}
"""What the driver makes of PostgreSQL's types."""

MODULES = [
    importlib.import_module(module.name) for module in pkgutil.walk_packages(cueapi.storage.__path__, "cueapi.storage.")
]


def calls() -> Iterator[tuple[Any, ast.Call, str]]:
    """Each call that says which rows it gives: its module, the call, and the name of the class."""
    for module in MODULES:
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Call):
                for keyword in node.keywords:
                    if keyword.arg == "row" and isinstance(keyword.value, ast.Name) and keyword.value.id != "row":
                        yield module, node, keyword.value.id


def statement_of(module: Any, call: ast.Call) -> str:
    """The text of the statement that a call sends, or that a page is made of."""
    names = [name.id for one in call.args for name in ast.walk(one) if isinstance(name, ast.Name)]
    constants = [vars(module).get(name) for name in names if not name.startswith("_")]
    texts = [one for one in constants if isinstance(one, str)]
    if texts:
        return texts[0]
    parts = {one.arg: one.value for one in call.keywords}
    columns, source = (eval(ast.unparse(parts[name]), vars(module)) for name in ("columns", "source"))
    return f"select {columns} from {source}"


PAIRS = {
    f"{module.__name__.removeprefix('cueapi.storage.')}: {name} at line {call.lineno}": (
        vars(module)[name],
        statement_of(module, call),
    )
    for module, call, name in calls()
}


def columns_of(row: type[Row]) -> dict[str, object]:
    """The annotations of a row class and of what it inherits."""
    found: dict[str, object] = {}
    for ancestor in reversed(row.__mro__):
        found |= inspect.get_annotations(ancestor)
    return found


def subclasses(row: type[Row]) -> Iterator[type[Row]]:
    for one in row.__subclasses__():
        yield from (one, *subclasses(one))


@pytest.mark.parametrize(("row", "statement"), PAIRS.values(), ids=PAIRS.keys())
async def test_the_columns_of_a_row_class_are_those_of_its_statement(
    database: Database, row: type[Row], statement: str
) -> None:
    with trio.fail_after(10):
        async with database.pool.acquire() as connection:
            attributes = (await connection.prepare(statement)).get_attributes()

    told = {one.name: TYPES[one.type.name] for one in attributes}
    said = {
        name: next((one for one in get_args(kind) if one is not NoneType), kind) if NoneType in get_args(kind) else kind
        for name, kind in columns_of(row).items()
    }
    assert said
    assert said == {name: told.get(name) for name in said}


def test_every_row_class_of_the_product_is_compared_with_a_statement() -> None:
    every = {one for one in subclasses(Row) if one.__module__.startswith("cueapi.")}

    assert every == {row for row, _ in PAIRS.values()} | {
        every_base for every_base in every if every_base.__subclasses__()
    }


def test_no_storage_function_gives_rows_without_a_class() -> None:
    bare = [
        f"{module.__name__} line {node.lineno}"
        for module in MODULES
        if not module.__name__.endswith(".database")  # fetch_value, which has no columns to name
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"fetch", "fetch_one"}
        and "row" not in {one.arg for one in node.keywords}
    ]

    assert bare == []


async def test_a_column_is_an_attribute_and_nothing_else_is(database: Database) -> None:
    class Numbered(Row):
        number: int

    with trio.fail_after(5):
        row = await database.fetch_one("select 7 as number", row=Numbered)

    assert row is not None
    assert row.number == row["number"] == 7
    assert not hasattr(row, "numbre")
