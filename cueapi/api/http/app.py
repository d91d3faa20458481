"""The Quart app: what happens before and after every request, and where the resources hang."""

import re
import time
from collections.abc import Callable, Sequence
from random import getrandbits
from typing import Protocol, cast

import structlog
from attrs import field, frozen
from quart import Blueprint, Response, current_app, g, request
from quart_trio import QuartTrio
from structlog.contextvars import bind_contextvars, clear_contextvars

from cueapi.api.http import errors
from cueapi.api.http.auth import Authenticator
from cueapi.api.http.body_budget import BodyBudget
from cueapi.api.http.grants import check_grant
from cueapi.api.http.hosts import Hosts
from cueapi.api.http.incoming import TAKING_BODIES, IncomingBody, incoming
from cueapi.api.http.open_routes import ANYONE, BODY_LIMIT, BY_TOKEN, LIMITED, body_limit
from cueapi.api.http.operations import is_secret, operation_of, refuse_unknown
from cueapi.api.http.quart_app import BODIES, ROOT, AsciiInteger, IncomingRequest, MatchingRule, OneRequest, Rest
from cueapi.api.http.rate_limits import WINDOW, Networks, Windows, client_address, too_many
from cueapi.domain.errors import Refusal
from cueapi.domain.plan import USAGE_WARNING_SHARE
from cueapi.metrics import Metrics
from cueapi.net.shortage import Shortages
from cueapi.storage.accounts import Account
from cueapi.storage.database import Executor

CALLER = "cueapi.caller"
"""
The key of an ASGI scope under which a request that was made in this process says who asks. The server makes the scopes
of all requests from the network, and writes no such key.
"""

NEVER_REFUSED = {"outcomes.report", "executions.heartbeat", "workers.heartbeat"}
"""They count, but a report must not be lost to a limit."""

EXPOSED = (
    "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After, X-Request-Id, "
    "X-CueAPI-Usage-Warning, Idempotent-Replayed"
)

DASHBOARD = "/ui"
"""The path of the pages for people, which know their users by a cookie."""

SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}

# Under no-referrer Chromium sends `Origin: null` with the forms of our own pages.
PAGE_SECURITY = SECURITY | {"Referrer-Policy": "same-origin"}

METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}

CHANGED_BY = {
    "cues": ("cues", "executions"),
    "executions": ("executions", "cues", "workers"),
    "outcomes": ("executions", "cues", "alerts"),
    "reports": ("executions", "cues", "alerts"),
    "operations": ("executions", "cues"),
    "targets": ("executions", "cues"),
    "holds": ("executions", "cues"),
    "budgets": ("cues",),
    "incidents": ("alerts",),
    "channels": ("alerts",),
    "mutes": ("alerts",),
    "workers": ("workers", "executions"),
    "alerts": ("alerts",),
}
"""What those who watch an account are told of, by the resource that a request has changed."""

_REQUEST_ID = re.compile(r"[\x20-\x7e]{1,128}")

log = structlog.get_logger("cueapi.api")


def _tell_no_one(*_: object) -> None:
    """Default callback: do nothing."""


class Caller(Protocol):
    """Who asks in this process."""

    @property
    def account(self) -> Account:
        """Whose request it is."""
        ...

    async def check(self, db: Executor) -> None:
        """Refuse where the account is not open to the caller any more, by what *db* sees."""
        ...


class Resource(Protocol):
    """One noun of the contract."""

    def routes(self) -> Blueprint:
        """Its paths and what answers them."""
        ...


