"""What a route says of itself: body, answer, parameters, refusals. `/openapi.json` shows it; requests keep to it."""

from collections.abc import Callable
from typing import Any, TypeAlias, TypedDict, TypeVar, Unpack

from attrs import frozen
from pydantic import BaseModel
from quart import request

from cueapi.api.http.body import read
from cueapi.api.http.incoming import TAKING_BODIES
from cueapi.api.http.parameters import Parameter, query_names
from cueapi.api.http.unknown import MOST_PROBLEMS, SENT_WITHOUT_MEANING, unknown_name
from cueapi.api.models.requests.bodies import Anything, Nothing
from cueapi.domain.errors import Invalid, Problem
from cueapi.domain.scope import Scope

Handler: TypeAlias = Callable[..., Any]
F = TypeVar("F", bound=Handler)

HTML, TEXT, EVENTS = "text/html", "text/plain", "text/event-stream"
FORM = "application/x-www-form-urlencoded"


@frozen
class Operation:
    """
    One route.

    *answer* is a model, a media type for what is not JSON, or None for an empty answer. *refuses* are the codes of
    this route, beside those that any route may answer with. *also* are further answers, by status. What
    is for browsers is left out of the description. *scope* is what a key needs for it; with *own* only the account's
    own key and sessions are let in. *in_groups* says that the handler itself looks to the groups that a key is limited
    to, or shows nothing of a cue: without it such a key is let in only where the path names a cue of its groups.
    *forms* are media types in which a body may come beside JSON.
    """

    answer: type[BaseModel] | str | None
    status: int = 200
    body: type[BaseModel] | None = None
    parameters: tuple[Parameter, ...] = ()
    refuses: tuple[str, ...] = ()
    also: tuple[tuple[int, type[BaseModel] | str | None], ...] = ()
    for_browsers: bool = False
    scope: Scope | None = None
    or_scope: Scope | None = None
    """Another scope that may do: which of the two is needed depends on what is asked for, and the handler checks it."""
    own: bool = False
    in_groups: bool = False
    forms: tuple[str, ...] = ()

    @property
    def takes_any_query(self) -> bool:
        """Links in mails and webhooks may bring any parameters: pages, and what takes anything, do not look at them."""
        return self.for_browsers or self.body is Anything or HTML in {kind for _, kind in self.also}

    @property
    def query(self) -> set[str]:
        """The names of its query's parameters."""
        return {one.name for one in self.parameters if one.where == "query"}


_DESCRIBED: dict[Handler, Operation] = {}
_SECRET: set[Handler] = set()


class Said(TypedDict, total=False):
    """What is said of a route: the fields of its `Operation`."""

    status: int
    body: type[BaseModel] | None
    parameters: tuple[Parameter, ...]
    refuses: tuple[str, ...]
    also: tuple[tuple[int, type[BaseModel] | str | None], ...]
    scope: Scope
    or_scope: Scope
    own: bool
    in_groups: bool
    forms: tuple[str, ...]


def operation(answer: type[BaseModel] | str | None, **said: Unpack[Said]) -> Callable[[F], F]:
    """
    Describe a handler; its docstring is the summary and the description.

    Each route that asks for a key states its *scope*.
    """

    def describe(handler: F) -> F:
        _DESCRIBED[handler] = Operation(answer, **said)
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


async def refuse_unknown(described: Operation) -> None:
    """
    Refuse a request that names a parameter twice, or one which the operation does not know, or sends fields where it
    takes none.

    The fields of a body that it takes are checked where that is read.
    """
    if request.query_string and not described.takes_any_query:
        known, named = described.query, query_names()
        unknown = sorted(set(named) - known - SENT_WITHOUT_MEANING)[:MOST_PROBLEMS]
        if unknown:
            raise Invalid(*(Problem(f"query.{name}", unknown_name("parameter", name, known)) for name in unknown))
        if repeated := sorted(name for name, times in named.items() if times > 1):
            raise Invalid(*(Problem(f"query.{name}", "is sent more than once: which is meant?") for name in repeated))
    takes_nothing = described.body is None and not described.forms and not described.for_browsers
    if takes_nothing and request.method in TAKING_BODIES:
        await read(Nothing)


def shows_secret(handler: F) -> F:
    """Mark a handler whose answers show a key, a token, or what may hold one: nothing on the way may keep them."""
    _SECRET.add(handler)
    return handler


def is_secret(view: Handler) -> bool:
    """Whether a view was marked by `shows_secret`."""
    return getattr(view, "__func__", view) in _SECRET
