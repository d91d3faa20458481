"""The page of one execution: a sentence of what came of it, the evidence for it, and what a person may do."""

import json
import re
import shlex
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from html import unescape
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from cueapi.settings import Settings
from cueapi.storage.database import Database
from tests.conftest import Api, RunningDaemon, cue, running
from tests.dashboard.browsing import Browser, signed_in, target, text_of
from tests.receiver import Receiver
from tests.storage.rows import add_cue, add_execution, ago

Receive = Callable[..., AbstractAsyncContextManager[Receiver]]
PASTE = re.compile(r'<pre class="command"[^>]*>(.*?)</pre>', re.DOTALL)
NONCE = re.compile(r'name="nonce" value="(\w+)"')
WORKER: dict[str, Any] = {"transport": "worker", "callback_url": None, "callback_host": None}
HEADERS = {"X-Api-Key": "sk-1", "Accept-Language": "de", "Host": "fake.example"}
DONE = {"status": "success", "attempts": 1, "started_at": ago(), "finished_at": ago(), "http_status": 200}


def reported(state: str, **more: object) -> dict[str, object]:
    """The columns of an execution whose outcome is in that state."""
    return DONE | {
        "outcome_attempt": 1, "outcome_success": state != "reported_failure", "outcome_state": state,
        "outcome_recorded_at": ago(), **more,
    }  # fmt: skip


async def test_a_failed_execution_says_why_and_shows_each_answer(
    daemon: RunningDaemon, api: Api, person: Browser, receive: Receive
) -> None:
    async with receive([(500, b"first answer"), (503, b"second answer")]) as receiver:
        made = await api.post(
            "/v1/cues",
            cue(
                receiver.url(), retry={"max_attempts": 2, "backoff_minutes": [0]}, on_failure={"email": False},
                payload={"n": 12345678901234567890, "text": "größe"},
            )
            | {"callback": {"url": receiver.url(), "headers": HEADERS}},
        )  # fmt: skip
        fired = await api.post(f"/v1/cues/{made['id']}/fire")
        await api.execution(fired["id"], "failed")

        page = await person.get(f"/ui/executions/{fired['id']}")

    text = text_of(page)
    assert "Failed after 2 attempts: 503 from 127.0.0.1" in text
    assert "An alert was raised; the cue tells of failures neither by mail nor by webhook." in text
    assert text.index("first answer") < text.index("second answer")
    assert text.count("▲ failed 500") == text.count("▲ failed 503") == 2  # in the timeline, and above its answer
    for mark in ("due", "claimed", "sent", "first byte", "answered"):
        assert mark in text
    assert '"n": 12345678901234567890' in text
    assert '"text": "größe"' in text
    assert "Accept-Language de" in text
    assert "X-Api-Key ••••••" in text
    assert "sk-1" not in page.text
    assert "fake.example" not in page.text  # It was not sent: only the connection says its host.


@pytest.mark.parametrize("leave", [False, True], ids=["no mail can leave", "mails leave"])
async def test_a_failure_is_told_by_mail_only_where_mails_leave(settings: Settings, *, leave: bool) -> None:
    mail = {"smtp_url": SecretStr("smtp://127.0.0.1:9"), "email_from": "cueapi@example.com"} if leave else {}
    async with running(settings.model_copy(update=mail)) as daemon:
        api, database = await daemon.api.register(), daemon.resources.database
        (row,) = await database.fetch("select id from users")
        failed = await add_execution(
            database, await add_cue(database, row["id"], on_failure_email=True), **DONE | {"status": "failed"}
        )
        text = text_of(await (await signed_in(daemon, api)).get(f"/ui/executions/{failed}"))

    told = "by mail" if leave else "neither by mail nor by webhook"
    assert f"the cue tells of failures {told}." in text


