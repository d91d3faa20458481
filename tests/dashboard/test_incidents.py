"""Incidents, channels and mutes as pages: what is open, and each thing that can be done about it."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

from cueapi.storage.database import Database
from tests.conftest import RunningDaemon
from tests.dashboard.browsing import Browser, signed_in, target, text_of
from tests.receiver import open_receiver
from tests.storage.rows import add_cue, add_execution

OPENING = "select open_incident($1, $2, $3, $4, $5, 'critical', case when $2 = 'failing' then $3 end, $6) as incident"

# A worker that is long silent: of one that is not there its daemon ends the incident.
SILENT = """
insert into workers (user_id, worker_id, last_heartbeat) values ($1, $2, now() - interval '10 minutes')
on conflict do nothing
"""


async def add_incident(
    database: Database, user: int, subject: str, title: str, *, kind: str = "failing", execution: UUID | None = None
) -> UUID:
    if kind == "worker_offline":
        await database.execute(SILENT, user, subject)
    row = await database.fetch_one(OPENING, user, kind, subject, "brief", title, execution)
    assert row is not None
    return UUID(str(row["incident"]))


async def test_the_first_line_speaks_of_incidents_and_leads_to_them(
    person: Browser, database: Database, user: int
) -> None:
    cue_id = await add_cue(database, user, name="brief", consecutive_failures=3)
    await add_incident(database, user, cue_id, "brief is failing: refused")
    one = text_of(await person.get("/ui"))
    await add_incident(database, user, "w1", "Worker w1 is silent", kind="worker_offline")
    two = await person.get("/ui")
    await database.execute("update incidents set snoozed_until = now() + interval '1 hour' where kind <> 'failing'")
    snoozed = text_of(await person.get("/ui"))

    assert "1 cue is failing since" in one
    assert "2 incidents are open since" in text_of(two)
    assert 'href="/ui/incidents"' in two.text
    assert "1 cue is failing since" in snoozed


async def test_of_very_many_incidents_the_first_line_tells_the_oldest(
    person: Browser, database: Database, user: int
) -> None:
    for number in range(102):
        await add_incident(database, user, f"w{number}", "A worker is silent", kind="worker_offline")
    await database.execute("update incidents set opened_at = opened_at - interval '3 days' where subject = 'w0'")
    said = text_of(await person.get("/ui"))

    assert f"More than 100 incidents are open since {datetime.now(UTC) - timedelta(days=3):%Y-%m-%d}" in said


async def test_an_incident_says_what_is_wrong_since_when_and_what_follows_and_is_looked_after(
    person: Browser, database: Database, user: int
) -> None:
    cue_id = await add_cue(database, user, name="brief")
    execution = await add_execution(database, cue_id, status="failed")
    incident = await add_incident(database, user, cue_id, "brief is failing: refused", execution=execution)
    path = f"/ui/incidents/{incident}"

    page = await person.get(path)
    assert "brief is failing: refused" in text_of(page)
    assert "It ends by itself once executions do well again." in text_of(page)
    for link in (f"/ui/cues/{cue_id}", f"/ui/executions/{execution}", "/ui/channels"):
        assert f'href="{link}"' in page.text
    assert target(await person.post(f"{path}/acknowledge", {"note": "on it"})) == path
    assert "on it" in text_of(await person.get(path))
    assert target(await person.post(f"{path}/snooze", {"minutes": "60"})) == path
    assert "snoozed" in text_of(await person.get(path))
    assert target(await person.post(f"{path}/resolve", {"reason": "mended"})) == path
    over = text_of(await person.get(path))
    assert "Resolved." in over
    assert "Ended after" in over
    assert "Replay the last execution" not in over
    await person.post(f"{path}/resolve", {"reason": "again"})
    assert "This incident is over." in text_of(await person.get(path))


async def test_a_second_click_at_an_incident_replays_nothing_again(
    person: Browser, database: Database, user: int
) -> None:
    cue_id = await add_cue(database, user, name="brief")
    execution = await add_execution(database, cue_id, status="failed", finished_at=datetime.now(UTC))
    incident = await add_incident(database, user, cue_id, "brief is failing", execution=execution)

    page = await person.get(f"/ui/incidents/{incident}")
    fields = dict(re.findall(r'name="(nonce)" value="([^"]+)"', page.text))
    made = [target(await person.post(f"/ui/executions/{execution}/replay", fields)) for _ in range(2)]

    assert fields
    assert made[0] == made[1]


async def test_the_list_shows_what_is_open_first_and_the_rest_where_asked_for(
    person: Browser, database: Database, user: int
) -> None:
    cue_id = await add_cue(database, user)
    ended = await add_incident(database, user, cue_id, "the old one")
    await database.execute("select resolve_incident($1, 'failing', $2)", user, cue_id)
    still = await add_incident(database, user, "w1", "the new one", kind="worker_offline")

    found = (await person.get("/ui/incidents")).text
    over = (await person.get("/ui/incidents?status=resolved")).text

    assert f"incident-{still}" in found
    assert f"incident-{ended}" not in found
    assert f"incident-{ended}" in over
    for narrow in ("kind=budget", "group=night"):
        assert "No incident fits these filters." in text_of(await person.get(f"/ui/incidents?{narrow}"))
    wrong = await person.get("/ui/incidents?kind=gone&group=night")
    assert (wrong.status_code, 'id="kind-problem"' in wrong.text, 'value="night"' in wrong.text) == (400, True, True)
    assert "Nothing is listed: a filter cannot be read." in text_of(wrong)


async def test_incidents_of_others_are_no_pages(
    daemon: RunningDaemon, person: Browser, database: Database, user: int
) -> None:
    incident = await add_incident(database, user, "w1", "their trouble", kind="worker_offline")
    other = await signed_in(daemon, await daemon.api.register("other@example.com"))

    assert (await other.get(f"/ui/incidents/{incident}")).status_code == 404
    assert "their trouble" not in (await other.get("/ui/incidents")).text


async def test_a_channel_is_added_tested_and_deleted_and_its_secret_is_shown_once(
    person: Browser, database: Database
) -> None:
    async with open_receiver() as receiver:
        assert "No channel yet." in text_of(await person.get("/ui/channels"))
        fields = {"kind": "webhook", "name": "ops", "on": "opened", "min_severity": "critical"}
        refused = await person.post("/ui/channels", fields)
        of_odd_group = await person.post("/ui/channels", fields | {"url": receiver.url("/hook"), "group": "No Group"})
        added = await person.post("/ui/channels", fields | {"url": receiver.url("/hook")})
        page = await person.get("/ui/channels")
        (row,) = await database.fetch("select id from channels")
        await person.post(f"/ui/channels/{row['id']}/test")
        tested = text_of(await person.get("/ui/channels"))
        await person.post(f"/ui/channels/{row['id']}/delete")
        gone = text_of(await person.get("/ui/channels"))

    assert refused.status_code == 422
    assert "is needed by a channel of kind webhook" in text_of(refused)
    assert 'id="group-problem"' in of_odd_group.text
    assert "takes lower-case letters, digits, dots, dashes and underscores" in text_of(of_odd_group)
    assert 'value="ops"' in refused.text
    assert "whsec_" in added.text
    assert "whsec_" not in page.text
    assert "begins; critical only" in text_of(page)
    assert "The test has arrived." in tested
    assert "No channel yet." in gone


async def test_a_group_is_muted_and_heard_again(person: Browser) -> None:
    assert "Nothing is muted" in text_of(await person.get("/ui/mutes"))
    typed = {"scope": "group", "subject": "Night", "until": "soon", "reason": "maintenance"}
    refused = await person.post("/ui/mutes", typed)
    later = await person.post("/ui/mutes", typed | {"subject": "night"})
    await person.post("/ui/mutes", {"scope": "group", "subject": "night", "reason": "maintenance"})
    muted = text_of(await person.get("/ui/mutes"))
    await person.post("/ui/mutes/delete", {"scope": "group", "subject": "night"})

    assert (refused.status_code, re.findall(r'id="(\w+)-problem"', refused.text)) == (422, ["subject"])
    assert (later.status_code, re.findall(r'id="(\w+)-problem"', later.text)) == (422, ["until"])
    assert all(f'value="{typed[name]}"' in refused.text for name in ("subject", "until", "reason"))
    assert "the group night maintenance" in muted
    assert "Nothing is muted" in text_of(await person.get("/ui/mutes"))
