"""What the machine knows from the answers that it was given and from every step so far; and what must follow."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from attrs import define, field

from tests.machine.cue_law import wrong_cue, wrong_queue, wrong_way
from tests.machine.law import UNCLAIMED, alert_of, breaches, effect_of, is_unreported, standing
from tests.machine.seen import Row, Seen, Transition, brief, moment


@define(eq=False)
class Told:
    """Grows with each answer, and with each look."""

    fires: Counter[str] = field(factory=Counter)
    replays: Counter[str] = field(factory=Counter)
    tries: defaultdict[str, set[int]] = field(factory=lambda: defaultdict(set))
    reports: set[str] = field(factory=set)
    deleted: set[str] = field(factory=set)
    claims: Counter[str] = field(factory=Counter)
    _recorded: Counter[str] = field(factory=Counter)
    _said: Counter[str] = field(factory=Counter)
    _streaks: dict[str, int | None] = field(factory=dict)

    def complaints(self, before: Seen | None, seen: Seen) -> Iterator[str]:
        """What is wrong with *seen*, and with the way to it from the look *before*."""
        for step in seen.steps:
            yield from (f"{what}: {step}" for what in breaches(step))
            yield from (f"{what}: {step}" for what in self._wrong_end(step, seen))
        for row in seen.executions.values():
            yield from (f"{what}: {brief(row)}" for what in standing(row))
            if seen.tries.get(row["id"], []) != list(range(1, row["attempts"] + (row["claim"] is None))):
                yield f"the log has the tries {seen.tries.get(row['id'])}: {brief(row)}"
            if row["attempts"] > max(self.tries[row["cue_id"]]):
                yield f"more tries than {self.tries[row['cue_id']]}: {brief(row)}"
        self._count(seen)
        yield from self._wrong_counts(seen)
        yield from self._wrong_reports()
        yield from self._wrong_streaks(seen)
        yield from wrong_queue(seen)
        for cue in seen.cues.values():
            yield from (f"{what}: {cue}" for what in self._wrong_cue(cue, before, seen))

    def _wrong_cue(self, cue: Row, before: Seen | None, seen: Seen) -> Iterator[str]:
        yield from self._wrong_fires(cue, seen)
        if cue["deleted_at"] is None:
            yield from wrong_cue(cue, seen)
        if before is not None and cue["id"] in before.cues:
            yield from wrong_way(cue, before, seen)

    def _wrong_end(self, step: Transition, seen: Seen) -> Iterator[str]:
        """Tries left, or none; and somebody is told."""
        if step.before is None:
            return
        before, after = step.before, step.after
        tries = self.tries[after["cue_id"]]
        failed = before["status"] in {"delivering", "success"} and after["status"] in {"failed", "outcome_timeout"}
        for_good = after["http_status"] == 410 or (step.reported and "for good" in after["outcome_result"])
        if failed and after["attempts"] < min(tries) and not for_good:
            yield f"it failed with tries left of {tries}"
        if before["attempts"] == after["attempts"] >= max(tries) and after["status"] == "retrying" != before["status"]:
            yield f"no try is left of {tries}"
        if after["http_status"] == 410 != before["http_status"] and after["status"] == "retrying":
            yield "what is gone is not tried again"
        if (alert := alert_of(step)) and seen.lives(after) and not _is_told(alert, after, seen):
            yield f"nobody is told of {alert}"

    def _count(self, seen: Seen) -> None:
        for step in seen.steps:
            if step.after["claim"] is not None and step.after["claim"] != (step.before or {}).get("claim"):
                self.claims[step.after["id"]] += 1
            if step.reported:
                self._recorded["succeeded" if step.after["outcome_success"] else "failed"] += 1
                self._said[step.after["outcome_result"]] += 1

    def _wrong_counts(self, seen: Seen) -> Iterator[str]:
        counted = {"executions": len(self.claims), "reported": self._recorded.total(), **self._recorded}
        wrong = {name: number for name, number in counted.items() if seen.usage[name] != number}
        if wrong:
            yield f"usage is {seen.usage}, and {wrong} happened"
        live = [one for one in seen.cues.values() if one["deleted_at"] is None]
        if seen.live_cues != sum(one["status"] in {"active", "paused"} for one in live):
            yield f"live_cues is {seen.live_cues}: {live}"

    def _wrong_reports(self) -> Iterator[str]:
        """Accepted: recorded once; refused: not at all."""
        for name, times in self._said.items():
            if name and name.startswith("report") and (times, name in self.reports) != (1, True):
                yield f"{name} was recorded {times} times; accepted were {self.reports}"
        if lost := self.reports - self._said.keys():
            yield f"accepted and lost: {lost}"

    def _wrong_streaks(self, seen: Seen) -> Iterator[str]:
        """A row of failures grows with each, and ends with a success; None where one statement wrote both."""
        moves: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        for step in seen.steps:
            if (effect := effect_of(step)) is not None:
                moves[step.after["cue_id"], step.moved].append(effect)
        for (cue, _), effects in moves.items():
            former = self._streaks.get(cue, 0)
            if set(effects) == {0}:
                self._streaks[cue] = 0
            else:
                self._streaks[cue] = None if 0 in effects or former is None else former + len(effects)
        for cue in seen.cues.values():
            consecutive_failures = self._streaks.get(cue["id"], 0)
            if consecutive_failures not in {None, cue["consecutive_failures"]} and cue["deleted_at"] is None:
                yield f"{consecutive_failures} failures in a row: {cue}"

    def forget_streak(self, cue: str) -> None:
        """It may have been ended by a hand."""
        self._streaks[cue] = None

    def _wrong_fires(self, cue: Row, seen: Seen) -> Iterator[str]:
        made = Counter(one["triggered_by"] for one in seen.of(cue["id"]))
        told = self.fires[cue["id"]], self.replays[cue["id"]]
        if (made["manual_fire"], made["replay"]) != told:
            yield f"made {made}; fired by hand and replayed {told} times"


def _is_told(alert: str, execution: Row, seen: Seen) -> bool:
    subject = "cue_id" if alert == "missed_run" else "execution_id"
    of_it = execution["cue_id"] if alert == "missed_run" else execution["id"]
    return any((one["alert_type"], one[subject]) == (alert, of_it) for one in seen.alerts)


def overdue(seen: Seen) -> list[Row]:
    """What has been waited for long enough: it is taken back, or missed, at the next look of a rescue."""
    return [one for one in seen.executions.values() if any(_too_late(one, seen))]


def _too_late(row: Row, seen: Seen) -> Iterator[bool]:
    held = (row["transport"], row["status"])
    if held in {("webhook", "success"), ("worker", "delivering")} and is_unreported(row):
        yield _past(row["outcome_deadline_at"], seen)
    if held == ("worker", "delivering"):
        heard_of = seen.heard_of.get(row["claimed_by_worker"])
        silent = heard_of is None or _past(heard_of, seen, 180)
        yield silent and _past(row["lease_until"], seen)
    if held in {("worker", "pending"), ("worker", "retrying")} and seen.lives(row):
        yield _past(row["ready_at"], seen, UNCLAIMED)
    if row["id"] in seen.outbox:
        yield _past(seen.outbox[row["id"]]["lease_until"], seen)


def _past(text: str | None, seen: Seen, seconds: float = 0.0) -> bool:
    return text is not None and (seen.now - moment(text)).total_seconds() > seconds