async def test_the_waits_of_an_attempt_are_drawn_to_scale_and_told_in_words(
    person: Browser, database: Database, user: int
) -> None:
    due = ago(hours=1)
    execution = await add_execution(
        database, await add_cue(database, user), **DONE | {"attempts": 2, "scheduled_for": due, "started_at": due}
    )
    await database.execute(
        "insert into attempts (execution_id, attempt, started_at, duration_ms, sent_after_ms, first_byte_after_ms,"
        "                      http_status, outcome)"
        " values ($1, 1, $2, 1000, 250, null, null, 'failed'),"
        "        ($1, 2, $2 + interval '1 minute', 1000, 100, 900, 200, 'delivered')",
        execution, due,
    )  # fmt: skip

    page = await person.get(f"/ui/executions/{execution}")

    first, second = page.text.split('id="attempt-')[1:]
    ticks = [[int(x) for x in re.findall(r'class="tick" x="(\d+)"', lane)] for lane in (first, second)]
    assert ticks == [[0, 0, 250, 998], [0, 100, 900, 998]]
    assert re.findall(r'class="(?:failed|succeeded)" x="(\d+)"', first + second) == ["250", "100"]
    assert "<title>sent – first byte: 800 ms</title>" in second
    text = text_of(page)
    assert re.search(r"claimed \S+ sent \S+ \+100 ms first byte \S+ \+800 ms answered \S+ \+100 ms", text)
    assert "Sent after 250 ms; not a byte of an answer came within the next 750 ms." in text
    assert "Sent after 100 ms; the first byte of the answer came 800 ms later, and the rest within 100 ms." in text


async def test_commands_can_be_pasted_into_a_shell(
    daemon: RunningDaemon, person: Browser, database: Database, user: int
) -> None:
    hostile = 'it\'s $(reboot) `x` "y" \\ <b>'
    cue_id = await add_cue(
        database, user, name=hostile, callback_url="http://127.0.0.1:9/a?b='c'&d=$e", payload=json.dumps({"q": hostile})
    )
    execution = await add_execution(database, cue_id, payload=json.dumps({"q": hostile}), **DONE)

    page = await person.get(f"/ui/executions/{execution}")

    commands = [shlex.split(unescape(found)) for found in PASTE.findall(page.text)]
    look, replay, by_hand = commands
    assert look[:3] == ["curl", "-X", "GET"]
    assert look[3].endswith(f"/v1/executions/{execution}")
    assert replay[3].endswith(f"/v1/executions/{execution}/replay")
    assert by_hand[3] == "http://127.0.0.1:9/a?b='c'&d=$e"
    body = json.loads(by_hand[by_hand.index("-d") + 1])
    assert (body["name"], body["payload"]) == (hostile, {"q": hostile})


async def test_what_people_copy_has_a_button_and_stands_whole_beside_it(
    person: Browser, database: Database, user: int
) -> None:
    url = "https://agent.example.com/run?" + "x" * 300
    cue_id = await add_cue(database, user, callback_url=url)
    execution = await add_execution(database, cue_id, **reported("reported_success", external_id="msg_8842"))

    pages = [await person.get(path) for path in (f"/ui/executions/{execution}", f"/ui/cues/{cue_id}", "/ui/cues/new")]

    found = [re.findall(r'data-copy="([^"]+)"( hidden)?', page.text) for page in pages]
    assert [[name for name, _ in names] for names in found] == [
        ["external-id", "execution-id", "sent-url", "command-1", "command-2", "command-3"],
        ["cue-id", "callback-url"],
        [],
    ]
    for page, names in zip(pages, found, strict=True):
        assert all(hidden and page.text.count(f'id="{name}"') == 1 for name, hidden in names)
    for whole in (str(execution), "msg_8842", url):
        assert f">{whole}<" in pages[0].text
    assert f">{url}<" in pages[1].text


