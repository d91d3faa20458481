"""`/openapi.json`, made from the routes, their bodies and what is told of them; `/docs`, which shows it."""

import inspect
import json
import re
from collections import defaultdict
from http import HTTPStatus
from importlib.metadata import version
from importlib.resources import files
from typing import Any, TypeAlias

from attrs import define, field
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from quart import Blueprint, Quart, Response, current_app
from werkzeug.routing import Rule

from cueapi.api.http import errors
from cueapi.api.http.app import ANYONE, LIMITED
from cueapi.api.http.operations import HTML, Operation, operation, operation_of
from cueapi.api.http.parameters import Parameter, Schema
from cueapi.api.models.responses import webhooks
from cueapi.api.pages import DAY, html

Document: TypeAlias = dict[str, Any]

VERSION = "3.1.0"
REFERENCE = "#/components/schemas/{model}"

DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

# What any request may be answered with: by its path, its body, by who asks, how often, and the state of the house.
BODY_CODES = ("invalid_json", "invalid_payload", "request_too_large", "unsupported_media_type", "validation_error")
KEY_CODES = ("invalid_api_key", "key_rotated", "invalid_session", "session_expired")
ALWAYS = ("validation_error", "invalid_payload", "storage_unavailable", "bad_request")
PATH_CODES = ("not_found", "method_not_allowed")

WEBHOOKS: dict[str, tuple[type[BaseModel], str]] = {
    "delivery": (webhooks.DeliverySent, "A cue fires. The method is the cue's; GET has no body."),
    "alert": (webhooks.AlertSent, "An alert, posted to the account's `alert_webhook_url`."),
    "failure": (webhooks.FailureSent, "An execution failed for good, posted to the cue's `on_failure.webhook`."),
}


@define(eq=False)
class Docs:
    """The description of the API, and a page that shows it. The scripts come from a wheel, not from another host."""

    root: str
    _document: bytes | None = field(init=False, default=None)

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("docs", __name__)
        routes.get("/openapi.json")(self.show)
        routes.get("/docs")(self.page)
        routes.get("/docs/<name>")(self.file)
        return routes

    @operation("application/json")
    async def show(self) -> Response:
        """This description."""
        if self._document is None:
            self._document = json.dumps(document(current_app)).encode()
        return Response(self._document, 200, content_type="application/json")

    @operation(HTML)
    async def page(self) -> Response:
        """A page that shows this description."""
        return html(_page("docs.html").replace("{{ root }}", self.root), policy=DOCS_POLICY)

    @operation("*/*", refuses=("not_found",))
    async def file(self, name: str) -> Response:
        """A script or a style sheet of that page."""
        content = _FILES.get(name)
        if content is None:
            return errors.problem("not_found", "There is nothing at this path.", 404)
        headers = {"Cache-Control": f"public, max-age={DAY}"}
        return Response(content(), 200, headers, content_type=_KINDS[name.rpartition(".")[2]])


def _page(name: str) -> str:
    return (files("cueapi.api.pages") / name).read_text("utf-8")


def _swagger(name: str) -> bytes:
    return (files("swagger_ui") / "static" / name).read_bytes()


_FILES = {
    "swagger-ui.css": lambda: _swagger("swagger-ui.css"),
    "swagger-ui-bundle.js": lambda: _swagger("swagger-ui-bundle.js"),
    "start.js": lambda: _page("docs.js").encode(),
}
_KINDS = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}


def document(app: Quart) -> Document:
    """The whole description of *app*. Raises KeyError for a route that nothing is told of."""
    told = [(rule, method, _told(app, rule)) for rule in app.url_map.iter_rules() for method in _methods(rule)]
    models = sorted({model for *_, one in told for model in _models(one)}, key=lambda model: model.__name__)
    models = [*models, webhooks.ProblemDetail, *(model for model, _ in WEBHOOKS.values())]
    _, components = models_json_schema([(model, "validation") for model in models], ref_template=REFERENCE)
    paths: dict[str, Document] = defaultdict(dict)
    for rule, method, one in sorted(told, key=lambda each: (_path(each[0]), each[1])):
        paths[_path(rule)][method.lower()] = _operation(app, rule, one)
    return {
        "openapi": VERSION,
        "info": {
            "title": "CueAPI",
            "version": version("cueapi-daemon"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Fires agents and cron jobs on time, over signed webhooks or to pull workers, "
            "and knows whether they did their work.",
        },
        "security": [{"key": []}],
        "paths": dict(paths),
        "webhooks": {name: _webhook(model, words) for name, (model, words) in WEBHOOKS.items()},
        "components": {
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key, or the token of a session."}
            },
            "headers": HEADERS,
            "schemas": components.get("$defs", {}),
        },
    }


def _told(app: Quart, rule: Rule) -> Operation:
    found = operation_of(app.view_functions[rule.endpoint])
    if found is None:
        raise KeyError(f"nothing is told of {rule.endpoint}")
    return found


def _methods(rule: Rule) -> list[str]:
    return sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})


def _models(one: Operation) -> list[type[BaseModel]]:
    parts = [one.answer, one.body, *(answer for _, answer in one.also)]
    return [part for part in parts if isinstance(part, type)]


