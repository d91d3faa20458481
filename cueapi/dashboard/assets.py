"""Style sheet, script and icon: files whose names carry a digest of their content, so that browsers keep them."""

import hashlib
from importlib.resources import files

from attrs import field, frozen
from quart import Blueprint, Response

from cueapi.domain.errors import Refusal

YEAR = 31_536_000

KINDS = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}


@frozen
class Assets:
    """Every file of `static`, by the name under which it is served: `style.css` as `style.0a1b2c3d4e5f.css`."""

    _served: dict[str, str] = field(init=False, factory=dict)
    _content: dict[str, bytes] = field(init=False, factory=dict, repr=False)

    def __attrs_post_init__(self) -> None:
        for file in (files("cueapi.dashboard") / "static").iterdir():
            stem, _, ending = file.name.rpartition(".")
            if ending in KINDS:
                content = file.read_bytes()
                name = f"{stem}.{hashlib.sha256(content).hexdigest()[:12]}.{ending}"
                self._served[file.name], self._content[name] = name, content

    def path(self, name: str) -> str:
        """Where a file is served, below the root. Raises KeyError for one that does not exist."""
        return f"/ui/static/{self._served[name]}"

    def routes(self) -> Blueprint:
        """Its path."""
        routes = Blueprint("static", __name__, url_prefix="/static")
        routes.get("/<name>")(self.file)
        return routes

    async def file(self, name: str) -> Response:
        """A file, to be kept for a year: another content has another name."""
        content = self._content.get(name)
        if content is None:
            raise Refusal("not_found", "There is nothing at this path.")
        headers = {"Cache-Control": f"public, max-age={YEAR}, immutable"}
        return Response(content, 200, headers, content_type=KINDS[name.rpartition(".")[2]])
