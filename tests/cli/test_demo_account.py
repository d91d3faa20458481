"""The account of the demo: its past follows from a seed, and the database holds what it would if that had happened."""

from datetime import UTC, datetime

from attrs import asdict

from cueapi.cli.demo_account import inhabited
from cueapi.cli.demo_agents import AGENTS
from cueapi.cli.demo_history import Past, history
from cueapi.cli.demo_http import Client
from cueapi.storage.database import Database
from tests.conftest import Api, RunningDaemon
from tests.storage.recounting import differences

MOMENTS = ("scheduled_for", "created_at", "finished_at")
NOW = datetime(2026, 11, 29, 21, 30, tzinfo=UTC)
CUES = {agent.name: f"cue_{number:012}" for number, agent in enumerate(AGENTS)}


def month(seed: int) -> Past:
    """A month before a certain moment."""
    return history(CUES, NOW, days=30, seed=seed)


def test_the_same_seed_tells_the_same_story_and_another_one_another() -> None:
    assert asdict(month(7)) == asdict(month(7))
    assert asdict(month(7)) != asdict(month(8))


def test_nothing_happens_after_now_nor_before_it_was_due() -> None:
    told = month(7)

    moments = [
        [datetime.fromisoformat(str(one[name] or one["created_at"])) for name in MOMENTS] for one in told.executions
    ]
    assert all(due < made <= ended <= NOW for due, made, ended in moments)
    assert len({one["id"] for one in told.executions}) == len(told.executions) > 4000


def test_each_execution_has_its_attempts_and_ends_as_the_last_one_did() -> None:
    told = month(7)

    last = {one["execution_id"]: one for one in told.attempts}  # in their order
    for one in told.executions:
        assert one["attempts"] == (last[one["id"]]["attempt"] if one["attempts"] else 0)
        if one["attempts"]:
            assert (one["status"] == "success") == (last[one["id"]]["outcome"] == "success")
            assert one.get("response_body") == last[one["id"]].get("response_body")


EVERY_KIND = """
select status, coalesce(outcome_state, ''), triggered_by, transport from executions group by 1, 2, 3, 4
"""

FAILURES = """
select c.name
  from cues c
  left join lateral (
       select count(*) as failures
         from executions e
        where e.cue_id = c.id and e.status in ('failed', 'missed')
          and not exists (select from executions x
                           where x.cue_id = e.cue_id and x.status = 'success' and x.finished_at > e.finished_at)) f
    on true
 where f.failures <> c.consecutive_failures
"""

COUNTERS = """
select c.name
  from cues c
  left join lateral (select count(*) as fired, count(finished_at) as ended from executions where cue_id = c.id) e
    on true
 where (e.fired, e.ended) <> (c.fired_count, c.run_count)
"""


async def test_the_database_is_as_if_it_had_happened(daemon: RunningDaemon, database: Database) -> None:
    async with inhabited(daemon.resources, Client(daemon.client), days=10) as key:
        api = Api(daemon.client, key)
        alerts = (await api.get("/v1/alerts"))["alerts"]
        kinds = {tuple(row.values()) for row in await database.fetch(EVERY_KIND)}
        wrong = [await database.fetch(statement) for statement in (FAILURES, COUNTERS)]
        told = await differences(database)

    assert told == []
    assert wrong == [[], []]
    assert {status for status, *_ in kinds} >= {"success", "failed", "missed", "pending"}
    assert {trigger for _, _, trigger, _ in kinds} == {"scheduled", "manual_fire", "replay"}
    assert {one["acknowledged"] for one in alerts} == {True, False}


async def test_some_are_at_work_some_fail_and_one_rests(daemon: RunningDaemon) -> None:
    async with inhabited(daemon.resources, Client(daemon.client), days=2) as key:
        api = Api(daemon.client, key)
        cues = {cue["name"]: cue for cue in (await api.get("/v1/cues"))["cues"]}
        fired = (await api.get("/v1/executions?triggered_by=manual_fire&count=false"))["executions"]
        # What crawls is claimed soon; what the others have fired by hand may still wait.
        waiting = {one["id"]: () if one["cue_name"] == "crawl-docs" else ("pending",) for one in fired}
        begun = [await api.execution(one, "delivering", "success", "failed", *also) for one, also in waiting.items()]
        workers = (await api.get("/v1/workers"))["workers"]

    assert {one["cue_name"] for one in begun if one["status"] == "delivering"} >= {"crawl-docs"}
    assert cues["dependency-audit"]["status"] == "paused"
    assert {worker["worker_id"] for worker in workers} == {"gpu-1", "office-mac"}
    assert len(cues) == len(AGENTS) + 1
