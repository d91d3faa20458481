"""The command line: cues are made, shown, changed and fired; the account and its key."""

import json
from pathlib import Path

import trio
from attrs import evolve

from cueapi.settings import Settings
from tests.clients.command_line import CommandLine, rows, told
from tests.conftest import Api, cue, running
from tests.process import HANG
from tests.receiver import open_receiver

UNLISTED = "cue_000000000000"


def row_of(made: dict[str, str], status: str = "active") -> str:
    """How the table shows a cue."""
    moment = f"{made['next_run'][:16].replace('T', '')}UTC" if status == "active" else "—"
    return made["id"] + made["name"] + status + moment


async def test_a_cue_of_each_kind_is_created(command_line: CommandLine, api: Api) -> None:
    url = "http://127.0.0.1:1/run"
    described = ["--payload", '{"task": "größe"}', "--description", "Weekdays", "--on-failure", '{"pause": true}']
    with trio.fail_after(HANG):
        recurring = await command_line.says(
            *["create", "--name", "a", "--cron", "0 9 * * 1-5", "--timezone", "Asia/Tokyo", "--url", url],
            *["--method", "PUT", *described],
        )
        once = await command_line.says("create", "--name", "b", "--at", "2091-05-01T09:00:00Z", "--callback", url)
        pulled = await command_line.says("create", "--name", "c", "--cron", "@daily", "--worker")
        shown = [await api.get(f"/v1/cues/{told(said, 'Created')}") for said in (recurring, once, pulled)]

    first, second, third = shown
    assert [one["name"] for one in shown] == ["a", "b", "c"]
    assert (first["schedule"]["cron"], first["schedule"]["timezone"]) == ("0 9 * * 1-5", "Asia/Tokyo")
    assert first["callback"] == {"url": url, "method": "PUT", "headers": {}}
    assert (first["payload"], first["description"]) == ({"task": "größe"}, "Weekdays")
    assert first["on_failure"] == {"email": True, "webhook": None, "pause": True}
    assert (second["schedule"]["type"], second["next_run"]) == ("once", "2091-05-01T09:00:00Z")
    assert third["transport"] == "worker"
    assert [told(said, "Status") for said in (recurring, once, pulled)] == ["active"] * 3
    assert [told(said, "Next run") for said in (recurring, once, pulled)] == [one["next_run"] for one in shown]


async def test_cues_are_listed_with_their_status_and_next_run(command_line: CommandLine, api: Api) -> None:
    with trio.fail_after(HANG):
        none = await command_line.says("list")
        one, two, three = [await api.post("/v1/cues", cue()) for _ in range(3)]
        await api.patch(f"/v1/cues/{two['id']}", {"status": "paused"})
        every = await command_line.says("list")
        paused = await command_line.says("list", "--status", "paused")
        page = await command_line.says("list", "--limit", "1", "--offset", "2")

    assert "No cues yet" in none
    assert rows(every) == [row_of(three), row_of(two, "paused"), row_of(one)]
    assert "3 cues (2 active, 1 paused)" in every
    assert rows(paused) == [row_of(two, "paused")]
    assert rows(page) == [row_of(one)]


async def test_a_cue_is_shown_with_its_recent_executions(command_line: CommandLine, api: Api) -> None:
    with trio.fail_after(HANG):
        async with open_receiver([(200, b'{"success": true}'), 410]) as receiver:
            made = await api.post("/v1/cues", cue(receiver.url("/run"), description="A test"))
            for _ in range(2):
                await api.execution((await api.post(f"/v1/cues/{made['id']}/fire"))["id"])
            said = await command_line.says("get", made["id"])

    assert told(said, "Name") == made["name"]
    assert told(said, "Status") == "active"
    assert told(said, "Schedule") == "0 0 1 1 * (UTC)"
    assert told(said, "Callback") == f"POST {receiver.url('/run')}"
    assert told(said, "Run count") == "2"
    assert told(said, "Description") == "A test"
    assert "success  (200, 1 attempt)" in said
    assert "failed  (" in said


async def test_a_cue_is_paused_resumed_and_updated(command_line: CommandLine, api: Api) -> None:
    with trio.fail_after(HANG):
        made = await api.post("/v1/cues", cue("http://127.0.0.1:1/old"))
        paused = await command_line.says("pause", made["id"])
        status = (await api.get(f"/v1/cues/{made['id']}"))["status"]
        resumed = await command_line.says("resume", made["id"])
        updated = await command_line.says(
            *["update", made["id"], "--name", "new", "--cron", "0 5 * * *", "--url", "http://127.0.0.1:2/new"],
            *["--payload", '{"n": 1}', "--description", "Now described", "--on-failure", '{"email": false}'],
        )
        shown = await api.get(f"/v1/cues/{made['id']}")

    assert (paused.strip(), status) == (f"Paused: {made['id']} ({made['name']})", "paused")
    assert resumed.startswith(f"Resumed: {made['id']} ({made['name']})")
    assert told(resumed, "Next run") == made["next_run"]
    assert updated.strip() == f"Updated: {made['id']} (new)"
    assert (shown["name"], shown["status"], shown["schedule"]["cron"]) == ("new", "active", "0 5 * * *")
    assert (shown["callback"]["url"], shown["payload"]) == ("http://127.0.0.1:2/new", {"n": 1})
    assert (shown["description"], shown["on_failure"]["email"]) == ("Now described", False)


