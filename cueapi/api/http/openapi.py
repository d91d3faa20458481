"""The description of the API (OpenAPI 3.1), made from the routes, their models and what is said of them."""

import inspect
import re
from collections import defaultdict
from collections.abc import Iterator
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, TypeAlias

from attrs import frozen
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from quart import Quart
from werkzeug.routing import Rule

from cueapi.api.http import errors
from cueapi.api.http.incoming import TAKING_BODIES
from cueapi.api.http.open_routes import ANYONE, BY_TOKEN, LIMITED
from cueapi.api.http.openapi_names import GROUPS, TAGS
from cueapi.api.http.operations import FORM, Handler, Operation, operation_of
from cueapi.api.http.parameters import Parameter, Schema
from cueapi.api.http.path_parameters import in_path
from cueapi.api.models import examples, failure_examples, incident_examples
from cueapi.api.models.responses import webhooks

Document: TypeAlias = dict[str, Any]

VERSION, REFERENCE = "3.1.0", "#/components/schemas/{model}"
METHODS = ("POST", "PUT", "GET", "PATCH", "DELETE")

ANSWERS = examples.ANSWERS | incident_examples.ANSWERS | failure_examples.ANSWERS
BODIES = examples.BODIES | incident_examples.BODIES | failure_examples.BODIES

# What any request may be answered with: by its path, its body, by who asks, how often, and the state of the daemon.
BODY_CODES = (
    "invalid_json", "invalid_payload", "request_timeout", "request_too_large",
    "unsupported_media_type", "validation_error",
)  # fmt: skip
KEY_CODES = ("invalid_api_key", "key_rotated", "key_expired", "invalid_session", "session_expired")
ALWAYS = (
    "validation_error", "invalid_payload", "misdirected_request", "storage_unavailable", "overloaded", "bad_request",
)  # fmt: skip
PATH_CODES = ("not_found", "method_not_allowed")

WEBHOOKS: dict[str, tuple[type[BaseModel], str, str]] = {
    "delivery": (
        webhooks.DeliverySent, "Receive a delivery.",
        "A cue fires. The method is the cue's; GET has no body. `X-CueAPI-Report-URL`: where to report without a key.",
    ),
    "alert": (webhooks.AlertSent, "Receive an alert.", "Posted to the account's `alert_webhook_url`."),
    "incident": (
        webhooks.IncidentSent, "Receive a message about an incident.", "Posted to a channel of the kind `webhook`.",
    ),
    "failure": (
        webhooks.FailureSent, "Receive a failure.",
        "An execution failed for good. Posted to the cue's `on_failure.webhook`.",
    ),
}  # fmt: skip


@frozen
class _Route:
    """One method of one path, and what is said of it."""

    rule: Rule
    method: str
    view: Handler
    operation: Operation

    @property
    def path(self) -> str:
        return re.sub(r"<(?:[^<>:]+:)?(\w+)>", r"{\1}", self.rule.rule)

    @property
    def tag(self) -> str:
        resource: str = self.rule.endpoint.partition(".")[0]
        return GROUPS.get(resource, resource)

    @property
    def order(self) -> tuple[object, ...]:
        return [*TAGS].index(self.tag), self.path, METHODS.index(self.method)

    @property
    def is_limited(self) -> bool:
        return self.rule.rule.startswith(LIMITED) and self.rule.endpoint not in BY_TOKEN

    @property
    def needs_key(self) -> bool:
        return self.is_limited and self.rule.endpoint not in ANYONE | BY_TOKEN

    @property
    def models(self) -> Iterator[type[BaseModel]]:
        parts = (self.operation.answer, self.operation.body, *(answer for _, answer in self.operation.also))
        return (part for part in parts if isinstance(part, type))


def document(app: Quart, base_url: str) -> Document:
    """The whole description of *app* at *base_url*. Raises KeyError for a route of which nothing is said."""
    routes = sorted(_routes(app), key=lambda route: route.order)
    models: dict[str, type[BaseModel]] = {model.__name__: model for route in routes for model in route.models}
    models |= {model.__name__: model for model, *_ in WEBHOOKS.values()}
    models[webhooks.ProblemDetail.__name__] = webhooks.ProblemDetail
    _, schemas = models_json_schema(
        [(model, "validation") for _, model in sorted(models.items())], ref_template=REFERENCE
    )
    paths: dict[str, Document] = defaultdict(dict)
    for route in routes:
        paths[route.path][route.method.lower()] = _operation(route)
    return {
        "openapi": VERSION,
        "info": {
            "title": "CueAPI",
            "version": version("cueapi-daemon"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Fires agents and cron jobs on time, over signed webhooks or to pull workers, "
            "and knows whether they did their work.",
        },
        "servers": [{"url": base_url, "description": "This server."}],
        "tags": [{"name": name, "description": description} for name, description in TAGS.items()],
        "security": [{"key": []}],
        "paths": dict(paths),
        "webhooks": {name: _webhook(*parts) for name, parts in WEBHOOKS.items()},
        "components": {
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key, or the token of a session."}
            },
            "headers": HEADERS,
            "schemas": schemas.get("$defs", {}),
        },
    }


def _routes(app: Quart) -> Iterator[_Route]:
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("dashboard."):
            continue  # pages for people
        if rule.rule.endswith("/") and rule.rule != "/":
            continue  # the same as without the slash
        view = app.view_functions[rule.endpoint]
        operation = operation_of(view)
        if operation is None:
            raise KeyError(f"nothing is said of {rule.endpoint}")
        if not operation.for_browsers:
            yield from (_Route(rule, method, view, operation) for method in (rule.methods or set()) & {*METHODS})


