"""The rules for cues: made, changed, paused, due, fired, deleted; and what becomes of that when a daemon falls."""

import signal
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, initialize, precondition, rule

from tests.machine.daemons import Answer, Question
from tests.machine.playing import Playing
from tests.machine.seen import Row
from tests.machine.stage import ANSWERS

YEARLY = {"type": "recurring", "cron": "0 0 1 1 *"}
EACH_MINUTE = {"type": "recurring", "cron": "* * * * *"}
ONCE = {"type": "once", "at": "in an hour"}

TRIES = st.integers(1, 3)
PAUSES = st.sampled_from([[0], [1], [0, 1]])
MODES = st.sampled_from(["none", "manual", "require_external_id"])
DEADLINES = st.sampled_from([None, {"outcome_deadline_seconds": 300}])
OVERLAP = st.sampled_from(["allow", "skip"])
CATCHUP = st.sampled_from(["latest", "all", "none"])
TASKS = st.sampled_from(["", "a", "b"])

WISHES = st.fixed_dictionaries(
    {
        "schedule": st.sampled_from([YEARLY, ONCE, EACH_MINUTE]),
        "overlap": OVERLAP,
        "catchup": CATCHUP,
        "retry": st.fixed_dictionaries({"max_attempts": TRIES, "backoff_minutes": PAUSES}),
        "verification": st.fixed_dictionaries({"mode": MODES}),
        "delivery": DEADLINES,
        "on_failure": st.fixed_dictionaries({"pause": st.booleans()}),
        "payload": st.fixed_dictionaries({"task": TASKS}),
    }
)
PATHS = st.sampled_from([*ANSWERS, "/slow", "/slow"])
PATCHES = st.one_of(
    st.fixed_dictionaries({"callback": st.fixed_dictionaries({"url": PATHS})}),
    st.fixed_dictionaries({"retry": st.fixed_dictionaries({"max_attempts": TRIES})}),
    st.fixed_dictionaries({"retry": st.fixed_dictionaries({"backoff_minutes": PAUSES})}),
    st.fixed_dictionaries({"schedule": st.sampled_from([YEARLY, EACH_MINUTE, ONCE])}),
    st.fixed_dictionaries({"schedule": st.fixed_dictionaries({"overlap": OVERLAP, "catchup": CATCHUP})}),
    st.fixed_dictionaries({"verification": st.fixed_dictionaries({"mode": MODES})}),
    st.fixed_dictionaries({"delivery": DEADLINES}),
    st.fixed_dictionaries({"payload": st.fixed_dictionaries({"task": TASKS})}),
)


