"""Which routes ask for no key, and how much a request may bring."""

ANYONE = {
    "accounts.register",
    "devices.begin",
    "devices.submit",
    "devices.poll",
    "devices.show_code",
    "devices.submit_form",
    "magic_links.show_link",
    "magic_links.approve",
    "address_links.show",
    "address_links.confirm",
    "channel_links.show",
    "channel_links.confirm",
    "sessions.begin",
    "echo.store",
    "info.show",
    "dashboard.ui.sign_in.enter",
}
"""Endpoints that ask for no key."""

BY_TOKEN = frozenset(f"reports.{name}" for name in ("report", "show", "succeed", "fail", "exit", "heartbeat"))
"""Endpoints that ask for the token in their path, which they read themselves, and count only those who send none."""

LIMITED = ("/v1/", "/auth/")
"""Paths below which requests are counted, and all but ANYONE and BY_TOKEN ask for a key."""

KIB = 1024
BODY_LIMIT, BODY_LIMIT_WITHOUT_KEY = 1024 * KIB, 16 * KIB
"""The most bytes of a request's body, where a key is asked for and where none is."""

BODY_LIMITS = dict.fromkeys(("echo.store", *BY_TOKEN), 256 * KIB)
"""Endpoints that take another number of bytes."""

SIGNED_IN = "dashboard.ui."
"""Endpoints of pages, whose forms are read only where a session sends them."""

CUE_FORM = "dashboard.ui.cue_form."
"""Those whose form has a payload; a form of any other page has room for a thousand selected rows."""

BODY_LIMIT_OF_FORMS = 64 * KIB


def body_limit(endpoint: str | None, path: str) -> int:
    """The most bytes of a body that a route takes: one that is read for anyone takes little."""
    name = endpoint or ""
    if not name or name in ANYONE or (not path.startswith(LIMITED) and not name.startswith(SIGNED_IN)):
        return BODY_LIMITS.get(name, BODY_LIMIT_WITHOUT_KEY)
    if name.startswith(SIGNED_IN) and not name.startswith(CUE_FORM):
        return BODY_LIMIT_OF_FORMS
    return BODY_LIMITS.get(name, BODY_LIMIT)
