"""The whole machine: all rules, and several things at once, of which nobody knows which comes first."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.machine.cues import in_an_hour
from tests.machine.daemons import Question
from tests.machine.executions import WHICH, ExecutionRules
from tests.machine.seen import Row

DEEDS: dict[str, tuple[str, str, Any]] = {
    "fire": ("POST", "/v1/cues/{cue}/fire", {}),
    "fire later": ("POST", "/v1/cues/{cue}/fire", {"send_at": "in an hour"}),
    "pause": ("PATCH", "/v1/cues/{cue}", {"status": "paused"}),
    "resume": ("PATCH", "/v1/cues/{cue}", {"status": "active"}),
    "put off": ("PATCH", "/v1/cues/{cue}", {"schedule": {"type": "once", "at": "in an hour"}}),
    "delete": ("DELETE", "/v1/cues/{cue}", None),
    "claim": ("POST", "/v1/executions/{execution}/claim", {"worker_id": "w1"}),
    "claim next": ("POST", "/v1/worker/heartbeat", {"worker_id": "w2", "claim": 3}),
    "report success": ("POST", "/v1/executions/{execution}/outcome", {"success": True}),
    "report failure": ("POST", "/v1/executions/{execution}/outcome", {"success": False}),
    "replay": ("POST", "/v1/executions/{execution}/replay", {}),
}
REFUSALS = {
    "cue_not_found",
    "execution_not_found",
    "claim_failed",
    "outcome_already_recorded",
    "execution_in_flight",
    "invalid_schedule",
    "invalid_state",
}


class Machine(ExecutionRules):
    """Everything that can happen to a user's cues and executions."""

    @rule(
        cue=ExecutionRules.cues,
        which=WHICH,
        deeds=st.lists(st.sampled_from(list(DEEDS)), min_size=2, max_size=5),
        due=st.booleans(),
    )
    def rush(self, cue: str, which: int, deeds: list[str], due: bool) -> None:
        """*due*: and meanwhile its time comes."""
        row = self.pick(which, lambda one: one["cue_id"] == cue)
        assert row is not None
        if not self.has_many():
            deeds = [deed for deed in deeds if deed != "delete"]
        self.story.append(f"at once{', and it is due' if due else ''}:")
        if due:
            self.run(self.stage.make_due, cue, 0.0)
        self.told.forget_streak(cue)
        reports = [f"report {next(self.numbers)}" for _ in deeds]
        questions = [_question(deed, cue, row, name) for deed, name in zip(deeds, reports, strict=True)]
        for deed, name, answer in zip(deeds, reports, self.ask_at_once(*questions), strict=True):
            if answer.status < 300:
                self._note(deed, cue, row, name)
            else:
                assert answer.code in REFUSALS, (deed, answer)

    def _note(self, deed: str, cue: str, row: Row, name: str) -> None:
        """What was accepted has happened."""
        if deed.startswith("fire"):
            self.told.fires[cue] += 1
        elif deed == "replay":
            self.told.replays[row["cue_id"]] += 1
        elif deed == "delete":
            self.told.deleted.add(cue)
        elif deed.startswith("report"):
            self.told.reports.add(name)


def _question(deed: str, cue: str, row: Row, report: str) -> Question:
    method, path, body = DEEDS[deed]
    if deed == "fire later":
        body = {"send_at": in_an_hour()}
    elif deed == "put off":
        body = {"schedule": {"type": "once", "at": in_an_hour()}}
    elif deed.startswith("report"):
        body = body | {"result": report}
    return Question(method, path.format(cue=cue, execution=row["id"]), body)