def _path(rule: Rule) -> str:
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)


def _operation(app: Quart, rule: Rule, one: Operation) -> Document:
    view = app.view_functions[rule.endpoint]
    summary, _, rest = inspect.cleandoc(inspect.getdoc(view) or "").partition("\n\n")
    told: Document = {
        "operationId": rule.endpoint,
        "tags": [rule.endpoint.partition(".")[0]],
        "summary": " ".join(summary.split()),
        "parameters": [*_in_path(rule), *(_parameter(each) for each in one.parameters)],
        "responses": _responses(rule, one),
    }
    if rest:
        told["description"] = " ".join(rest.split())
    if one.body is not None:
        # Sent without one, a request means {}: what is required is refused by its name.
        told["requestBody"] = {"content": {"application/json": {"schema": _reference(one.body)}}}
    if not _asks_for_key(rule):
        told["security"] = []
    return told


def _asks_for_key(rule: Rule) -> bool:
    return rule.rule.startswith(LIMITED) and rule.endpoint not in ANYONE


def _in_path(rule: Rule) -> list[Document]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in sorted(rule.arguments)
    ]


def _parameter(one: Parameter) -> Document:
    return {
        "name": one.name,
        "in": one.where,
        "required": one.required,
        "description": one.description,
        "schema": one.schema,
    }


def _responses(rule: Rule, one: Operation) -> Document:
    limited = rule.rule.startswith(LIMITED)
    names = ["X-Request-Id", *(RATE if limited else ()), *(("X-CueAPI-Usage-Warning",) if _asks_for_key(rule) else ())]
    names += ["Idempotent-Replayed"] if "idempotency_key_in_use" in one.refuses else []
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    responses: Document = {}
    for status, answer in ((one.status, one.answer), *one.also):
        told = responses.setdefault(str(status), {"description": HTTPStatus(status).phrase, "headers": headers})
        if answer is not None:
            told.setdefault("content", {}).update(_content(answer))
    for status, codes in sorted(_refusals(rule, one).items()):
        content = {"application/json": {"schema": _problem(codes)}}
        extra = {"Retry-After": {"$ref": "#/components/headers/Retry-After"}} if status in {429, 503} else {}
        told = responses.setdefault(str(status), {"headers": {**headers, **extra}})
        told["description"] = ", ".join(codes)
        told.setdefault("content", {}).update(content)
    return responses


def _content(answer: type[BaseModel] | str) -> Document:
    if isinstance(answer, str):
        return {answer: {"schema": {} if answer == "application/json" else {"type": "string"}}}
    return {"application/json": {"schema": _reference(answer)}}


def _refusals(rule: Rule, one: Operation) -> dict[int, list[str]]:
    """The codes that a route may refuse with, by status."""
    codes = {*ALWAYS, *one.refuses}
    if rule.arguments:
        codes |= set(PATH_CODES)
    if one.body is not None:
        codes |= set(BODY_CODES)
    if rule.rule.startswith(LIMITED):
        codes.add("rate_limit_exceeded")
    by_status: dict[int, list[str]] = defaultdict(list)
    for code in sorted(codes):
        by_status[errors.STATUS.get(code, 400)].append(code)
    if _asks_for_key(rule):
        by_status[errors.NOT_SIGNED_IN] += KEY_CODES
    if rule.endpoint == "sessions.begin":
        by_status[errors.NOT_SIGNED_IN].append("invalid_token")
    return by_status


def _problem(codes: list[str]) -> Schema:
    """`{"error": …}`, the one form of every failure."""
    error = {
        "type": "object",
        "required": ["code", "message", "status"],
        "properties": {
            "code": {"type": "string", "enum": sorted(codes)},
            "message": {"type": "string"},
            "status": {"type": "integer"},
        },
    }
    if "validation_error" in codes:
        error["properties"]["details"] = {"type": "array", "items": _reference(webhooks.ProblemDetail)}  # type: ignore[index]
    return {"type": "object", "required": ["error"], "properties": {"error": error}}


def _reference(model: type[BaseModel]) -> Schema:
    return {"$ref": REFERENCE.format(model=model.__name__)}


def _webhook(model: type[BaseModel], words: str) -> Document:
    body = {"content": {"application/json": {"schema": _reference(model)}}}
    return {"post": {"summary": words, "requestBody": body, "responses": {"2XX": {"description": "It was taken."}}}}


RATE = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")


def _header(kind: str, words: str) -> Document:
    return {"schema": {"type": kind}, "description": words}


HEADERS = {
    "X-Request-Id": _header("string", "Stands in every log line of the request; the client's own, where it sent one."),
    "X-RateLimit-Limit": _header("integer", "Requests in 60 seconds."),
    "X-RateLimit-Remaining": _header("integer", "How many are left."),
    "X-RateLimit-Reset": _header("integer", "When more are, in epoch seconds."),
    "X-CueAPI-Usage-Warning": _header("string", "`approaching_limit` above 80 % of the month's executions."),
    "Idempotent-Replayed": _header("string", "`true` where the first answer came again."),
    "Retry-After": _header("integer", "Whole seconds, at least one."),
}
