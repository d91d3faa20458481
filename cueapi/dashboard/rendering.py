"""Pages from templates: what every page has, fragments, notices. Text is never markup."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hmac import compare_digest
from typing import Any

from attrs import field, frozen
from jinja2 import Environment, PackageLoader, StrictUndefined
from quart import Response, g, redirect, request

from cueapi.dashboard import filters, texts
from cueapi.dashboard.assets import Assets
from cueapi.dashboard.sessions import FORM_TOKEN, BrowserSession

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)

HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Vary": "Cookie, X-Fragment",
}

NOTICE, NOTICE_SERVES = "cueapi_notice", 30
"""The cookie of a notice, and the seconds for which it waits for its page."""

PLACES = (
    ("Now", "/ui"),
    ("Cues", "/ui/cues"),
    ("Executions", "/ui/executions"),
    ("Workers", "/ui/workers"),
    ("Alerts", "/ui/alerts"),
    ("Problems", "/ui/incidents"),
    ("Account", "/ui/account"),
    ("System", "/ui/system"),
)
"""The navigation."""

ACCOUNT_PLACES = (
    ("Account", "/ui/account"),
    ("Keys", "/ui/account/keys"),
    ("Budgets", "/ui/account/budgets"),
    ("Audit", "/ui/account/audit"),
)
"""What stands beside the page of the account."""

PROBLEMS = (
    ("Incidents", "/ui/incidents"),
    ("Dead letters", "/ui/dead"),
    ("Operations", "/ui/operations"),
    ("Targets", "/ui/targets"),
    ("Channels", "/ui/channels"),
    ("Mutes", "/ui/mutes"),
)
"""The pages below "Problems", which is the first of them."""


@frozen
class Undo:
    """The button of a notice that takes back what was done: its label, and the path that its form is sent to."""

    label: str
    path: str


@frozen
class Rendering:
    """
    Renders the templates of the dashboard.

    *root* is the path of BASE_URL; *secure* says whether the server is reached by https.
    """

    root: str
    secure: bool
    assets: Assets = field(factory=Assets)
    _templates: Environment = field(init=False)

    @_templates.default
    def _make(self) -> Environment:
        loader = PackageLoader("cueapi.dashboard")
        made = Environment(
            loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
            auto_reload=False, cache_size=400,
        )  # fmt: skip
        made.filters |= {
            "moment": filters.moment,
            "duration": filters.duration,
            "countdown": filters.countdown,
            "number": filters.number,
            "amount": filters.amount,
            "cut": filters.cut,
            "visible": texts.visible,
            "host": texts.host,
            "web_link": texts.web_link,
        }
        made.globals |= {"url": self.url, "asset": self.asset, "FORM_TOKEN": FORM_TOKEN}
        made.globals |= {"places": PLACES, "account_places": ACCOUNT_PLACES, "problem_places": PROBLEMS}
        return made

    def url(self, path: str) -> str:
        """*path* (`/ui/…`) as a browser must ask for it."""
        return self.root + path

    def asset(self, name: str) -> str:
        """Where a static file is."""
        return self.url(self.assets.path(name))

    def render(
        self,
        name: str,
        /,
        session: BrowserSession | None = None,
        status: int = 200,
        **values: Any,  # noqa: ANN401 (whatever a page shows)
    ) -> Response:
        """
        A page, never to be cached. A request with `X-Fragment: 1` gets its main part, and
        what follows around it what happens (macros/frame.html).

        A template extends *layout*, and has the blocks `title` and `main`. It also knows *session*, *here* (the path
        below the root), *address* (that with its query), *notice*, and *form_token*, the hidden field of each form.
        """
        fragment = request.headers.get("X-Fragment") == "1"
        notice = None if fragment or session is None else self._notice(session)
        query = request.query_string.decode("ascii", "ignore")
        common = {
            "layout": "fragment.html" if fragment else "layout.html",
            "session": session,
            "here": request.path,
            "address": f"{request.path}?{query}" if query else request.path,
            "notice": notice,
        }
        text = self._templates.get_template(f"{name}.html").render(common | values)
        response = Response(text, status, HEADERS, content_type="text/html; charset=utf-8")
        if notice is not None:
            response.delete_cookie(NOTICE, path=self.root or "/")
        return response

    def see_other(self, path: str) -> Response:
        """303: the browser goes on with a GET of *path*."""
        response = redirect(self.url(path), 303)
        response.headers["Cache-Control"] = "no-store"
        return response  # type: ignore[return-value] # werkzeug's annotation names its own class

    def back(self, path: str, notice: str, undo: Undo | None = None) -> Response:
        """After an action: 303 to *path*, whose page says *notice* once."""
        session: BrowserSession = g.session
        said = {"text": notice[:500], "undo": None if undo is None else {"label": undo.label, "path": undo.path}}
        text = urlsafe_b64encode(json.dumps(said, ensure_ascii=False).encode()).decode()
        response = self.see_other(path)
        response.set_cookie(
            NOTICE, f"{text}.{session.sign(text)}", max_age=NOTICE_SERVES, path=self.root or "/", secure=self.secure,
            httponly=True, samesite="Lax",
        )  # fmt: skip
        return response

    def _notice(self, session: BrowserSession) -> dict[str, Any] | None:
        """The notice that waits for this session; None where there is none, or where it is none of this session's."""
        text, _, signature = request.cookies.get(NOTICE, "").partition(".")
        if not text or not compare_digest(signature.encode(), session.sign(text).encode()):
            return None
        notice: dict[str, Any] = json.loads(urlsafe_b64decode(text))
        return notice