def _operation(route: _Route) -> Document:
    summary, _, rest = inspect.cleandoc(inspect.getdoc(route.view) or "").partition("\n\n")
    described: Document = {
        "operationId": route.rule.endpoint,
        "tags": [route.tag],
        "summary": " ".join(summary.split()),
        "parameters": [*in_path(route.rule), *(_parameter(one) for one in route.operation.parameters)],
        "responses": _responses(route),
    }
    if rest:
        described["description"] = " ".join(rest.split())
    if content := _body(route.operation):
        # A request without a body means {}: what is required is then refused by its name.
        described["requestBody"] = {"content": content}
    scopes = (route.operation.scope, route.operation.or_scope)
    described["security"] = [{"key": [one]} for one in scopes if one] if route.needs_key else []
    return described


def _body(described: Operation) -> Document:
    """What a request may bring, by media type."""
    content = {} if described.body is None else _content(described.body, BODIES)
    for form in described.forms:
        model = described.body if form == FORM else None
        content[form] = {"schema": {"type": "string"} if model is None else _reference(model)}
    return content


def _parameter(one: Parameter) -> Document:
    return {
        "name": one.name,
        "in": one.where,
        "required": one.required,
        "description": one.description,
        "schema": one.schema,
    }


def _responses(route: _Route) -> Document:
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in _headers(route)}
    responses: Document = {}
    for status, answer in ((route.operation.status, route.operation.answer), *route.operation.also):
        response = responses.setdefault(str(status), {"description": HTTPStatus(status).phrase, "headers": headers})
        if answer is not None:
            response.setdefault("content", {}).update(_content(answer, ANSWERS))
    for status, codes in sorted(_refusals(route).items()):
        extra = {"Retry-After": {"$ref": "#/components/headers/Retry-After"}} if status in {429, 503} else {}
        response = responses.setdefault(str(status), {"headers": {**headers, **extra}})
        response["description"] = ", ".join(codes)
        response.setdefault("content", {}).update({"application/json": {"schema": _problem(codes)}})
    return responses


def _headers(route: _Route) -> Iterator[str]:
    yield "X-Request-Id"
    if route.is_limited:
        yield from ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
    if route.needs_key:
        yield "X-CueAPI-Usage-Warning"
    if "idempotency_key_in_use" in route.operation.refuses:
        yield "Idempotent-Replayed"


def _content(part: type[BaseModel] | str, examples: dict[type[BaseModel], Any]) -> Document:
    if isinstance(part, str):
        return {part: {"schema": {"type": "string"}}}
    return {"application/json": {"schema": _reference(part), "example": examples[part]}}


def _refusals(route: _Route) -> dict[int, list[str]]:
    """The codes that a route may refuse with, by status."""
    codes, takes_body = {*ALWAYS, *route.operation.refuses}, route.method in TAKING_BODIES
    if route.rule.arguments:
        codes |= set(PATH_CODES)
    if route.operation.body is not None or route.operation.forms or (route.is_limited and takes_body):
        codes |= set(BODY_CODES)
    if route.is_limited:
        codes.add("rate_limit_exceeded")
    if route.needs_key:
        codes.add("insufficient_scope")
    by_status: dict[int, list[str]] = defaultdict(list)
    for code in sorted(codes):
        by_status[errors.STATUS.get(code, 400)].append(code)
    if route.needs_key:
        by_status[errors.NOT_SIGNED_IN] += KEY_CODES
    if route.rule.endpoint == "sessions.begin":
        by_status[errors.NOT_SIGNED_IN].append("invalid_token")
    return by_status


def _problem(codes: list[str]) -> Schema:
    """`{"error": …}`, the one form of every failure."""
    properties: Schema = {
        "code": {"type": "string", "enum": sorted(codes), "description": "What is wrong, for programs."},
        "message": {"type": "string", "description": "What is wrong, for people."},
        "status": {"type": "integer", "description": "The status of the response."},
    }
    if "validation_error" in codes:
        details = "The fields that are wrong, with `validation_error`."
        properties["details"] = {"type": "array", "items": _reference(webhooks.ProblemDetail), "description": details}
    error = {
        "type": "object", "required": ["code", "message", "status"], "properties": properties,
        "description": "Why the request failed.",
    }  # fmt: skip
    detail = {
        "type": "object", "required": ["error"], "properties": {"error": error},
        "description": "The same again, where the published command line looks for it.",
    }  # fmt: skip
    return {"type": "object", "required": ["error", "detail"], "properties": {"error": error, "detail": detail}}


def _reference(model: type[BaseModel]) -> Schema:
    return {"$ref": REFERENCE.format(model=model.__name__)}


def _webhook(model: type[BaseModel], summary: str, description: str) -> Document:
    return {
        "post": {
            "summary": summary,
            "description": description,
            "requestBody": {"content": _content(model, ANSWERS)},
            "responses": {"2XX": {"description": "It was accepted."}},
        }
    }


def _header(kind: str, description: str) -> Document:
    return {"schema": {"type": kind}, "description": description}


HEADERS = {
    "X-Request-Id": _header("string", "Stands in every log line of the request; the client's own, where it sent one."),
    "X-RateLimit-Limit": _header("integer", "Requests in 60 seconds."),
    "X-RateLimit-Remaining": _header("integer", "Requests that are left of them."),
    "X-RateLimit-Reset": _header("integer", "When more are allowed, in epoch seconds."),
    "X-CueAPI-Usage-Warning": _header("string", "`approaching_limit` above 80 % of the month's executions."),
    "Idempotent-Replayed": _header("string", "`true` where the first answer came again."),
    "Retry-After": _header("integer", "Whole seconds, at least one, after which to try again."),
}
