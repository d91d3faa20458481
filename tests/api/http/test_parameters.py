"""Parameters are declared where they are read, and read where they are declared."""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import CodeType, FunctionType
from typing import Any

import pytest
from attrs import fields, has

import cueapi.api
from cueapi.api.http.operations import operation_of
from cueapi.api.http.parameters import Parameter

ROOT = Path(__file__).parents[3]
MODULES = [import_module(f"cueapi.api.{one.name}") for one in iter_modules(cueapi.api.__path__) if not one.ispkg]
RESOURCES = [
    owner for module in MODULES for owner in vars(module).values()
    if isinstance(owner, type) and owner.__module__ == module.__name__
]  # fmt: skip
HANDLERS = {
    f"{resource.__name__}.{name}": (resource, handler)
    for resource in RESOURCES
    for name, handler in vars(resource).items()
    if isinstance(handler, FunctionType) and operation_of(handler) is not None
}


def names_in(code: CodeType) -> Iterator[str]:
    """The global names and the attributes that a function uses, those of its comprehensions included."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names_in(constant)


def methods_of(owner: type, used: set[str]) -> dict[str, FunctionType]:
    """The methods of a class that are not handlers, and those of the resources that it holds and uses."""
    held = [one.type for one in fields(owner) if one.name in used and isinstance(one.type, type)] if has(owner) else []
    found = {name: value for kind in [*held, owner] for name, value in vars(kind).items()}
    return {
        name: value for name, value in found.items() if isinstance(value, FunctionType) and operation_of(value) is None
    }


def reached(function: Any, owner: type | None) -> Iterator[tuple[Any, type | None]]:
    """What a function uses: global values of its module, methods of its class."""
    names = set(names_in(function.__code__))
    methods = {} if owner is None else methods_of(owner, names)
    for name in names:
        if name in function.__globals__:
            yield function.__globals__[name], None
        if name in methods:
            yield methods[name], owner


def read_by(function: Any, owner: type | None, seen: set[Any]) -> set[Parameter]:
    """The parameters that a function reads, itself or by what it calls."""
    seen.add(function)
    found: set[Parameter] = set()
    for value, kind in reached(function, owner):
        if isinstance(value, Parameter):
            found.add(value)
        elif isinstance(value, type) and value.__module__.startswith("cueapi.api.http"):
            found |= {one for method in methods_of(value, set()).values() for one in read_by(method, value, seen)}
        elif (
            hasattr(code := getattr(value, "__wrapped__", value), "__code__")
            and code.__module__.startswith("cueapi.api")
            and code not in seen
        ):
            found |= read_by(code, kind, seen)
    return found


@pytest.mark.parametrize("name", HANDLERS)
def test_a_handler_reads_the_parameters_that_it_declares_and_no_other(name: str) -> None:
    resource, handler = HANDLERS[name]
    described = operation_of(handler)
    assert described is not None

    read = {one.name for one in read_by(handler, resource, set())}

    assert read == {one.name for one in described.parameters}


def test_queries_are_read_by_declared_parameters_alone() -> None:
    reading = {path.name for path in ROOT.glob("cueapi/api/**/*.py") if re.search(r"request\.args", path.read_text())}

    assert reading == {"parameters.py"}
