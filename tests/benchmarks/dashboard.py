"""What pages cost at a million executions and ten thousand cues: time in PostgreSQL, statements, and bytes."""

import re
from collections.abc import Mapping
from gzip import compress
from statistics import median

import httpx
from attrs import define, field, frozen

from cueapi.dashboard.paths import with_query, write_cursor
from tests.benchmarks.crowd import add_crowd, add_history
from tests.benchmarks.filling_pages import fill_pages
from tests.benchmarks.scene import Scene, open_scene
from tests.benchmarks.size import Size
from tests.benchmarks.statements import Log, logged
from tests.benchmarks.table import Row
from tests.storage.own_postgres import OwnPostgres

GOAL, STATEMENTS, KILOBYTES, FAR = 20, 4, 60, 1.5
"""Milliseconds and statements of a page with its session, its size when it is compressed, and page 10,000 to page 1."""

ROWS = 50
"""Rows of a page."""

FOREVER = 3_650
"""Days: nothing of the history goes meanwhile."""


@frozen
class Cost:
    """What one look at a page has cost."""

    milliseconds: float
    statements: int
    size: int


@define
class Looks:
    """The costs of a page, a look each."""

    costs: list[Cost] = field(factory=list)

    @property
    def milliseconds(self) -> list[float]:
        """In PostgreSQL, of all statements together."""
        return [cost.milliseconds for cost in self.costs]


async def measure(server: OwnPostgres, size: Size) -> list[Row]:
    """Every page in turns, as a browser asks for it; the account has all executions."""
    async with open_scene(server, EXECUTION_RETENTION_DAYS=FOREVER) as scene:
        await add_crowd(scene.database, scene.user, size.cues)
        await add_history(scene.database, scene.user, size.history, size.cues)
        ids = await fill_pages(server, scene)
        paths = await _paths(scene, size, ids)
        cookies = await _signed_in(scene)
        async with logged(server, scene, "log_min_duration_statement = 0") as log:
            looks = {name: Looks() for name in paths}
            for number in range(size.warm_up + size.polls):
                for name, path in paths.items():
                    cost = await _look(scene, log, path, cookies)
                    if number >= size.warm_up:
                        looks[name].costs.append(cost)
    return _rows(looks, size)


def _rows(looks: Mapping[str, Looks], size: Size) -> list[Row]:
    what = f"{size.history:,} executions, {size.cues:,} cues"
    rows = [
        Row(f"page {name}", "in PostgreSQL", what, found.milliseconds, GOAL, " ms", at_most=True)
        for name, found in looks.items()
    ]
    # Of several looks the median: now and then a sibling says something meanwhile.
    most = {name: median(cost.statements for cost in found.costs) for name, found in looks.items()}
    heaviest = max(looks, key=lambda name: looks[name].costs[0].size)
    most_statements = max(most, key=lambda name: most[name])
    first, far = looks["executions"].milliseconds, looks[f"executions, page {size.page:,}"].milliseconds
    return [
        *rows,
        Row("page, statements", most_statements, "its session", [most[most_statements]], STATEMENTS, at_most=True),
        Row("page, compressed", heaviest, what, [looks[heaviest].costs[0].size / 1000], KILOBYTES, " kB", at_most=True),
        Row(f"page {size.page:,} to page 1", f"{median(far):.2g} ms", f"{median(first):.2g} ms",
            [median(far) / median(first)], FAR, at_most=True),
    ]  # fmt: skip


async def _signed_in(scene: Scene) -> dict[str, str]:
    answer = await scene.api.client.post(
        "/ui/sign-in", data={"api_key": scene.api.key}, headers={"Sec-Fetch-Site": "same-origin"}
    )
    assert answer.status_code == 303, answer.text
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in answer.cookies.items())}


DURATION = re.compile(r"LOG:  duration: ([0-9.]+) ms  (parse|bind|execute|statement)")


async def _look(scene: Scene, log: Log, path: str, cookies: dict[str, str]) -> Cost:
    begin = log.end()
    page: httpx.Response = await scene.api.client.get(path, headers=cookies)
    assert page.status_code == 200, f"{path}: {page.status_code} {page.text[-2000:]}"
    found = [DURATION.search(line) for line in log.lines_since(begin)]
    told = [(float(one[1]), one[2]) for one in found if one is not None]
    number = sum(kind in {"execute", "statement"} for _, kind in told)
    return Cost(sum(time for time, _ in told), number, len(compress(page.content, 6)))


# $2 how many executions lie before it.
AT = "select created_at, id from executions where user_id = $1 order by created_at desc, id desc offset $2 limit 1"
CUE_AT = "select created_at, id from cues where user_id = $1 order by created_at desc, id desc offset $2 limit 1"


async def _paths(scene: Scene, size: Size, ids: Mapping[str, str]) -> dict[str, str]:
    db, user = scene.database, scene.user
    far = await db.fetch_one(AT, user, min((size.page - 1) * ROWS, size.history - 2))
    half = await db.fetch_one(CUE_AT, user, size.cues // 2)
    assert far is not None
    assert half is not None
    lists = ("cues", "executions", "workers", "alerts", "incidents", "dead", "operations", "targets", "channels",
             "mutes", "account", "account/audit", "account/keys", "account/budgets", "system")  # fmt: skip
    executions = {
        "of a cue": {"cue_id": ids["busy cue"]},
        "of a group": {"group": "many"},
        "of a rare group": {"group": "rare"},
        "of a group without cues": {"group": "none"},
        "in a rare status": {"status": "missed"},
        "of a cue in a rare status": {"cue_id": ids["busy cue"], "status": "missed"},
        "failed": {"status": "failed"},
        "with a rare outcome": {"outcome_state": "reported_failure"},
        "until long ago": {"until": far["created_at"].isoformat()},
        "of an hour long ago": {"since": far["created_at"].isoformat(), "until": far["created_at"].isoformat()},
        f"page {size.page:,}": {"cursor": write_cursor(far["created_at"], far["id"])},
    }
    return {
        "now": "/ui",
        **{name: f"/ui/{name}" for name in lists},
        **{f"executions, {name}": with_query("/ui/executions", **query) for name, query in executions.items()},
        "cues, searched": "/ui/cues?q=9999",
        "cues, searched in vain": "/ui/cues?q=nowhere",
        "cues, of a group": "/ui/cues?group=rare",
        "cues, paused": "/ui/cues?status=paused",
        "cues, half way": with_query("/ui/cues", cursor=f"{half['created_at'].isoformat()}~{half['id']}"),
        "dead, of a host": "/ui/dead?host=h7.example:443",
        "dead, of an error": "/ui/dead?error=refused",
        "dead, in vain": "/ui/dead?http_status=418",
        "incidents, over": "/ui/incidents?status=resolved",
        "incidents, of a group": "/ui/incidents?group=rare",
        "audit, of a subject": f"/ui/account/audit?subject_id={ids['busy cue']}",
        "audit, of an action": "/ui/account/audit?action=cue.deleted",
        "a cue": f"/ui/cues/{ids['busy cue']}",
        "a cue's form": f"/ui/cues/{ids['busy cue']}/edit",
        "an execution": f"/ui/executions/{ids['execution']}",
        "an incident": f"/ui/incidents/{ids['incident']}",
        "an operation": f"/ui/operations/{ids['operation']}",
    }
