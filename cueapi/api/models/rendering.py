"""JSON out: rows of the database, rendered by the models that describe the answers."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from types import NoneType
from typing import Any, ClassVar, TypeAlias, get_args
from uuid import UUID

import orjson
from attrs import frozen
from pydantic import BaseModel
from quart import Response

from cueapi.domain.clock import iso
from cueapi.off_loop import off_loop
from cueapi.storage.database import R
from cueapi.storage.paging import PAGE_CAP, Page

Shown: TypeAlias = dict[str, Any]
"""What `answer` writes as JSON."""

Render: TypeAlias = Callable[[Any], Shown]
"""Renders a row."""


def answer(value: Mapping[str, Any], status: int = 200) -> Response:
    """*value* as JSON: a moment in UTC in the form of the contract, an id as its text."""
    return Response(written(value), status, content_type="application/json")


async def long_answer(show: Callable[[], Mapping[str, Any]], size: int) -> Response:
    """What *show* returns as JSON: rendered and written beside the event loop where its *size* in bytes is large."""
    return Response(await off_loop(lambda: written(show()), size=size), 200, content_type="application/json")


def size_of(rows: Iterable[R], *columns: str) -> int:
    """How much stands in these columns of texts, bytes or lists."""
    return sum(len(row[column] or ()) for row in rows for column in columns)


def written(value: Mapping[str, Any]) -> bytes:
    """*value* as JSON. Users' own JSON is in it as `stored`: Python's numbers and orjson's depth do not limit it."""
    return orjson.dumps(value, default=_text, option=orjson.OPT_UTC_Z)


def _text(value: object) -> str:
    """What orjson has no form for. The driver's ids are of a class of its own."""
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return iso(value)
    raise TypeError


def stored(text: str | None) -> orjson.Fragment | None:
    """JSON as PostgreSQL keeps it, to be spliced into an answer; null where there is none."""
    return None if text is None else orjson.Fragment(text)


@frozen
class Column:
    """The column that a field comes from, where its name is another one."""

    name: str


@frozen
class Computed(Column):
    """A column whose value is shown in another form."""

    show: Callable[[Any], object]


def json_in(column: str) -> Column:
    """A column that holds JSON as text."""
    return Computed(column, stored)


Columns: TypeAlias = Mapping[str, Column]


class Rendered(BaseModel):
    """
    An answer, or a part of one, that is rendered from a row.

    A field comes from the column of its name, unless *columns* names another one; a nested model comes from the same
    row. A field with a default is left out where the row holds null, and a nested model that may be null is null where
    all of its fields are.
    """

    columns: ClassVar[Columns] = {}
    render: ClassVar[Render]

    @classmethod
    def __pydantic_init_subclass__(cls, **_: object) -> None:
        """Prepare the rendering of the model once."""
        cls.render = staticmethod(_renderer(cls))


def _renderer(model: type[Rendered]) -> Render:
    """
    How a row is rendered: a lambda with the dict that one would write by hand.

    Loops over the fields take three times as long (measured), and lists are asked for most.
    """
    functions: dict[str, object] = {}
    # Only names of fields and columns, from our own code, come into the source.
    render: Render = eval(f"lambda row: {_dict(model, functions)}", functions)
    return render


def _dict(model: type[Rendered], functions: dict[str, object]) -> str:
    """The source of a dict with all fields; what its expressions call is added to *functions*."""
    entries = []
    for name, field in model.model_fields.items():
        value = _value(model, name, functions)
        key = field.alias or name
        is_left_out = f"**({{}} if (value := {value}) is None else {{{key!r}: value}})"
        entries.append(f"{key!r}: {value}" if field.is_required() else is_left_out)
    return "{" + ", ".join(entries) + "}"


def _value(model: type[Rendered], name: str, functions: dict[str, object]) -> str:
    """The source of one field's value."""
    part = _nested(model, name)
    if part is not None:
        # `a is b is None`: all of them are null.
        are_null = " is ".join(f"row.{_source(part, one).name}" for one in part.model_fields) + " is None"
        content = _dict(part, functions)
        return content if model.model_fields[name].annotation == part else f"(None if {are_null} else {content})"
    source = _source(model, name)
    if not isinstance(source, Computed):
        return f"row.{source.name}"
    function = f"show_{len(functions)}"
    functions[function] = source.show
    return f"{function}(row.{source.name})"


def _source(model: type[Rendered], name: str) -> Column:
    return model.columns.get(name) or Column(name)


def _nested(model: type[Rendered], name: str) -> type[Rendered] | None:
    """The nested model of a field; None where the field has a column of its own."""
    annotation = model.model_fields[name].annotation
    kind = next(one for one in (get_args(annotation) or (annotation,)) if one is not NoneType)
    is_nested = name not in model.columns and isinstance(kind, type) and issubclass(kind, Rendered)
    return kind if is_nested else None


def page_of(page: Page[R], *, limit: int, offset: int) -> Shown:
    """What every list carries beside its rows."""
    shown: Shown = {"total": page.capped_total, "limit": limit, "offset": offset, "has_more": page.more}
    if page.total is not None and page.total > PAGE_CAP:
        shown["total_capped"] = True
    return shown