@frozen
class Gate:
    """What every request passes: who asks, and whether too often."""

    authenticator: Authenticator
    windows: Windows
    proxies: Networks
    anonymous_limit: int
    origins: tuple[str, ...]
    metrics: Metrics
    bodies: BodyBudget
    hosts: Hosts
    shortages: Shortages = field(factory=Shortages)
    changed: Callable[..., None] = field(default=_tell_no_one)
    """Told the account, and the topics that a request has changed."""
    used: Callable[..., None] = field(default=_tell_no_one)
    """Told the id of a key, and the address from which it is used."""

    async def enter(self) -> Response | None:
        """Before a request: its id, its user, its limit, and whether the call knows what it names."""
        kept = g._get_current_object()
        kept.begun = time.perf_counter()
        wished = request.headers.get("X-Request-Id")
        # Not a secret, only another one each time.
        kept.request_id = wished if wished and _REQUEST_ID.fullmatch(wished) else f"{getrandbits(128):032x}"
        clear_contextvars()
        bind_contextvars(request_id=kept.request_id)
        if not self.hosts.allow(request.headers.get("Host", "")):
            raise Refusal(
                "misdirected_request", "Host names another server; the operator can allow it by ALLOWED_HOSTS."
            )
        if request.method == "OPTIONS" and request.url_rule is not None:
            # Also a preflight of CORS; what is allowed is told by the headers.
            allowed = current_app.url_map.bind("").allowed_methods(request.path)
            return Response(b"", 204, {"Allow": ", ".join(sorted(allowed))})
        body = incoming()
        body.allow(body_limit(request.endpoint, request.path))
        if request.routing_exception is None:
            await self._check_call(body)
        return None

    async def _check_call(self, body: IncomingBody) -> None:
        """Who calls, whether the body may come, and whether the call knows what it names."""
        if not request.path.startswith(LIMITED):
            g.address = self._address()
            body.check()
            return
        await self._admit()
        described = operation_of(current_app.view_functions[str(request.endpoint)])
        if request.endpoint not in ANYONE | BY_TOKEN:
            await check_grant(self.authenticator.database, g.account, described, request.view_args)
        body.check()
        if described is not None:
            await refuse_unknown(described)

    async def _admit(self) -> None:
        g.address = self._address()
        if request.endpoint in BY_TOKEN:
            return
        if request.endpoint in ANYONE:
            await self._count(f"address:{g.address}", self.anonymous_limit)
            return
        try:
            g.account = await self._account()
        except Refusal:
            await self._count(f"address:{g.address}", self.anonymous_limit)
            raise
        bind_contextvars(user_id=g.account.id)
        if g.account.actor.kind == "key":
            self.used(g.account.actor.id, g.address)
        free = request.endpoint in NEVER_REFUSED
        await self._count(f"user:{g.account.id}", g.account.limits.requests_per_minute, never_refuse=free)

    async def _account(self) -> Account:
        """Who asks: known to the dashboard by a session, else by the key."""
        caller = cast(Caller | None, request.scope.get(CALLER))
        if caller is not None:
            g.caller = caller
            return caller.account
        return await self.authenticator.account(request.headers.get("Authorization"))

    async def _count(self, key: str, limit: int, *, never_refuse: bool = False) -> None:
        rate_limit = g.rate_limit = await self.windows.count(key, limit, never_refuse=never_refuse)
        if rate_limit.refused:
            raise too_many(limit, WINDOW, rate_limit)

    def _address(self) -> str:
        peer = request.remote_addr
        # A proxy may add a line of its own behind the client's: together they are one list (RFC 9110, 5.2).
        hops = ",".join(request.headers.getlist("X-Forwarded-For"))
        return client_address(peer, hops, self.proxies)

    async def leave(self, response: Response) -> Response:
        """After a request: the headers that every answer has, and one line in the log."""
        kept, headers = g._get_current_object(), response.headers
        headers.add("X-Request-Id", kept.request_id)
        if (rate_limit := kept.get("rate_limit")) is not None:
            headers.add("X-RateLimit-Limit", str(rate_limit.limit))
            headers.add("X-RateLimit-Remaining", str(rate_limit.remaining))
            headers.add("X-RateLimit-Reset", str(int(self.authenticator.clock.timestamp() + rate_limit.retry_after)))
        account = kept.get("account")
        if account is not None and account.executions > USAGE_WARNING_SHARE * account.limits.monthly_executions:
            headers["X-CueAPI-Usage-Warning"] = "approaching_limit"
        # A report by its URL has no account that asks, and says whose it has changed.
        changed = kept.get("reported_for") if account is None else account.id
        if changed is not None and request.method in TAKING_BODIES and response.status_code < 400:
            self.changed(changed, *CHANGED_BY.get(request.blueprint or "", ()))
        is_page = request.path.startswith(DASHBOARD)
        if self.origins and not is_page and (origin := request.headers.get("Origin")) is not None:
            self._allow_origin(origin, response)
        headers.extend(PAGE_SECURITY if is_page else SECURITY)
        if request.endpoint is not None and is_secret(current_app.view_functions[request.endpoint]):
            headers["Cache-Control"] = "no-store"
        if response.status_code == 204:  # RFC 9110, 8.6: an answer without content has no length
            headers.remove("Content-Length")
            headers.remove("Content-Type")
        self._note(response, time.perf_counter() - kept.begun)
        return response

    def _allow_origin(self, origin: str, response: Response) -> None:
        """CORS (Fetch, 3.2): keys travel in a header of the script's, so credentials are never needed."""
        if "*" in self.origins:
            response.headers["Access-Control-Allow-Origin"] = "*"
        elif origin in self.origins:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Allow-Credentials"] = "true"
        if "*" not in self.origins:
            response.headers.add("Vary", "Origin")
        response.headers["Access-Control-Expose-Headers"] = EXPOSED
        if request.method == "OPTIONS":
            response.headers["Access-Control-Allow-Methods"] = "GET, POST, PUT, PATCH, DELETE"
            response.headers["Access-Control-Allow-Headers"] = (
                "Authorization, Content-Type, Idempotency-Key, X-Confirm-Destructive, X-Reason, X-Request-Id, "
                "X-Worker-Id, X-CueAPI-Verify-Echo"
            )
            response.headers["Access-Control-Max-Age"] = "600"

    def _note(self, response: Response, seconds: float) -> None:
        route = "none" if request.url_rule is None else request.url_rule.rule
        # What clients make up must not grow the metrics: anyone may be refused in a dozen ways on each route.
        method = request.method if request.method in METHODS else "other"
        refused_a_stranger = 400 <= response.status_code < 500 and "account" not in g
        self.metrics.answered(method, "none" if refused_a_stranger else route, response.status_code, seconds)
        write_log = log.debug if response.status_code < 400 else log.info
        write_log(
            "request_answered",
            method=method,
            route=route,
            status=response.status_code,
            duration_ms=round(seconds * 1000, 1),
            reason=g.get("put_off"),
        )


def make_app(gate: Gate, resources: Sequence[Resource], root: str = "") -> QuartTrio:
    """The app with its resources, below *root* as well as at `/`; nothing in the contract redirects."""
    app = QuartTrio("cueapi.api", static_folder=None)
    app.url_rule_class = MatchingRule
    app.request_class = IncomingRequest
    app.asgi_http_class = OneRequest
    app.extensions[BODIES], app.extensions[ROOT] = gate.bodies, root
    app.before_request(gate.enter)
    app.after_request(gate.leave)
    app.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = True
    app.url_map.converters |= {"int": AsciiInteger, "path": Rest}
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.url_map.redirect_defaults = False
    errors.install(app, gate.shortages)
    for resource in resources:
        app.register_blueprint(resource.routes())
    return app
