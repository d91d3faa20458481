"""`/openapi.json`, and `/docs`, the page that shows it. Its scripts come from a wheel, not from another host."""

import json
from importlib.resources import files
from urllib.parse import urlsplit

import trio
from attrs import define, field
from quart import Blueprint, Response, current_app

from cueapi.api.http import errors
from cueapi.api.http.openapi import document
from cueapi.api.http.operations import for_browsers
from cueapi.api.pages import DAY, html
from cueapi.off_loop import ONE_AT_A_TIME

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@define(eq=False)
class Docs:
    """The description of the API at *base_url*, as JSON and as a page."""

    base_url: str
    _document: bytes | None = field(init=False, default=None)

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("docs", __name__)
        routes.get("/openapi.json")(self.show)
        routes.get("/docs")(self.page)
        routes.get("/docs/<name>")(self.file)
        return routes

    @for_browsers()
    async def show(self) -> Response:
        """The description, made at the first request."""
        if self._document is None:
            # Beside the event loop: it takes a tenth of a second, and anyone may ask.
            self._document = await trio.to_thread.run_sync(self._describe, limiter=ONE_AT_A_TIME)
        return Response(self._document, 200, content_type="application/json")

    def _describe(self) -> bytes:
        return json.dumps(document(current_app, self.base_url)).encode()

    @for_browsers()
    async def page(self) -> Response:
        """The page that shows it."""
        root = urlsplit(self.base_url).path.rstrip("/")
        return html(_page("docs.html").replace("{{ root }}", root), policy=POLICY)

    @for_browsers()
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
