"""What bodies have in common, and how the body of a PATCH follows from the body that creates."""

from collections.abc import Iterator, Sequence
from functools import cache, reduce
from operator import or_
from types import NoneType, UnionType
from typing import Annotated, Any, TypeAlias, Union, get_args, get_origin

from annotated_types import MaxLen
from pydantic import BaseModel, ConfigDict, Field, RootModel, create_model, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from cueapi.domain.audit import REASON_LIMIT

Specifier: TypeAlias = Any
"""What pydantic's Field returns."""

Short = Annotated[str, Field(max_length=1_000)]
"""A text that is parsed or looked up: its own rules allow less, and are checked after this."""

Url = Annotated[str, Field(max_length=8_000)]
"""Likewise, a URL."""

Reason = Annotated[str, Field(max_length=REASON_LIMIT)]
"""Why a change is made."""

FIELDS = 100
"""The most keys of an object whose fields are ours."""


class Bounded(BaseModel):
    """An object of few keys: each unknown one is named, or refused by name."""

    @model_validator(mode="before")
    @classmethod
    def _check_fields(cls, given: object) -> object:
        if isinstance(given, dict) and len(given) > FIELDS:
            raise PydanticCustomError("too_many_fields", "has more than {most} fields", {"most": FIELDS})
        return given


class Open(Bounded):
    """Unknown keys are kept, to be named: what creates a cue, alone."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    def unknown(self, prefix: str = "") -> list[str]:
        """The unknown keys, here and below."""
        names = [prefix + name for name in self.model_extra or ()]
        for name in type(self).model_fields:
            below = getattr(self, name)
            if isinstance(below, Open):
                names += below.unknown(f"{prefix}{name}.")
        return names

    def given(self) -> dict[str, Any]:
        """The known fields that were given, nested; null means left out."""
        fields = type(self).model_fields
        values = {field.alias or name: getattr(self, name) for name, field in fields.items()}
        return {name: _given(value) for name, value in values.items() if value is not None}


class Closed(Bounded):
    """Unknown keys are refused: every other body."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    def given(self) -> dict[str, Any]:
        """The fields that were given, nested, null included. Users' own JSON is in it as it is, not copied."""
        fields = type(self).model_fields
        return {fields[name].alias or name: _given(getattr(self, name)) for name in self.model_fields_set}


def _given(value: Any) -> Any:  # noqa: ANN401 (any field)
    """What was given of a field: of ours, and of each in a list of ours, what was given of its fields."""
    if isinstance(value, Open | Closed):
        return value.given()
    if isinstance(value, list) and value and isinstance(value[0], Closed):
        return [one.given() for one in value]
    return value


class Nothing(Closed):
    """No field at all: the body of a call that takes none, which may be empty."""


class Anything(RootModel[Any]):
    """Any JSON value."""


@cache
def sent_names(model: type[BaseModel]) -> tuple[str, ...]:
    """The names of a model's fields in JSON."""
    return tuple(field.alias or name for name, field in model.model_fields.items())


def part_of(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """The model of a field of *model* that is an object, or a list of them; None where it is none, or any object."""
    return _parts(model).get(name)


def most_entries(model: type[BaseModel], name: str) -> int | None:
    """The most entries of a field of *model* that is a list, or an object of any keys; None where nothing bounds it."""
    return _limits(model).get(name)


# By model and never by name: names are whatever a client sends.
@cache
def _parts(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    found: dict[str, type[BaseModel]] = {}
    for name in sent_names(model):
        kinds = [kind for kind, _ in _alternatives(model, name)]
        kinds += [item for kind in kinds if get_origin(kind) is list for item in get_args(kind)]
        models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if models:
            found[name] = models[0]
    return found


@cache
def _limits(model: type[BaseModel]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in sent_names(model):
        kinds = [said for kind, said in _alternatives(model, name) if get_origin(kind) in {list, dict}]
        if limits := [limit for limit in map(_limit, kinds) if limit is not None]:
            found[name] = limits[0]
    return found


def _alternatives(model: type[BaseModel], name: str) -> Iterator[tuple[object, Sequence[object]]]:
    """The types that a field of *model* may have, each with what is said of it."""
    for known, field in model.model_fields.items():
        if name == (field.alias or known):
            yield from _taken_apart(field.annotation, field.metadata)


def _taken_apart(annotation: object, said: Sequence[object]) -> Iterator[tuple[object, Sequence[object]]]:
    if get_origin(annotation) is Annotated:
        kind, *more = get_args(annotation)
        yield from _taken_apart(kind, more)
    elif get_origin(annotation) in {Union, UnionType}:
        for kind in get_args(annotation):
            yield from _taken_apart(kind, said)
    else:
        yield annotation, said


def _limit(said: Sequence[object]) -> int | None:
    within = [part for one in said for part in (one.metadata if isinstance(one, FieldInfo) else [one])]
    return next((part.max_length for part in within if isinstance(part, MaxLen)), None)


NO_DEFAULT = object()
LEFT_OUT = " Left out: "


def optional(
    description: str, default: object = NO_DEFAULT, *, left_out: str = "", alias: str | None = None
) -> Specifier:
    """
    A field that may be left out, or null. What then holds is told to readers, and filled in elsewhere.

    It is *default*, or *left_out* says it in words. *alias* is its name in JSON, where Python has another use for that.
    """

    def tell(schema: dict[str, Any]) -> None:
        schema.pop("default", None)
        if default is not NO_DEFAULT:
            schema["default"] = default

    told = f"{description}{LEFT_OUT}{left_out}." if left_out else description
    return Field(default=None, alias=alias, description=told, json_schema_extra=tell)


class ReasonBody(Closed):
    """Why a change is made; may be empty."""

    reason: Reason | None = optional("Why, for the audit; the header X-Reason says it as well.")


class Marker:
    """Says in an annotation what a PATCH does with a field."""


NULL_CLEARS = Marker()
"""In a PATCH null clears the field; elsewhere it is refused."""

ONLY_ON_CREATE = Marker()
"""A PATCH does not know the field."""


def patch_of(model: type[Open], **added: Any) -> type[Closed]:  # noqa: ANN401 (pydantic has no type for them)
    """
    *model* as the body of a PATCH: each field may be left out, and unknown ones are refused.

    *added* are fields that only the PATCH knows.
    """
    fields: dict[str, Any] = {
        name: (_patched(field), _left_out(field))
        for name, field in model.model_fields.items()
        if ONLY_ON_CREATE not in field.metadata
    }
    name = model.__name__.replace("Body", "Patch")
    return create_model(name, __base__=Closed, __doc__=model.__doc__, **fields, **added)


def _patched(field: FieldInfo) -> object:
    """The type of a field in a PATCH."""
    is_union = get_origin(field.annotation) in {Union, UnionType}
    kinds: list[Any] = [*get_args(field.annotation)] if is_union else [field.annotation]
    kinds = [
        patch_of(kind) if isinstance(kind, type) and issubclass(kind, Open) else kind
        for kind in kinds
        if kind is not NoneType
    ]
    if NULL_CLEARS in field.metadata:
        kinds.append(None)
    limits = [one for one in field.metadata if not isinstance(one, Marker)]
    kind = reduce(or_, kinds)
    return Annotated[kind, *limits] if limits else kind


def _left_out(field: FieldInfo) -> Specifier:
    """The default is never looked at, and not told: what is left out stays as it is."""
    description = (field.description or "").partition(LEFT_OUT)[0]
    return Field(default_factory=lambda: None, alias=field.alias, description=description)