class CueRules(Playing):
    """What is asked of cues. Deleted ones are asked for, too, and answer 404."""

    cues = Bundle("cues")
    fallen = False

    @initialize(target=cues, wish=WISHES, path=PATHS)
    def begin_with_a_webhook(self, wish: dict[str, Any], path: str) -> str:
        return self._make_and_fire(wish, path)

    @initialize(target=cues, wish=WISHES)
    def begin_with_work(self, wish: dict[str, Any]) -> str:
        return self._make_and_fire(wish, None)

    def _make_and_fire(self, wish: dict[str, Any], path: str | None) -> str:
        made = self._make(wish, path, times=1)
        self._fired(made, self.ask("POST", f"/v1/cues/{made}/fire"))
        return made

    @rule(target=cues, wish=WISHES, path=st.one_of(st.none(), PATHS), times=st.integers(1, 2))
    def make(self, wish: dict[str, Any], path: str | None, times: int) -> str:
        return self._make(wish, path, times)

    def _make(self, wish: dict[str, Any], path: str | None, times: int) -> str:
        """A new cue, however often it is asked for; its id."""
        schedule = _schedule(wish["schedule"]) | {"overlap": wish["overlap"], "catchup": wish["catchup"]}
        body = {name: wish[name] for name in ("retry", "verification", "delivery", "on_failure", "payload")}
        body |= {"name": f"cue-{next(self.numbers)}", "schedule": schedule}
        body |= {"transport": "worker"} if path is None else {"callback": {"url": self.stage.receiver.url(path)}}
        answer = self._ask_again("/v1/cues", body, times)
        assert answer.status == 201
        made = str(answer.body["id"])
        self.told.tries[made].add(wish["retry"]["max_attempts"])
        return made

    def _ask_again(self, path: str, body: Any, times: int) -> Answer:
        """Ask the same so many times: the effect happens once, with the first that is not refused."""
        headers = {"Idempotency_Key": f"key-{next(self.numbers)}"} if times > 1 else {}
        answers = [self.ask("POST", path, body, **headers) for _ in range(times)]
        first, *others = [one for one in answers if one.status < 300] or answers
        if first.status < 300:
            assert all((one.status, one.body, one.replayed) == (first.status, first.body, True) for one in others)
        return first

    @rule(cue=cues, patch=PATCHES)
    def change(self, cue: str, patch: dict[str, Any]) -> None:
        former = self._cue(cue)
        if "callback" in patch:
            patch = {"callback": {"url": self.stage.receiver.url(patch["callback"]["url"])}}
        if "schedule" in patch:
            patch = {"schedule": _schedule(patch["schedule"])}
        if tries := patch.get("retry", {}).get("max_attempts"):
            self.told.tries[cue].add(tries)
        self._expect(cue, self.ask("PATCH", f"/v1/cues/{cue}", patch), former)

    @rule(cue=cues)
    def put_off(self, cue: str) -> None:
        """It is to fire once, in an hour, whatever it has fired."""
        self.change(cue, {"schedule": ONCE})

    @rule(cue=cues)
    def pause(self, cue: str) -> None:
        former = self._cue(cue)
        answer = self.ask("PATCH", f"/v1/cues/{cue}", {"status": "paused"})
        ended = {former["status"], self._cue(cue)["status"]} & {"completed", "failed"}
        self._expect(cue, answer, former, (409, "invalid_state") if ended else None)
        assert answer.status != 200 or (answer.body["status"], answer.body["next_run"]) == ("paused", None)

    @rule(cue=cues)
    def resume(self, cue: str) -> None:
        former = self._cue(cue)
        answer = self.ask("PATCH", f"/v1/cues/{cue}", {"status": "active"})
        self._expect(cue, answer, former, (400, "invalid_schedule") if former["schedule_type"] == "once" else None)
        if answer.status == 200:
            assert answer.body["status"] == "active"
            assert answer.body["next_run"] is not None or former["status"] == "active"

    def _cue(self, cue: str) -> Row:
        return self.look().cues[cue]

    def _expect(self, cue: str, answer: Answer, former: Row, refusal: tuple[int, str] | None = None) -> None:
        """200; 404 of a deleted cue; or that refusal."""
        if former["status"] in {"completed", "failed"}:
            self.told.forget_streak(cue)
        if cue in self.told.deleted:
            assert (answer.status, answer.code) == (404, "cue_not_found")
        else:
            assert (answer.status, answer.code) in {(200, ""), refusal}

    @rule(cue=cues)
    def come_due(self, cue: str) -> None:
        self._come(cue, 0.0)

    @rule(cue=cues, late=st.sampled_from([30.0, 130.0, 700.0]))
    def come_late(self, cue: str, late: float) -> None:
        self._come(cue, late)

    def _come(self, cue: str, late: float) -> None:
        self.story.append(f"{cue} is due since {late} s")
        self.run(self.stage.time_comes, cue, late)

    @rule(cue=cues, later=st.booleans(), task=st.one_of(st.none(), TASKS), times=st.integers(1, 2))
    def fire(self, cue: str, later: bool, task: str | None, times: int) -> None:
        body: dict[str, Any] = {"send_at": in_an_hour()} if later else {}
        body |= {} if task is None else {"payload_override": {"task": task}}
        self._fired(cue, self._ask_again(f"/v1/cues/{cue}/fire", body, times))

    @rule(cue=cues)
    def fire_in_a_row(self, cue: str) -> None:
        for _ in range(3):
            self._fired(cue, self.ask("POST", f"/v1/cues/{cue}/fire"))

    def _fired(self, cue: str, answer: Answer) -> None:
        if cue in self.told.deleted:
            assert (answer.status, answer.code) == (404, "cue_not_found")
            return
        assert (answer.status, answer.body["triggered_by"]) == (200, "manual_fire")
        self.told.fires[cue] += 1
        assert answer.body["id"] in self.look().executions

    @precondition(lambda self: self.has_many())
    @rule(cue=cues)
    def delete(self, cue: str) -> None:
        answer = self.ask("DELETE", f"/v1/cues/{cue}")
        assert answer.status == (404 if cue in self.told.deleted else 204)
        self._gone(cue)

    @precondition(lambda self: self.has_many())
    @rule(some=st.lists(cues, min_size=1, max_size=3))
    def delete_some(self, some: list[str]) -> None:
        wanted = list(dict.fromkeys(some))
        answer = self.ask("POST", "/v1/cues/bulk-delete", {"ids": some}, X_Confirm_Destructive="true")
        gone = [one for one in wanted if one in self.told.deleted]
        left = [one for one in wanted if one not in self.told.deleted]
        assert answer.body == {"deleted": left, "not_found": gone, "skipped": gone}
        for cue in wanted:
            self._gone(cue)

    def has_many(self) -> bool:
        """A story about deleted cues is a short one."""
        return len(self.told.tries) - len(self.told.deleted) > 2

    def _gone(self, cue: str) -> None:
        """It answers 404, and so does everything of it."""
        self.told.deleted.add(cue)
        of_cue = [Question("GET", f"/v1/cues/{cue}{rest}") for rest in ("", "/executions", "/upcoming")]
        of_them = [Question("GET", f"/v1/executions/{one['id']}") for one in self.look().of(cue)[-3:]]
        answers = self.ask_at_once(*of_cue, *of_them)
        assert {answer.code for answer in answers[:3]} == {"cue_not_found"}
        assert {answer.code for answer in answers[3:]} <= {"execution_not_found"}

    @precondition(lambda self: not self.fallen)
    @rule(cue=cues, sign=st.sampled_from([signal.SIGKILL, signal.SIGTERM]), after=st.sampled_from([0.0, 0.01, 0.05]))
    def fall(self, cue: str, sign: signal.Signals, after: float) -> None:
        self.fallen = True
        self.story.append(f"{sign.name}, {after} s after …")
        question = Question("POST", f"/v1/cues/{cue}/fire", {}, {"Idempotency_Key": f"key-{next(self.numbers)}"})
        self._fired(cue, self.run(self.stage.fall_while_asked, self.key, question, sign, after))


def _schedule(wished: dict[str, str]) -> dict[str, str]:
    return wished | {"at": in_an_hour()} if "at" in wished else dict(wished)


def in_an_hour() -> str:
    """As the API reads it."""
    return (datetime.now(UTC) + timedelta(hours=1)).isoformat()
