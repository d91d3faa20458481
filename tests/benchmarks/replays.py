"""How late one account's cues are while dead letters of another one are replayed to a host that these keep busy."""

from statistics import quantiles

import trio
from attrs import evolve

from tests.benchmarks.filling import Batch, add_cues, moment
from tests.benchmarks.lag import lateness_in
from tests.benchmarks.scene import PATIENCE, Scene, open_receiver, open_scene
from tests.benchmarks.size import Size
from tests.benchmarks.table import Row
from tests.storage.own_postgres import OwnPostgres

GOAL = 1_000
RATE = 200
HOST_CONCURRENCY = 8
SLOW = "[0.06]"
"""Seconds of the handler that is replayed to: 8 at once are 133 a second, so that a backlog grows."""

SINCE = "its scheduled_for"

# $1 user, $2 how many, $3 URL, $4 host
DEAD = """
with cue as (
    insert into cues (id, user_id, name, status, transport, schedule_type, cron, next_run, timezone, catchup, overlap,
                      group_name, callback_url, callback_method, callback_host, payload, max_attempts, backoff_minutes,
                      verification)
    values ('cue_dead00000000', $1, 'dead', 'active', 'webhook', 'recurring', '0 0 1 1 *', '2200-01-01', 'UTC',
            'latest', 'allow', 'dead', $3, 'POST', $4, '{}', 1, '{1}', 'none')
 returning id
)
insert into executions (id, cue_id, user_id, transport, triggered_by, scheduled_for, status, ready_at, finished_at,
                        payload, dead_at, created_at)
select uuidv7(), id, $1, 'webhook', 'manual_fire', now(), 'failed', now(), now(), '{}', now(),
       now() - interval '1 minute'
  from cue, generate_series(1, $2::int)
"""


async def measure(server: OwnPostgres, size: Size) -> list[Row]:
    """One-time cues of one account, one after the other, while another one's dead letters are replayed."""
    async with open_scene(server, host_concurrency=HOST_CONCURRENCY) as scene:
        log = scene.home / "requests"
        async with (
            open_receiver(scene.home, "--log", str(log)) as url,
            open_receiver(scene.home, "--quiet", "--script", SLOW) as slow,
        ):
            host = slow.removeprefix("http://").rstrip("/")
            await scene.database.execute(DEAD, scene.user, size.dead, slow, host)
            other = await _other(scene)
            operation = await _begin(scene, size.dead)
            count = max(int(size.rate * size.dead / RATE), 4)
            await add_cues(other, Batch(count, await moment(scene, 1.0), 1 / size.rate, url))
            late = [1000 * each for each in await lateness_in(log, count, patience=PATIENCE + size.dead / RATE)]
            done = await _ended(scene, operation, patience=PATIENCE + size.dead / RATE)
    cut = quantiles(late, n=100, method="inclusive")[98]
    how = f"{count:,} cues, worst {max(late):.0f} ms; {done:,} replayed at {RATE} a second"
    return [Row("lag beside replays, 99 of 100", how, SINCE, [cut], GOAL, " ms", at_most=True)]


async def _other(scene: Scene) -> Scene:
    """Another account at the same daemon."""
    api = await scene.api.register("other@example.com")
    (row,) = await scene.database.fetch("select max(id) as id from users")
    return evolve(scene, api=api, user=row["id"])


async def _begin(scene: Scene, dead: int) -> str:
    body = {"kind": "replay", "filter": {"group": "dead"}, "rate_per_second": RATE, "expected": dead}
    answer = await scene.api.ask("POST", "/v1/operations", body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def _ended(scene: Scene, operation: str, *, patience: float) -> int:
    """How many were replayed, when it has ended."""
    with trio.fail_after(patience):
        while (shown := await scene.api.get(f"/v1/operations/{operation}"))["status"] != "done":
            await trio.sleep(0.1)
    assert shown["matched"] == shown["done"]
    return int(shown["done"])
