"""HTML for people who sign in: plain forms, no script, nothing from another host; text is never markup."""

from importlib.resources import files
from typing import Any

from attrs import frozen
from jinja2 import DictLoader, Environment, StrictUndefined
from quart import Blueprint, Response

from cueapi.api.http.operations import for_browsers

CONTENT_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

DAY = 86_400


def _read(name: str) -> str:
    return (files("cueapi.api.pages") / name).read_text("utf-8")


@frozen
class Pages:
    """Renders pages, and serves their style sheet; *root* is the path of BASE_URL."""

    root: str
    _templates: Environment

    @classmethod
    def at(cls, root: str) -> "Pages":
        """Pages below *root*, which has no slash at its end."""
        names = (
            "layout.html", "device.html", "sent.html", "approve.html", "confirm.html", "channel.html", "key.html",
            "told.html",
        )  # fmt: skip
        loader = DictLoader({name: _read(name) for name in names})
        return cls(root, Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True))

    def routes(self) -> Blueprint:
        """The style sheet."""
        routes = Blueprint("pages", __name__, url_prefix="/static")
        routes.get("/style.css")(self.style)
        return routes

    @for_browsers()
    async def style(self) -> Response:
        """The one style sheet."""
        headers = {"Cache-Control": f"public, max-age={DAY}"}
        return Response(_read("style.css"), 200, headers, content_type="text/css; charset=utf-8")

    def page(self, name: str, status: int = 200, **values: Any) -> Response:  # noqa: ANN401 (whatever a page shows)
        """A page, never to be cached: it may hold a code."""
        text = self._templates.get_template(f"{name}.html").render(root=self.root, **values)
        return html(text, status)


def html(text: str, status: int = 200, *, policy: str = CONTENT_POLICY) -> Response:
    """An HTML answer under a content security policy."""
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store"}
    return Response(text, status, headers, content_type="text/html; charset=utf-8")
