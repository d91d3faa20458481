"""
Unknown names. A request that names what a call does not know is refused, with the nearest known name: ignoring a
misspelt name would show a failure as success.
"""

from collections.abc import Collection
from difflib import get_close_matches

MOST_PROBLEMS = 20
"""Wrong names and fields that a refusal tells of: looking for the nearest name takes a while."""

LONGEST = 64
"""Characters of a name for which the nearest known one is looked for: of a mebibyte it would take half a second."""

ALIKE = 0.7
"""How much of two names is the same, by difflib, where one may be meant by the other: below it lie cron and reason."""

SENT_WITHOUT_MEANING: frozenset[str] = frozenset()
"""
Parameters and fields that published clients send and no call needs, each with its client: they are ignored.

None so far: all that `cueapi` (to 0.2.0), `cueapi-sdk` (to 0.1.3) and `cueapi-worker` (to 0.3.0) send has a meaning.
"""


def unknown_name(what: str, name: str, known: Collection[str]) -> str:
    """The sentence about an unknown *name* of a *what*, a field or a parameter."""
    nearest = get_close_matches(name.lower(), known, n=1, cutoff=ALIKE) if len(name) <= LONGEST else []
    if nearest:
        return f"unknown {what}: did you mean `{nearest[0]}`?"
    names = ", ".join(f"`{one}`" for one in sorted(known))
    return f"unknown {what}; known are {names}" if known else f"unknown {what}; this call takes none"
