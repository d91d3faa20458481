"""The ledger: what one account was promised, and what was in flight each time that something was broken."""

from collections import Counter
from datetime import datetime
from typing import Any, TypeAlias

from attrs import define, field, frozen

Try: TypeAlias = tuple[str, int]
"""An execution and the number of one of its tries."""

EMAIL = "you@example.com"


@frozen(eq=False)
class Kind:
    """A cue by what its handler does: what its executions come to, and after how many tries."""

    name: str
    status: str
    tries: frozenset[int]
    fields: dict[str, Any] = field(factory=dict)


AT_ONCE = {"backoff_minutes": [0]}
DONE = Kind("done", "success", frozenset({1}))
SLOW = Kind("slow", "success", frozenset({1}))
# A first answer that nobody heard is used up all the same.
FLAKY = Kind("flaky", "success", frozenset({1, 2}), {"retry": AT_ONCE | {"max_attempts": 4}})
FAILING = Kind("failing", "failed", frozenset({3}), {"retry": AT_ONCE | {"max_attempts": 3}})
HANGING = Kind(
    "hanging",
    "failed",
    frozenset({2}),
    {"retry": AT_ONCE | {"max_attempts": 2}, "delivery": {"timeout_seconds": 1}},
)


@define(eq=False)
class Ledger:
    """
    Everything that was answered with success; what was refused, by its code; and the faults.

    A fault is what was in flight in that moment: each of these tries may have been seen once more.
    """

    email: str = EMAIL
    cues: dict[str, Kind] = field(factory=dict)
    fires: dict[str, str] = field(factory=dict)
    """Executions by hand, each with its cue."""

    once: dict[str, datetime] = field(factory=dict)
    """One-time cues, each with its time."""

    minutely: dict[str, datetime] = field(factory=dict)
    """Cues that fire every minute, each with the moment of its creation."""

    refused: Counter[str] = field(factory=Counter)
    faults: list[frozenset[Try]] = field(factory=list)