async def test_a_cue_is_deleted_when_the_user_says_yes(command_line: CommandLine, api: Api) -> None:
    with trio.fail_after(HANG):
        asked, unasked = [await api.post("/v1/cues", cue()) for _ in range(2)]
        no = await command_line.says("delete", asked["id"], typed="n\n")
        kept = await api.get(f"/v1/cues/{asked['id']}")
        yes = await command_line.says("delete", asked["id"], typed="y\n")
        at_once = await command_line.says("delete", unasked["id"], "--yes")
        left = await api.get("/v1/cues")

    assert no.startswith(f"Delete {asked['id']} ({asked['name']})?")
    assert "Cancelled." in no
    assert kept["id"] == asked["id"]
    assert yes.endswith("Deleted.\n")
    assert at_once == "Deleted.\n"
    assert left["total"] == 0


async def test_a_cue_is_fired_with_a_payload_that_is_merged_or_replaced(command_line: CommandLine, api: Api) -> None:
    other = ["--payload-override", '{"b": 3}']
    with trio.fail_after(HANG):
        async with open_receiver([(200, b'{"success": true}')]) as receiver:
            made = await api.post("/v1/cues", cue(receiver.url(), payload={"a": 1, "b": 2}))
            fired = [
                await command_line.says("fire", made["id"], *options)
                for options in ([], other, [*other, "--merge-strategy", "replace"])
            ]
            shown = [await api.execution(told(said, "Execution")) for said in fired]

    bodies = {body["execution_id"]: body["payload"] for body in (json.loads(one.body) for one in receiver.requests)}
    assert [told(said, "Fired") for said in fired] == [made["id"]] * 3
    assert [told(said, "Scheduled") for said in fired] == [one["scheduled_for"] for one in shown]
    assert [bodies[one["id"]] for one in shown] == [{"a": 1, "b": 2}, {"a": 1, "b": 3}, {"b": 3}]


async def test_who_one_is_and_what_one_has_used_is_shown(command_line: CommandLine, api: Api) -> None:
    with trio.fail_after(HANG):
        async with open_receiver([202]) as receiver:
            made = await api.post("/v1/cues", cue(receiver.url()))
            await api.execution((await api.post(f"/v1/cues/{made['id']}/fire"))["id"])
        me = await command_line.says("whoami")
        usage = await command_line.says("usage")

    assert told(me, "Email") == "you@example.com"
    assert told(me, "Plan") == told(usage, "Plan") == "Self_hosted"
    assert told(me, "Active cues") == "1 / 1000000"
    assert told(me, "Executions") == "1 / 1000000000 this month"
    assert told(me, "API key") == f"{api.key[:7]}...{api.key[-4:]}"
    assert told(usage, "Active cues") == "1 / 1000000"
    assert told(usage, "Executions") == "1 / 1,000,000,000 (0.0%)"


async def test_a_regenerated_key_is_kept_and_the_old_one_is_dead(command_line: CommandLine, api: Api) -> None:
    with trio.fail_after(HANG):
        said = await command_line.says("key", "regenerate", typed="y\n")
        key = told(said, "New API key").split()[0]
        me = await command_line.says("whoami")
        old = await api.refused("GET", "/v1/auth/me")
        again = await command_line.says("key", "regenerate", "--yes")
        out = await command_line.says("logout")
        nobody = await command_line.says("whoami")

    assert told(me, "API key").endswith(key[-4:])
    assert old[:2] == (401, "key_rotated")
    assert told(again, "New API key") not in {key, api.key}
    assert out == "Removed credentials for you@example.com (default profile).\n"
    assert nobody == "Not logged in. Run `cueapi login` to authenticate.\n"
    assert json.loads(command_line.credentials.read_text()) == {}


async def test_the_key_and_the_server_may_come_from_the_environment(command_line: CommandLine, api: Api) -> None:
    base = json.loads(command_line.credentials.read_text())["default"]["api_base"]
    command_line.credentials.unlink()
    with trio.fail_after(HANG):
        named = await command_line.run("list", CUEAPI_API_KEY=api.key, CUEAPI_API_BASE=base)
        flagged = await command_line.run("--api-key", api.key, "list", CUEAPI_API_BASE=base)

    assert (named.code, flagged.code) == (0, 0)
    assert "No cues yet" in named.said
    assert "No cues yet" in flagged.said


async def test_what_is_refused_ends_with_1_and_is_told(command_line: CommandLine, api: Api) -> None:
    with trio.fail_after(HANG):
        unlisted = [
            await command_line.fails(*words)
            for words in (["get", UNLISTED], ["pause", UNLISTED], ["fire", UNLISTED], ["delete", UNLISTED, "-y"])
        ]
        never = await command_line.fails("create", "--name", "x", "--cron", "0 0 31 2 *", "--worker")
        billing = await command_line.fails("manage")
        command_line.sign_in(evolve(api, key="cue_sk_" + "0" * 32))
        stranger = await command_line.fails("whoami")

    assert unlisted == [f"Error: Cue not found: {UNLISTED}"] * 4
    assert never.startswith("Error: ")
    assert "never" in never
    assert billing == "Error: There is nothing at this path."
    assert stranger == "Error: Failed to get user info (HTTP 401)"


async def test_a_cue_that_the_plan_has_no_room_for_is_told_to_exceed_its_limit(
    command_line_programs: Path, settings: Settings, tmp_path: Path
) -> None:
    command_line = CommandLine(command_line_programs / "cueapi", tmp_path)
    with trio.fail_after(HANG):
        async with running(settings.model_copy(update={"active_cue_limit": 1})) as daemon:
            api = await daemon.api.register()
            command_line.sign_in(api)
            await api.post("/v1/cues", cue())
            refused = await command_line.fails("create", "--name", "x", "--cron", "@daily", "--worker")

    assert refused.startswith("Error: The plan has room for 1 active and paused cues")
