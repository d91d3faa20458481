"""Whether a URL may be called: by its text, and by where its name leads at the moment."""

import trio

from cueapi.dns import NameNotFound, Resolver
from cueapi.domain.target import Rules, Target, check_addresses, check_url

PATIENCE = 5.0
"""Seconds for the look-up when a URL is stored; delivery checks again in any case."""


async def check_reachable(
    url: str, resolver: Resolver, rules: Rules, *, code: str = "invalid_callback_url"
) -> tuple[Target, str | None]:
    """
    The target of *url*, and a warning where its name does not resolve (yet).

    Refuses, under *code*, a URL or an address that is not allowed.
    """
    target = check_url(url, rules, code)
    with trio.move_on_after(PATIENCE):
        try:
            check_addresses(await resolver.resolve(target.host), target, rules, code)
        except NameNotFound:
            return target, f"{target.host} does not resolve yet; each delivery looks again."
        return target, None
    return target, f"{target.host} did not resolve within {PATIENCE:g} s; each delivery looks again."
