"""What is told of a route beside its handler: body, answer, parameters, refusals. It costs a request nothing."""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from attrs import frozen
from pydantic import BaseModel

Handler: TypeAlias = Callable[..., Any]
F = TypeVar("F", bound=Handler)
Schema: TypeAlias = dict[str, Any]

HTML, TEXT = "text/html", "text/plain"


@frozen
class Parameter:
    """A query parameter, or a header."""

    name: str
    schema: Schema
    description: str
    where: str = "query"
    required: bool = False


@frozen
class Operation:
    """
    One route.

    *answer* is a model, a media type for what is no JSON, or None for an empty answer. *refuses* are the codes of
    this route's own, beside those that any route may answer with. *also* are other successful answers, by status.
    """

    answer: type[BaseModel] | str | None
    status: int = 200
    body: type[BaseModel] | None = None
    parameters: tuple[Parameter, ...] = ()
    refuses: tuple[str, ...] = ()
    also: tuple[tuple[int, type[BaseModel] | str], ...] = ()


_TOLD: dict[Handler, Operation] = {}


def operation(
    answer: type[BaseModel] | str | None,
    *,
    status: int = 200,
    body: type[BaseModel] | None = None,
    parameters: tuple[Parameter, ...] = (),
    refuses: tuple[str, ...] = (),
    also: tuple[tuple[int, type[BaseModel] | str], ...] = (),
) -> Callable[[F], F]:
    """Tell of a handler; its docstring is the description."""

    def tell(handler: F) -> F:
        _TOLD[handler] = Operation(answer, status, body, parameters, refuses, also)
        return handler

    return tell


def operation_of(view: Handler) -> Operation | None:
    """What was told of a view; None where nothing was."""
    return _TOLD.get(getattr(view, "__func__", view))


def words(name: str, allowed: list[str], description: str) -> Parameter:
    """A parameter that is one of these."""
    return Parameter(name, {"type": "string", "enum": sorted(allowed)}, description)


def whole(name: str, least: int, most: int, default: int, description: str) -> Parameter:
    """A parameter that is a whole number."""
    return Parameter(name, {"type": "integer", "minimum": least, "maximum": most, "default": default}, description)


def moment(name: str, description: str) -> Parameter:
    """A parameter that is a moment."""
    return Parameter(name, {"type": "string", "format": "date-time"}, description)


def text(name: str, description: str) -> Parameter:
    """Any other parameter."""
    return Parameter(name, {"type": "string"}, description)


def paged(default: int) -> tuple[Parameter, ...]:
    """The parameters of every list."""
    return (
        whole("limit", 1, 100, default, "How many at most."),
        whole("offset", 0, 10_000, 0, "How many are passed over; what is further is reached by a cursor."),
    )


CURSOR = text("cursor", "`next_cursor` of the page before, under the same filters; `offset` then counts for nothing.")

CONFIRMED = Parameter(
    "X-Confirm-Destructive", {"type": "string", "enum": ["true"]}, "What cannot be taken back is asked for twice.",
    where="header", required=True,
)  # fmt: skip

IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key", {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x20-\\x7e]+$"},
    "A repeat under the same key within 24 hours gets the first answer again.", where="header",
)  # fmt: skip

IDEMPOTENT = ("idempotency_key_in_use", "idempotency_key_reused")
"""How a request under an Idempotency-Key may be refused."""

WORKER_ID = Parameter("X-Worker-Id", {"type": "string"}, "Who reports; must hold the claim.", where="header")
