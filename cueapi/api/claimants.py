"""Which worker claims: the one that the body names, else that of the header."""

from cueapi.api.http.parameters import HeaderText
from cueapi.domain.errors import Invalid, Problem

LONGEST = 255
"""Characters of a worker's name."""

CLAIMANT = HeaderText("X-Worker-Id", "The worker, where the body does not name it.")


def worker_named(given: str | None) -> str:
    """The worker that the body names (*given*), else the header; `default` where neither does."""
    worker = given or CLAIMANT.read() or "default"
    if len(worker) > LONGEST:
        raise Invalid(Problem(f"header.{CLAIMANT.name}", f"may have {LONGEST} characters"))
    return worker
