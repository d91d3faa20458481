"""What every rule of the machine needs: to ask, to look, to wait; and the law, which holds at each look."""

import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import count
from time import monotonic
from typing import Any, TypeVar

import trio
from hypothesis.stateful import RuleBasedStateMachine, invariant

from tests.machine.daemons import PATIENCE, Answer, Question
from tests.machine.law import is_unreported
from tests.machine.seen import FINAL, Row, Seen, Transition, brief, moment
from tests.machine.stage import Stage
from tests.machine.told import Told, overdue
from tests.process import LOOK

T = TypeVar("T")
_users = count(1)

LONG = 20_000.0
"""Seconds after which nothing waits any more: more than every deadline, lease, pause and `send_at`."""

ROUNDS = 12
"""How often so much time passes at most until all has ended."""


class Playing(RuleBasedStateMachine):
    """A user at a daemon. Runs in a thread; what it does happens in the Trio run that has sent it there."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage
        self.key, self.user = self.run(stage.newcomer, next(_users))
        self.told = Told()
        self.seen: Seen | None = None
        self.reports: dict[str, Transition] = {}
        self.numbers = count(1)
        self.story: list[str] = []

    def run(self, happens: Callable[..., Awaitable[T]], *values: Any) -> T:
        """Have it happen."""
        return trio.from_thread.run(happens, *values)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Ask as this user."""
        (answer,) = self.ask_at_once(Question(method, path, body, headers))
        return answer

    def ask_at_once(self, *questions: Question) -> list[Answer]:
        """Their answers, in the order of the questions."""
        answers = self.run(self.stage.ask, self.key, *questions)
        for question, answer in zip(questions, answers, strict=True):
            self.story.append(f"{question}: {answer}")
        return answers

    def look(self) -> Seen:
        """See how things stand. Nothing may be wrong with it, nor with any step since the last look."""
        before, self.seen = self.seen, self.run(self.stage.look, self.user)
        for step in self.seen.steps:
            self.story.append(f"    {step}")
            if step.reported:
                self.reports[step.after["outcome_result"]] = step
        complaints = list(self.told.complaints(before, self.seen))
        assert not complaints, "\n".join(complaints)
        return self.seen

    def look_until(self, fact: Callable[[Seen], bool]) -> Seen:
        """Look until *fact* is true."""
        patience = monotonic() + PATIENCE
        while not fact(seen := self.look()):
            assert monotonic() < patience, f"it never happens: {[*seen.outbox.values(), *overdue(seen)]}"
            self.run(trio.sleep, LOOK)
        return seen

    def settle(self) -> Seen:
        """Return when no delivery is due or under way."""
        return self.look_until(lambda seen: not any(_is_due(one, seen) for one in seen.outbox.values()))

    def pass_time(self, seconds: float) -> Seen:
        """So many seconds pass, and what is overdue is taken back."""
        self.story.append(f"{seconds} s pass")
        self.run(self.stage.pass_time, self.user, seconds)
        return self.look_until(lambda seen: not overdue(seen))

    def pick(self, which: int, rather: Callable[[Row], bool]) -> Row | None:
        """An execution: 0 is the newest, those that *rather* is true of before the others."""
        newest = list(self.look().executions.values())[::-1]
        known = sorted(newest, key=lambda one: not rather(one))
        return known[which % len(known)] if known else None

    def since(self, row: Row) -> list[Row]:
        """The execution as it stood at the look before the last one, and after each step since then."""
        assert self.seen is not None
        return [row, *(step.after for step in self.seen.steps if step.after["id"] == row["id"])]

    def is_gone(self, execution: Row) -> bool:
        """True where its cue was deleted."""
        return execution["cue_id"] in self.told.deleted

    @invariant()
    def the_law_holds(self) -> None:
        """In PostgreSQL."""
        self.look()

    @invariant()
    def the_api_shows_what_is_there(self) -> None:
        """Rows that nobody has touched between the two looks are shown as they stand; deleted ones are not."""
        (answer,) = self.run(self.stage.ask, self.key, Question("GET", "/v1/executions?limit=100"))
        seen = self.look()
        shown = {one["id"]: one for one in answer.body["executions"]}
        assert answer.status == 200
        assert shown.keys() <= {one["id"] for one in seen.executions.values() if not self.is_gone(one)}
        for one in shown.values():
            row = seen.executions[one["id"]]
            if moment(one["updated_at"]) == moment(row["updated_at"]):
                assert _as_shown(one) == _as_stored(row), (one, row)
                assert (one["outcome"] is None) == (row["outcome_recorded_at"] is None), (one, row)
                assert (one["next_retry"] is None) == (row["status"] != "retrying"), (one, row)

    def teardown(self) -> None:
        """Nothing is lost: after long enough all has ended, and nobody has fallen."""
        if (wrong := sys.exc_info()[1]) is not None:
            self._tell(wrong)
            return
        try:
            self._end()
        except BaseException as wrong:
            self._tell(wrong)
            raise

    def _tell(self, wrong: BaseException) -> None:
        """What happened is told at once: a race may never come again."""
        wrong.add_note("\n".join(self.story))

    def _end(self) -> None:
        for cue in self._live():
            if cue["status"] == "active":
                self.ask("PATCH", f"/v1/cues/{cue['id']}", {"status": "paused"})
        for _ in range(ROUNDS):
            seen = self.settle()
            if all(_is_over(one, seen) for one in seen.executions.values()):
                break
            self.pass_time(LONG)
        else:
            raise AssertionError("it never ends")
        self._end_well()

    def _live(self) -> list[Row]:
        return [one for one in self.look().cues.values() if one["deleted_at"] is None]

    def _end_well(self) -> None:
        usage = self.ask("GET", "/v1/usage").body
        seen = self.look()
        arrived = Counter(one.header("x-cueapi-execution-id") for one in self.stage.receiver.requests)
        for row in seen.executions.values():
            assert arrived[row["id"]] <= self.told.claims[row["id"]], f"sent {arrived[row['id']]} times: {brief(row)}"
            assert arrived[row["id"]] or row["http_status"] is None, f"never sent: {brief(row)}"
        assert usage["executions"]["used"] == seen.usage["executions"]
        assert usage["outcomes"] == {name: seen.usage[name] for name in ("reported", "succeeded", "failed")}
        for daemon in self.stage.daemons:
            siblings = self.ask("GET", "/health").body["siblings"]
            assert {(one["state"], one["restarts"]) for one in siblings.values()} == {("running", 0)}
            assert daemon.log("sibling_failed", "request_failed", "result_unstorable") == []
        live = [one["id"] for one in self._live()]
        if live:
            deleted = self.ask("POST", "/v1/cues/bulk-delete", {"ids": live}, X_Confirm_Destructive="true")
            assert sorted(deleted.body["deleted"]) == sorted(live)
            self.told.deleted |= set(live)
        assert self.ask("GET", "/v1/executions").body["total"] == 0
        assert self.look().live_cues == 0


def _is_due(queued: Row, seen: Seen) -> bool:
    return queued["claimed_by"] is not None or moment(queued["ready_at"]) <= seen.now


def _is_over(row: Row, seen: Seen) -> bool:
    """True where nothing more will happen by itself; what a deleted cue has left only has to be let go."""
    if row["status"] not in FINAL:
        return not seen.lives(row) and row["status"] != "delivering"
    return row["status"] != "success" or row["outcome_deadline_at"] is None or not is_unreported(row)


def _as_shown(one: Row) -> tuple[object, ...]:
    status = "retrying" if one["status"] == "retry_ready" else one["status"]
    return status, one["attempts"], one["claimed_by_worker"], one["outcome_success"], one["outcome_state"]


def _as_stored(row: Row) -> tuple[object, ...]:
    return row["status"], row["attempts"], row["claimed_by_worker"], row["outcome_success"], row["outcome_state"]
