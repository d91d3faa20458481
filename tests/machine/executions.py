"""The rules for executions: claimed, reported, judged, replayed; and for time, which passes."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.machine.cues import TASKS, CueRules
from tests.machine.daemons import Answer, Question
from tests.machine.seen import FINAL, WAITING, Row, Seen, moment

WHICH = st.integers(0, 9)
"""0 is the newest."""

WORKERS = st.sampled_from(["w1", "w2"])
WHO = st.sampled_from([None, "w1", "w2"])
SAYS = st.sampled_from(["success", "failure", "failure, for good"])
HANDLERS = st.sampled_from([None, ["a"], ["cue-1", "cue-2"]])


class ExecutionRules(CueRules):
    """What is asked of executions, one thing after the other."""

    @rule(worker=WORKERS, task=st.one_of(st.none(), TASKS))
    def claim_next(self, worker: str, task: str | None) -> None:
        before = self.look()
        answer = self.ask("POST", "/v1/executions/claim", {"worker_id": worker, "task": task})
        seen = self.look()
        left = [
            one
            for one in self._left(before, seen)
            if task in {None, one["task"]} and self._handles(seen.handlers.get(worker, []), one, seen)
        ]
        if answer.status == 200:
            self._claimed_by(worker, [answer.body["execution_id"]], left)
        else:
            assert (answer.status, answer.code, left) == (409, "claim_failed", [])

    @rule(worker=WORKERS, says=SAYS, proof=st.booleans())
    def work(self, worker: str, says: str, proof: bool) -> None:
        """As published workers do."""
        answer = self.ask("POST", "/v1/executions/claim", {"worker_id": worker})
        self.look()
        if answer.status == 200:
            self._claimed_by(worker, [answer.body["execution_id"]], [])
            self._report(answer.body["execution_id"], says, proof, worker)

    @rule(which=WHICH, worker=WORKERS, callers=st.integers(1, 3))
    def claim(self, which: int, worker: str, callers: int) -> None:
        row = self.pick(which, _is_work)
        if row is None:
            return
        before = self.look()
        question = Question("POST", f"/v1/executions/{row['id']}/claim", {"worker_id": worker})
        answers = self.ask_at_once(*[question] * callers)
        seen = self.look()
        won = [answer for answer in answers if answer.status == 200]
        refusal = (404, "execution_not_found") if self.is_gone(row) else (409, "claim_failed")
        assert {(answer.status, answer.code) for answer in answers} <= {(200, ""), refusal}
        assert len(won) <= 1
        if won:
            self._claimed_by(worker, [row["id"]], [])
        else:
            assert row["id"] not in {one["id"] for one in self._left(before, seen)}

    @rule(
        worker=WORKERS,
        claim=st.sampled_from([None, 1, 5]),
        handlers=HANDLERS,
        names=st.sampled_from(["", "none", "one"]),
    )
    def worker_heartbeat(self, worker: str, claim: int | None, handlers: list[str] | None, names: str) -> None:
        before = self.look()
        held = [one for one in before.executions.values() if one["claimed_by_worker"] == worker and one["claim"]]
        body: dict[str, Any] = {"worker_id": worker, "claim": claim, "handlers": handlers}
        named = [one["id"] for one in held[:1]] if names == "one" else []
        body |= {"running": named} if names else {}
        answer = self.ask("POST", "/v1/worker/heartbeat", body)
        seen = self.look()
        assert answer.status == 200
        given = [one["execution_id"] for one in answer.body.get("executions", [])]
        left = [one for one in self._left(before, seen) if self._handles(handlers or [], one, seen)]
        self._claimed_by(worker, given, left)
        assert len(given) <= (claim or 0)
        assert not left or len(given) == (claim or 0)
        for one in held if names else []:
            long_held = (before.now - moment(one["claimed_at"])).total_seconds() > 60
            assert not long_held or one["id"] in named or one["claim"] != seen.executions[one["id"]]["claim"]

    def _left(self, before: Seen, seen: Seen) -> list[Row]:
        """What could be claimed all the time, and was not touched."""
        touched = {step.after["id"] for step in seen.steps}
        return [one for one in before.executions.values() if before.claimable(one) and one["id"] not in touched]

    def _handles(self, handlers: list[str], execution: Row, seen: Seen) -> bool:
        return not handlers or execution["task"] in handlers or seen.cue_of(execution)["name"] in handlers

    def _claimed_by(self, worker: str, given: list[str], left: list[Row]) -> None:
        """The worker has them, by one claim each; what it could have had instead is not older."""
        assert self.seen is not None
        claims = [
            step for step in self.seen.steps if step.after["id"] in given and step.after["status"] == "delivering"
        ]
        assert sorted(step.after["id"] for step in claims) == sorted(given)
        assert {step.after["claimed_by_worker"] for step in claims} <= {worker}
        for step in claims:
            assert all(_age(step.after) < _age(one) for one in left), (step.after, left)

    @rule(task=st.one_of(st.none(), TASKS))
    def list_work(self, task: str | None) -> None:
        before = self.look()
        answer = self.ask("GET", "/v1/executions/claimable" + (f"?task={task}" if task is not None else ""))
        seen = self.look()
        if task == "":
            # It would ask for all.
            assert (answer.status, answer.code) == (422, "validation_error")
            return
        listed = [one["execution_id"] for one in answer.body["executions"]]
        left = [one["id"] for one in self._left(before, seen) if task in {None, one["task"]}]
        assert set(left[:50]) <= set(listed)
        assert not self.told.deleted & {one["cue_id"] for one in answer.body["executions"]}

    @rule(which=WHICH, who=WHO)
    def execution_heartbeat(self, which: int, who: str | None) -> None:
        row = self.pick(which, _is_held)
        if row is None:
            return
        headers = {} if who is None else {"X_Worker_Id": who}
        answer = self.ask("POST", f"/v1/executions/{row['id']}/heartbeat", {}, **headers)
        self.look()
        held = [one for one in self.since(row) if one["transport"] == "worker" and one["status"] == "delivering"]
        reasons = {
            (200, ""): any(who in {None, one["claimed_by_worker"]} for one in held),
            (403, "not_execution_owner"): any(who not in {None, one["claimed_by_worker"]} for one in held),
            (409, "execution_not_claiming"): len(held) < len(self.since(row)),
        }
        self._answered(row, answer, reasons)

    @rule(which=WHICH, says=SAYS, proof=st.booleans(), who=WHO, callers=st.integers(1, 2))
    def report(self, which: int, says: str, proof: bool, who: str | None, callers: int) -> None:
        row = self.pick(which, _is_open)
        if row is not None:
            self._report(row["id"], says, proof, who, callers)

    def _report(self, execution: str, says: str, proof: bool, who: str | None, callers: int = 1) -> None:
        row = self.look().executions[execution]
        headers = {} if who is None else {"X_Worker_Id": who}
        body = {"success": says == "success", "retry": "for good" not in says}
        body |= {"external_id": "x-1"} if proof else {}
        names = [f"report {next(self.numbers)}: {says}" for _ in range(callers)]
        path = f"/v1/executions/{execution}/outcome"
        answers = self.ask_at_once(*[Question("POST", path, body | {"result": name}, headers) for name in names])
        accepted = [(name, answer) for name, answer in zip(names, answers, strict=True) if answer.status == 200]
        self.told.reports |= {name for name, _ in accepted}
        self.look()
        self._refused_for_a_reason(row, who, answers)
        for name, answer in accepted:
            self._did_what_it_said(name, who, answer)

    def _refused_for_a_reason(self, row: Row, who: str | None, answers: list[Answer]) -> None:
        stood = self.since(row)
        reasons = {
            (200, ""): True,
            (403, "not_execution_owner"): any({one["claimed_by_worker"]} - {None, who} for one in stood),
            (409, "outcome_already_recorded"): any((one["outcome_attempt"] or 0) >= one["attempts"] for one in stood),
        }
        for answer in answers:
            self._answered(row, answer, reasons)

    def _did_what_it_said(self, name: str, who: str | None, answer: Answer) -> None:
        """What a report was answered is what was written down with it."""
        step = self.reports[name]
        assert step.before is not None
        assert who is None or step.before["claimed_by_worker"] in {None, who}
        assert answer.body["outcome_state"] == step.after["outcome_state"]
        assert answer.body["will_retry"] == (step.after["status"] not in FINAL)
        if answer.body["will_retry"]:
            assert f"attempt {step.after['attempts'] + 1} of " in answer.body["reason"]
            assert moment(answer.body["reason"].rpartition(" ")[2]) == moment(step.after["ready_at"])

    def _answered(self, row: Row, answer: Answer, reasons: dict[tuple[int, str], bool]) -> None:
        """404 where its cue is deleted; else as there is reason to."""
        if self.is_gone(row):
            reasons = {(404, "execution_not_found"): True}
        assert reasons.get((answer.status, answer.code)), (answer, self.since(row))

    @rule(which=WHICH, valid=st.sampled_from([True, False, None]))
    def evaluate_attempt(self, which: int, valid: bool | None) -> None:
        """None: a person will look at it later."""
        row = self.pick(which, _has_outcome)
        if row is None:
            return
        path = f"/v1/executions/{row['id']}/" + ("verification-pending" if valid is None else "verify")
        answer = self.ask("POST", path, {"valid": valid, "reason": "seen"} if valid is not None else {})
        self.look()
        states = {one["outcome_state"] for one in self.since(row)}
        open_states = {"reported_success", "verification_pending"}
        judged = open_states | (set() if valid else {"verified_success", "reported_failure"})
        reasons = {
            (200, ""): bool(states - {None} if valid is None else states & judged),
            (409, "no_outcome"): valid is None and None in states,
            (409, "invalid_state"): bool(states - judged) and valid is not None,
        }
        self._answered(row, answer, reasons)

    @rule(which=WHICH)
    def prove(self, which: int) -> None:
        row = self.pick(which, _has_outcome)
        if row is None:
            return
        answer = self.ask("PATCH", f"/v1/executions/{row['id']}/evidence", {"external_id": "x-2"})
        self.look()
        outcomes = {one["outcome_state"] is not None for one in self.since(row)}
        self._answered(row, answer, {(200, ""): True in outcomes, (409, "no_outcome"): False in outcomes})

    @rule(which=WHICH, times=st.integers(1, 2))
    def replay(self, which: int, times: int) -> None:
        row = self.pick(which, _is_final)
        if row is None:
            return
        answer = self._ask_again(f"/v1/executions/{row['id']}/replay", None, times)
        if answer.status == 200:
            self.told.replays[row["cue_id"]] += 1
        seen = self.look()
        finals = {one["status"] in FINAL for one in self.since(row)}
        self._answered(row, answer, {(200, ""): True in finals, (409, "execution_in_flight"): False in finals})
        if answer.status == 200:
            made = seen.executions[answer.body["id"]]
            assert (made["payload"], made["replayed_from"]) == (row["payload"], row["id"])

    @rule(seconds=st.sampled_from([70.0, 70.0, 200.0, 400.0, 1000.0, 20_000.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.pass_time(seconds)

    @rule()
    def let_deliveries_settle(self) -> None:
        self.settle()


def _age(execution: Row) -> tuple[object, str]:
    return moment(execution["ready_at"]), execution["id"]


def _is_work(execution: Row) -> bool:
    return execution["transport"] == "worker" and execution["status"] in WAITING


def _is_held(execution: Row) -> bool:
    return execution["transport"] == "worker" and execution["status"] == "delivering"


def _is_open(execution: Row) -> bool:
    return not _is_final(execution)


def _is_final(execution: Row) -> bool:
    return execution["status"] in FINAL


def _has_outcome(execution: Row) -> bool:
    return execution["outcome_state"] is not None