async def test_a_long_payload_is_cut_on_the_page_and_whole_behind_a_link(
    person: Browser, database: Database, user: int
) -> None:
    payload = json.dumps({"text": "x" * 200_000, "z": "end-of-it"})
    execution = await add_execution(database, await add_cue(database, user), payload=payload, **DONE)

    page = await person.get(f"/ui/executions/{execution}")
    whole = await person.get(f"/ui/executions/{execution}/payload")

    assert len(page.text) < 100_000
    assert "end-of-it" not in page.text
    assert f'href="/ui/executions/{execution}/payload"' in page.text
    assert whole.text == payload
    assert whole.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert whole.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["", "/payload"])
async def test_what_is_missing_or_of_another_account_is_a_page_that_says_so(
    daemon: RunningDaemon, person: Browser, database: Database, user: int, path: str
) -> None:
    execution = await add_execution(database, await add_cue(database, user), **DONE)
    other = await signed_in(daemon, await daemon.api.register("other@example.com"))
    asked = [(other, str(execution)), (person, str(uuid4())), (person, "x"), (person, str(execution).upper() + "0")]

    pages = [await one.get(f"/ui/executions/{name}{path}") for one, name in asked]

    assert [page.status_code for page in pages] == [404] * 4
    assert all("There is no such execution" in text_of(page) for page in pages)
    assert (await person.get(f"/ui/executions/{execution}{path}")).status_code == 200


async def test_a_replay_is_made_once_and_both_pages_name_the_other(
    person: Browser, database: Database, user: int
) -> None:
    execution = await add_execution(database, await add_cue(database, user, **WORKER), **DONE)
    nonce = NONCE.search((await person.get(f"/ui/executions/{execution}")).text)
    assert nonce is not None

    answers = [
        await person.post(f"/ui/executions/{execution}/replay", {"nonce": nonce[1]}) for _ in range(2)
    ]  # fmt: skip

    first, again = map(target, answers)
    new = await person.get(first)
    assert first == again != f"/ui/executions/{execution}"
    assert "Replayed: this is the new execution." in text_of(new)
    assert f'href="/ui/executions/{execution}"' in new.text
    assert f'href="{first}"' in (await person.get(f"/ui/executions/{execution}")).text
    assert len(await database.fetch("select 1 from executions")) == 2


async def test_an_outcome_is_verified_and_rejected_with_a_reason(
    person: Browser, database: Database, user: int
) -> None:
    cue_id = await add_cue(database, user, verification="manual")
    execution = await add_execution(database, cue_id, **reported("verification_pending", summary="8 stories"))
    path = f"/ui/executions/{execution}"
    texts = [text_of(await person.get(path))]

    texts += [text_of(await person.get(target(await person.post(f"{path}/verify"))))]
    texts += [text_of(await person.get(target(await person.post(f"{path}/reject", {"reason": "too short"}))))]
    refused = await person.post(f"{path}/reject", {"reason": "once more"})

    assert "Reported as done; it waits for your verdict." in texts[0]
    assert "Verified." in texts[1]
    assert "Rejected: its outcome counts as a failure." in texts[2]
    assert "8 stories — too short" in texts[2]
    assert (refused.status_code, "once more" in refused.text) == (409, True)
    assert "cannot be rejected" in text_of(refused)


async def test_a_report_by_hand_is_recorded_and_a_refused_one_keeps_what_was_typed(
    person: Browser, database: Database, user: int
) -> None:
    execution = await add_execution(database, await add_cue(database, user), **DONE)
    path = f"/ui/executions/{execution}"
    before = await person.get(path)

    done = await person.post(f"{path}/report", {"success": "no", "text": "the printer was empty"})
    page = await person.get(target(done))
    refused = await person.post(f"{path}/report", {"success": "yes", "text": "kept as typed"})

    assert 'action="' + f'{path}/report"' in before.text
    assert "The outcome is recorded." in text_of(page)
    assert "reported as failed: the handler said “the printer was empty”." in text_of(page)
    assert f"{path}/report" not in page.text
    assert refused.status_code == 409
    assert "already recorded" in text_of(refused)
    assert 'value="kept as typed"' in refused.text


