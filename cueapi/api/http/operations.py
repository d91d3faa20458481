"""What a route says of itself in `/openapi.json`: body, answer, parameters, refusals. It costs a request nothing."""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from attrs import frozen
from pydantic import BaseModel

from cueapi.api.http.parameters import Parameter

Handler: TypeAlias = Callable[..., Any]
F = TypeVar("F", bound=Handler)

HTML, TEXT = "text/html", "text/plain"


@frozen
class Operation:
    """
    One route.

    *answer* is a model, a media type for what is not JSON, or None for an empty answer. *refuses* are the codes of
    this route, beside those that any route may answer with. *also* are further answers, by status. What
    is for browsers is left out of the description.
    """

    answer: type[BaseModel] | str | None
    status: int = 200
    body: type[BaseModel] | None = None
    parameters: tuple[Parameter, ...] = ()
    refuses: tuple[str, ...] = ()
    also: tuple[tuple[int, type[BaseModel] | str], ...] = ()
    for_browsers: bool = False


_DESCRIBED: dict[Handler, Operation] = {}


def operation(
    answer: type[BaseModel] | str | None,
    *,
    status: int = 200,
    body: type[BaseModel] | None = None,
    parameters: tuple[Parameter, ...] = (),
    refuses: tuple[str, ...] = (),
    also: tuple[tuple[int, type[BaseModel] | str], ...] = (),
) -> Callable[[F], F]:
    """Describe a handler; its docstring is the summary and the description."""

    def describe(handler: F) -> F:
        _DESCRIBED[handler] = Operation(answer, status, body, parameters, refuses, also)
        return handler

    return describe


def for_browsers(*parameters: Parameter) -> Callable[[F], F]:
    """Mark a handler whose answers are pages or files for browsers: the description of the API leaves it out."""

    def mark(handler: F) -> F:
        _DESCRIBED[handler] = Operation(None, parameters=parameters, for_browsers=True)
        return handler

    return mark


def operation_of(view: Handler) -> Operation | None:
    """The description of a view; None where it has none."""
    return _DESCRIBED.get(getattr(view, "__func__", view))
