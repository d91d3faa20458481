"""
Whom the Host header may name. A web page cannot choose it: its browser sends the page's own name.

A page whose name leads to 127.0.0.1 (DNS rebinding) counts as of one origin with a server there: it could call the API
and read the answers, as if it were a program of the same machine.
"""

import re

from attrs import frozen

from cueapi.domain.address import is_loopback

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^\s:/?#@\[\]]+)(:[0-9]*)?")


@frozen
class Hosts:
    """The names by which the server may be called, in lower case, beside those of loopback; None: any."""

    names: frozenset[str] | None = None

    def allow(self, header: str) -> bool:
        """Whether a Host header is right, on any port. An empty one, as of HTTP/1.0, names no page."""
        if self.names is None or not header:
            return True
        found = _HOST.fullmatch(header)
        if found is None:
            return False
        name = found["name"].lower().removesuffix(".")
        return name in self.names or is_loopback(name.strip("[]"))
