"""What one daemon knows of the targets that are not closed, or begin slowly: hints, which the rows replace."""

from collections.abc import Iterable, Iterator
from math import inf

from attrs import define, field

from cueapi.domain.breaker import RULES, BreakerRules, TargetState
from cueapi.storage.targets import HeldTarget, TargetKey


@define(eq=False)
class _Known:
    """One target. *moment*: of its next probe, or, where it is closed, of its closing."""

    state: TargetState
    moment: float
    noted_at: float = -inf
    """When its row was written by this daemon: what was asked for before does not say so yet."""
    is_awaited: bool = True
    """False where nothing waits for it, as its row or a claim has said; until the next look."""


@define(eq=False)
class HeldTargets:
    """Which targets may be probed, or claimed from slowly; a daemon makes *most* attempts at one host at once."""

    most: int
    rules: BreakerRules = RULES
    _known: dict[TargetKey, _Known] = field(init=False, factory=dict)

    def renew(self, rows: Iterable[HeldTarget], asked_at: float, now: float) -> list[TargetKey]:
        """Go by what the *rows* say, asked for at *asked_at*; which targets have closed since."""
        before = self._known
        told = {TargetKey(row.user_id, row.host): _of(row, now) for row in rows if row.user_id is not None}
        self._known = told | {target: known for target, known in before.items() if known.noted_at >= asked_at}
        return [
            target
            for target, known in before.items()
            if known.state != TargetState.CLOSED
            and (target not in self._known or self._known[target].state == TargetState.CLOSED)
        ]

    def is_down(self, target: TargetKey) -> bool:
        """Whether it is known to be open, or probed."""
        return target in self._known and self._known[target].state != TargetState.CLOSED

    def note_opening(self, target: TargetKey, probe_at: float) -> None:
        """It is about to be opened: whatever rows say, until `note_opened` or `forget` follows."""
        self._known[target] = _Known(TargetState.OPEN, probe_at, inf)

    def note_opened(self, target: TargetKey, now: float) -> None:
        """Its row has been written by *now*."""
        if target in self._known:
            self._known[target].noted_at = now

    def forget(self, target: TargetKey) -> None:
        """Nothing is known of it."""
        self._known.pop(target, None)

    def note_unawaited(self, target: TargetKey) -> None:
        """It is being probed, or nothing waits for it: there is nothing to do until the next look."""
        if target in self._known:
            self._known[target].is_awaited = False

    def to_probe(self, now: float) -> list[TargetKey]:
        """Those whose pause is over."""
        return [
            target
            for target, known in self._known.items()
            if known.state != TargetState.CLOSED and known.is_awaited and known.moment <= now
        ]

    def starting(self, now: float) -> list[tuple[TargetKey, int]]:
        """Those that have closed, and how many attempts each may have under way."""
        return [
            (target, self.rules.places(now - known.moment, self.most))
            for target, known in self._known.items()
            if known.state == TargetState.CLOSED
        ]

    def next_moment(self, now: float) -> float:
        """When there is something to do: a probe of what is awaited, or some more places."""
        return min(self._moments(now), default=inf)

    def _moments(self, now: float) -> Iterator[float]:
        for known in self._known.values():
            if known.state != TargetState.CLOSED:
                if known.is_awaited and known.moment > now:
                    yield known.moment
            else:
                step = self.rules.doubling
                yield known.moment + step * (max(now - known.moment, 0.0) // step + 1)


def _of(row: HeldTarget, now: float) -> _Known:
    state = TargetState(row.state)
    match state:
        case TargetState.CLOSED:
            return _Known(state, now - row.closed_for)
        case TargetState.HALF_OPEN:
            # A probe that has lost its claim is followed by another one at once.
            return _Known(state, inf if row.is_probed else now, is_awaited=row.is_awaited)
        case TargetState.OPEN:
            return _Known(state, now + row.due_in, is_awaited=row.is_awaited)
