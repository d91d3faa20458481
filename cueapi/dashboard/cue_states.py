"""How a cue stands, in a sign, a word and a reason."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from attrs import frozen

from cueapi.dashboard.actors import StatusChange, paused_by
from cueapi.dashboard.cue_history import Ended
from cueapi.dashboard.states import state_of
from cueapi.domain.errors import Refusal
from cueapi.domain.schedule_words import schedule_in_words
from cueapi.domain.zone import check_timezone

LATE = timedelta(minutes=1)
"""A cue that is due for so long and has not fired is late."""


class Kept(StatusChange, Protocol):
    """What the state of a cue follows from."""

    @property
    def status(self) -> str:
        """As the contract has it."""
        ...

    @property
    def warning(self) -> str | None:
        """What keeps its executions from their handler, or why it was paused."""
        ...

    @property
    def consecutive_failures(self) -> int:
        """Executions that have failed in a row."""
        ...

    @property
    def next_run(self) -> datetime | None:
        """When it fires next."""
        ...

    @property
    def now(self) -> datetime:
        """When it was read."""
        ...


class Scheduled(Protocol):
    """What a cue's schedule is stored as."""

    @property
    def cron(self) -> str | None:
        """None where it fires once."""
        ...

    @property
    def schedule_at(self) -> datetime | None:
        """When it fires once."""
        ...

    @property
    def timezone(self) -> str:
        """Its zone."""
        ...


@frozen
class CueState:
    """A sign of the dashboard, the word beside it, and why."""

    sign: str
    word: str
    why: str | None = None


def cue_state(cue: Kept, newest: Sequence[Ended]) -> CueState:
    """How *cue* stands, by itself and by its *newest* executions, the newest first."""
    resting = {
        "paused": CueState("paused", "paused", paused_by(cue) or cue.warning or "Paused."),
        "completed": CueState("succeeded", "done", cue.warning),
        "failed": CueState("failed", "set aside" if cue.warning else "failed", cue.warning),
    }
    if cue.status == "completed" and newest and state_of(newest[0]).sign == "failed":
        # Its work came, and was not found good: that is no "done".
        return CueState("failed", state_of(newest[0]).word, cue.warning)
    if cue.status in resting:
        return resting[cue.status]
    if cue.consecutive_failures and not _is_well_again(newest):
        return CueState("failed", "failing", _failures(cue.consecutive_failures))
    if cue.next_run is not None and cue.now - cue.next_run > LATE:
        return CueState("missed", "late", "Its time has come, and it has not fired yet.")
    if not newest:
        return CueState("waiting", "waiting", cue.warning)
    state = state_of(newest[0])
    return CueState(state.sign, "fine" if state.sign == "succeeded" else state.word, cue.warning)


def schedule_words(cue: Scheduled) -> str:
    """The schedule of *cue* in words; where its zone, or its cron, is not known any more, that."""
    try:
        return schedule_in_words(cue.cron, cue.schedule_at, check_timezone(cue.timezone))
    except Refusal as refused:
        return refused.message


def _is_well_again(newest: Sequence[Ended]) -> bool:
    """Whether its handler has taken its last work: an outcome that is not known leaves the failures in a row."""
    last = next((one for one in newest if one.finished_at is not None), None)
    return last is not None and state_of(last).sign == "succeeded"


def _failures(number: int) -> str:
    return "The last execution failed." if number == 1 else f"{number} executions have failed in a row."
