"""What the agents of the demo have done: a month that a seed decides, as rows for the database."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from attrs import define, field, frozen

from cueapi.cli.demo_agents import AGENTS, UNREACHABLE, Agent, Mishap
from cueapi.domain.clock import iso
from cueapi.domain.schedule import previous_runs

PAUSES = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15))
"""Before the second attempt, the third and the fourth."""

STUBBORN = 0.45
"""How often an attempt fails after one that has failed."""

SWITCHED_OFF = timedelta(minutes=100)
"""For how long the machine of the office has been silent."""

NO_WORKER = "No worker claimed this execution in time."
UNCLAIMED = timedelta(minutes=15)
LATE = timedelta(minutes=11)
"""For how long work waits at most for a worker, and for how long some has waited now."""

Record = dict[str, object]


@define
class Past:
    """Rows, as JSON takes them; *failures* has how many executions of a cue have failed in a row, by its id."""

    executions: list[Record] = field(factory=list)
    attempts: list[Record] = field(factory=list)
    alerts: list[Record] = field(factory=list)
    workers: list[Record] = field(factory=list)
    failures: dict[str, int] = field(factory=dict)


@frozen
class _Attempt:
    """One attempt: what went wrong, or what it came to."""

    begun: datetime
    ended: datetime
    mishap: Mishap | None
    result: str

    @property
    def lasted_ms(self) -> int:
        """How long it took, in milliseconds."""
        return round((self.ended - self.begun) / timedelta(milliseconds=1))

    @property
    def status(self) -> int | None:
        """What a handler answered with."""
        return 200 if self.mishap is None else self.mishap.status

    @property
    def answer(self) -> str | None:
        """The body that came with it."""
        mishap = self.mishap
        if mishap is None:
            return f'{{"success": true, "result": "{self.result}"}}'
        if mishap.status == 200:
            return f'{{"success": false, "error": "{mishap.told}"}}'
        return None if mishap.status is None else f'{{"detail": "{mishap.told}"}}'


def history(cues: Mapping[str, str], now: datetime, *, days: int, seed: int) -> Past:
    """What has happened in the *days* before *now* to *cues*, ids by names of agents: the same for the same seed."""
    told = Past()
    for agent in AGENTS:
        _Story(agent, cues[agent.name], now, Random(f"{seed} {agent.name}"), told).tell(days)
    return told


@define
class _Story:
    """The past of one cue."""

    agent: Agent
    cue: str
    now: datetime
    random: Random
    told: Past

    def tell(self, days: int) -> None:
        """Write it into the history, the oldest first."""
        agent, until = self.agent, self.now - self.agent.rests
        since = until - timedelta(days=days)
        for due in reversed(previous_runs(agent.cron, agent.zone, until, since, 10_000)):
            if self._is_off(due):
                self._missed(due)
            elif (failed := self._worked(due, "scheduled")) is not None and not agent.is_broken:
                self._worked(due + timedelta(minutes=50), "replay", replayed_from=failed)
            elif agent.lasts > 5 and self.random.random() < 0.02:
                self._worked(due + timedelta(minutes=self.random.uniform(4, 40)), "manual_fire")
        if agent.worker:
            self._has_worker(since)

    def _is_off(self, due: datetime) -> bool:
        """Whether the office's machine sleeps: now, and on some nights of the weekend."""
        if not self.agent.worker or self.agent.at_work:
            return False
        return due > self.now - SWITCHED_OFF or (due.weekday() >= 5 and self.random.random() < 0.4)

    def _worked(self, due: datetime, trigger: str, **more: object) -> str | None:
        """An execution that has ended; its id where it has failed."""
        begun = due + timedelta(milliseconds=self.random.uniform(6, 30) + self.random.choice((0,) * 30 + (400, 1500)))
        attempts = list(self._attempts(begun))
        last = attempts[-1]
        if last.ended > self.now - self.agent.rests:
            return None
        execution = self._execution(due, trigger, attempts) | more
        self.told.executions.append(execution)
        self.told.attempts += [self._attempt(execution, number, one) for number, one in enumerate(attempts, 1)]
        if last.mishap is None:
            self.told.failures[self.cue] = 0
            return None
        self._failed(execution, last.ended, _reason(last.mishap))
        return str(execution["id"])

    def _attempts(self, begun: datetime) -> Iterator[_Attempt]:
        chance = 1.0 if begun > self.now - self.agent.broken else self.agent.trouble
        for pause in (*PAUSES, None):
            mishap = self.random.choice(self.agent.mishaps) if self.random.random() < chance else None
            lasts = 30.0 if mishap and mishap.told.startswith("no answer") else self.agent.lasts
            if mishap and mishap.status not in {None, 200}:
                lasts /= 20
            ended = begun + timedelta(seconds=lasts * (self.random.lognormvariate(0, 0.3) if lasts != 30.0 else 1))
            yield _Attempt(begun, ended, mishap, self.random.choice(self.agent.results))
            if mishap is None or pause is None:
                return
            begun, chance = ended + pause + timedelta(milliseconds=self.random.uniform(5, 25)), max(chance, STUBBORN)

    def _execution(self, due: datetime, trigger: str, attempts: list[_Attempt]) -> Record:
        """The row of an execution that has ended with the last of *attempts*."""
        first, last = attempts[0], attempts[-1]
        answered = last.mishap is None or last.mishap.status == 200
        row = self._row(due, trigger, last.ended) | {
            "status": "success" if last.mishap is None else "failed",
            "attempts": len(attempts),
            "started_at": iso(first.begun),
            "last_attempt_at": iso(last.begun),
            "delivered_at": iso(last.ended) if answered else None,
            "error_message": last.mishap and _reason(last.mishap),
        }
        if self.agent.worker:
            row |= {"claimed_by_worker": self.agent.worker, "claimed_at": iso(last.begun)}
        else:
            row |= {"http_status": last.status, "response_body": last.answer}
        return row | (self._outcome(len(attempts), last) if answered else {})

    def _outcome(self, attempt: int, last: _Attempt) -> Record:
        went_well = last.mishap is None
        return {
            "outcome_attempt": attempt,
            "reported_attempt": attempt,
            "outcome_success": went_well,
            "outcome_result": last.result if went_well else None,
            "outcome_error": last.mishap and last.mishap.told,
            "outcome_recorded_at": iso(last.ended),
            "outcome_state": "reported_success" if went_well else "reported_failure",
        }

    def _attempt(self, execution: Record, number: int, attempt: _Attempt) -> Record:
        mishap = attempt.mishap
        spoken = "success" if mishap is None else "reported_failure" if mishap.status == 200 else "failed"
        row: Record = {
            "execution_id": execution["id"],
            "attempt": number,
            "started_at": iso(attempt.begun),
            "duration_ms": attempt.lasted_ms,
            "error": mishap and _reason(mishap),
            "outcome": spoken,
        }
        if not self.agent.worker:
            row |= {"http_status": attempt.status, "response_body": attempt.answer} | _moments(attempt)
        return row

    def _missed(self, due: datetime) -> None:
        """No worker was there."""
        ended = due + UNCLAIMED
        if ended <= self.now:
            missed = {"status": "missed", "attempts": 0, "error_message": NO_WORKER}
            self.told.executions.append(execution := self._row(due, "scheduled", ended) | missed)
            self._failed(execution, ended, NO_WORKER, kind="missed_run")

    def _has_worker(self, since: datetime) -> None:
        """One that works; or one that is silent, while what was fired by hand waits for it."""
        silent = timedelta(0) if self.agent.at_work else SWITCHED_OFF
        self.told.workers.append(
            {
                "worker_id": self.agent.worker,
                "handlers": [self.agent.payload["task"]],
                "registered_since": iso(since),
                "last_heartbeat": iso(self.now - silent),
            }
        )
        if not silent:
            return
        due = self.now - LATE
        row = self._row(due, "manual_fire", due) | {"status": "pending", "attempts": 0, "finished_at": None}
        self.told.executions.append(row)

    def _failed(self, execution: Record, at: datetime, reason: str, kind: str = "execution_failed") -> None:
        """Count it, and raise what the server would."""
        number = self.told.failures[self.cue] = self.told.failures.get(self.cue, 0) + 1
        self._alert(at, kind, "critical", reason, execution["id"])
        if number % 3 == 0:
            self._alert(at, "consecutive_failures", "warning", f"{number} failures in a row", None)

    def _alert(self, at: datetime, kind: str, severity: str, text: str, execution: object) -> None:
        self.told.alerts.append(
            {
                "id": str(self._uuid(at)),
                "cue_id": self.cue,
                "execution_id": execution,
                "alert_type": kind,
                "severity": severity,
                "message": f"{self.agent.name}: {text}",
                "acknowledged": at < self.now - timedelta(hours=20),
                "created_at": iso(at),
            }
        )

    def _row(self, due: datetime, trigger: str, ended: datetime) -> Record:
        created = due + timedelta(milliseconds=self.random.uniform(2, 6))
        return {
            "id": str(self._uuid(created)),
            "cue_id": self.cue,
            "triggered_by": trigger,
            "scheduled_for": iso(due),
            "ready_at": iso(due),
            "finished_at": iso(ended),
            "created_at": iso(created),
            "updated_at": iso(ended),
        }

    def _uuid(self, moment: datetime) -> UUID:
        """A UUIDv7 (RFC 9562, 5.7)."""
        time = int(moment.timestamp() * 1000) & (1 << 48) - 1
        return UUID(
            int=time << 80 | 7 << 76 | self.random.getrandbits(12) << 64 | 2 << 62 | self.random.getrandbits(62)
        )


def _moments(attempt: _Attempt) -> Record:
    """When its request went out, and when its answer began, which was short."""
    if attempt.mishap == UNREACHABLE:
        return {}
    sent = min(2 + attempt.begun.microsecond % 19, attempt.lasted_ms)
    answer = None if attempt.status is None else max(attempt.lasted_ms - attempt.begun.microsecond % 3, sent)
    return {"sent_after_ms": sent, "first_byte_after_ms": answer}


def _reason(mishap: Mishap) -> str:
    """Why the attempt failed, in the words that the server keeps."""
    return mishap.told if mishap.status in {None, 200} else f"The handler answered {mishap.status}."