async def test_a_refused_replay_stands_on_the_page(person: Browser, database: Database, user: int) -> None:
    execution = await add_execution(database, await add_cue(database, user, **WORKER))

    refused = await person.post(f"/ui/executions/{execution}/replay", {"nonce": "n"})

    assert refused.status_code == 409
    assert 'id="replay-problem" role="alert">Only what has ended' in refused.text
    assert "Timeline" in text_of(refused)


VERDICTS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "one that is due later": ({}, {"ready_at": ago(hours=-2), "scheduled_for": ago(hours=-2)}, "Due in "),
    "one that waits for a worker": (WORKER, {"ready_at": ago(minutes=22)}, ": no worker has claimed it yet."),
    "one that a worker runs": (
        WORKER,
        {"status": "delivering", "attempts": 1, "claimed_by_worker": "mac", "last_attempt_at": ago(seconds=90)},
        "Attempt 1 has been running for ",
    ),
    "one that is to be retried": (
        {"callback_host": "agent.example.com:443"},
        {"status": "retrying", "attempts": 1, "http_status": 502, "ready_at": ago(days=-2)},
        "1 attempt of 4 failed, the next one follows in",
    ),
    "a success": ({}, reported("reported_success", outcome_result="142 pages"), "Succeeded: “142 pages”"),
    "a delivery without an outcome": (
        {"callback_host": "agent.example.com:443"}, DONE,
        "Delivered: 200 from agent.example.com; no outcome was reported.",
    ),
    "one whose outcome may come": (
        {}, DONE | {"outcome_deadline_at": ago(hours=-1)}, "Delivered; its outcome must be reported within"
    ),
    "one without its evidence": (
        {"verification": "require_external_id"}, reported("verification_failed", validation_state="missing"),
        "without the evidence that it must have",
    ),
    "one that failed without an attempt": (
        {}, {"status": "failed", "finished_at": ago(), "error_message": "Monthly execution limit reached"},
        "Failed before any attempt: Monthly execution limit reached.",
    ),
    "one that failed and was found to be done": (
        {}, reported("verified_success", status="failed", attempts=3, error_message="it broke"),
        "It was found to be done all the same.",
    ),
    "one that is to be retried and waits for a verdict": (
        {}, reported("verification_pending", status="retrying", attempts=1, ready_at=ago(days=-2)),
        "It was reported as done all the same, and waits for your verdict.",
    ),
    "one that was missed": (
        {}, {"status": "missed", "finished_at": ago(), "error_message": "Skipped: execution 7 is still running."},
        "Skipped: execution 7 is still running.",
    ),
    "one without an outcome in time": (
        {}, {"status": "outcome_timeout", "attempts": 3, "finished_at": ago()},
        "Delivered in 3 attempts, and no outcome was reported before the deadline.",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("of_cue", "columns", "said"), VERDICTS.values(), ids=VERDICTS.keys())
async def test_the_first_line_says_what_came_of_it(
    person: Browser, database: Database, user: int, of_cue: dict[str, Any], columns: dict[str, Any], said: str
) -> None:
    execution: UUID = await add_execution(database, await add_cue(database, user, **of_cue), **columns)

    page = await person.get(f"/ui/executions/{execution}")

    assert page.status_code == 200
    assert said in text_of(page)


async def test_the_page_shows_how_far_a_handler_has_come(person: Browser, database: Database, user: int) -> None:
    cue_id = await add_cue(database, user, **WORKER)
    told = {"progress": 0.25, "progress_message": "<b>Page 3</b> of 12.", "progress_attempt": 1}
    running = {"status": "delivering", "attempts": 1, "started_at": ago(), "last_attempt_at": ago()}
    execution = await add_execution(database, cue_id, **running, **told)

    page = await person.get(f"/ui/executions/{execution}")

    assert '<progress max="1" value="0.25"' in page.text
    assert "25 % <b>Page 3</b> of 12." in text_of(page)
