import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio

from cueapi.settings import Settings
from tests.api.refusals import Refused, surprises
from tests.conftest import Api, RunningDaemon, cue, running
from tests.process import HANG

URL = "https://93.184.215.14/run"
"""An address: nothing to look up, and nothing is sent there before the new year."""

CUE_ID = re.compile(r"cue_[a-z0-9]{12}")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z")
LIMIT = 1_048_576


def scheduled(**schedule: object) -> dict[str, Any]:
    return cue(URL, schedule=schedule)


def called(**callback: object) -> dict[str, Any]:
    return cue(URL, callback={"url": URL, **callback})


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in cue(URL).items() if key != name}


INVALID = [
    Refused("no name", without("name"), 422, "validation_error", "body.name: is required"),
    Refused("a null name", cue(URL, name=None), 422, "validation_error", "body.name: input should be a valid text"),
    Refused("an empty name", cue(URL, name=""), 422, "validation_error", "body.name: string should have at least 1"),
    Refused("a long name", cue(URL, name="x" * 256), 422, "validation_error", "at most 255 characters"),
    Refused("a number as name", cue(URL, name=5), 422, "validation_error", "body.name"),
    *(
        Refused(f"the group {group!r}", cue(URL, group=group), 422, "validation_error", "body.group")
        for group in ("", "Team", "-a", ".a", "a b", "a\n", "é", "x" * 64, 5, ["a"])
    ),
    Refused("a number as description", cue(URL, description=5), 422, "validation_error", "body.description"),
    Refused("a text as schedule", cue(URL, schedule="0 9 * * *"), 422, "validation_error", "body.schedule"),
    Refused("a number as type", scheduled(type=5), 422, "validation_error", "body.schedule.type"),
    Refused("a number as cron", scheduled(type="recurring", cron=5), 422, "validation_error", "body.schedule.cron"),
    Refused("a number as at", scheduled(type="once", at=1893456000), 422, "validation_error", "body.schedule.at"),
    Refused("catchup", scheduled(cron="@daily", catchup="some"), 422, "validation_error", "'latest', 'all' or 'none'"),
    Refused("overlap", scheduled(cron="@daily", overlap="queue"), 422, "validation_error", "'allow' or 'skip'"),
    Refused("transport", cue(URL, transport="email"), 422, "validation_error", "'webhook' or 'worker'"),
    Refused("transport inside", called(transport="worker"), 422, "validation_error", "belongs at the top level"),
    Refused("webhook without callback", without("callback"), 422, "validation_error", "body.callback.url"),
    Refused("callback without url", cue(callback={}, transport="webhook"), 422, "validation_error", "a callback URL"),
    Refused("a text as callback", cue(callback=URL), 422, "validation_error", "body.callback: "),
    Refused("a number as url", called(url=5), 422, "validation_error", "body.callback.url"),
    Refused("another method", called(method="DELETE"), 422, "validation_error", "'POST', 'GET', 'PUT' or 'PATCH'"),
    Refused("a small method", called(method="post"), 422, "validation_error", "body.callback.method"),
    Refused("headers as list", called(headers=["X-A: 1"]), 422, "validation_error", "body.callback.headers"),
    Refused("a number as header", called(headers={"X-A": 1}), 422, "validation_error", "body.callback.headers.X-A"),
    Refused("no name of a header", called(headers={"X A": "1"}), 422, "validation_error", "is no name of a header"),
    Refused("a line in a header", called(headers={"X-A": "1\r\nX-B: 2"}), 422, "validation_error", "cannot carry"),
    Refused("a list as payload", cue(URL, payload=[1]), 422, "validation_error", "body.payload"),
    Refused("a text as payload", cue(URL, payload="{}"), 422, "validation_error", "body.payload"),
    Refused("a list as retry", cue(URL, retry=[1, 5]), 422, "validation_error", "body.retry"),
    Refused("no try", cue(URL, retry={"max_attempts": 0}), 422, "validation_error", "greater than or equal to 1"),
    Refused("12 attempts", cue(URL, retry={"max_attempts": 12}), 422, "validation_error", "less than or equal to 11"),
    Refused("attempts as text", cue(URL, retry={"max_attempts": "3"}), 422, "validation_error", "retry.max_attempts"),
    Refused("attempts true", cue(URL, retry={"max_attempts": True}), 422, "validation_error", "retry.max_attempts"),
    Refused("no pauses", cue(URL, retry={"backoff_minutes": []}), 422, "validation_error", "retry.backoff_minutes"),
    Refused("11 pauses", cue(URL, retry={"backoff_minutes": [1] * 11}), 422, "validation_error", "at most 10"),
    Refused("pause < 0", cue(URL, retry={"backoff_minutes": [-1]}), 422, "validation_error", "backoff_minutes.0"),
    Refused("pause > 1440", cue(URL, retry={"backoff_minutes": [1, 1441]}), 422, "validation_error", "equal to 1440"),
    Refused("half a minute", cue(URL, retry={"backoff_minutes": [0.5]}), 422, "validation_error", "backoff_minutes.0"),
    Refused("one pause", cue(URL, retry={"backoff_minutes": 5}), 422, "validation_error", "retry.backoff_minutes"),
    Refused("email yes", cue(URL, on_failure={"email": "yes"}), 422, "validation_error", "body.on_failure.email"),
    Refused("pause 1", cue(URL, on_failure={"pause": 1}), 422, "validation_error", "body.on_failure.pause"),
    Refused("webhook true", cue(URL, on_failure={"webhook": True}), 422, "validation_error", "on_failure.webhook"),
    Refused("a text as verification", cue(URL, verification="manual"), 422, "validation_error", "body.verification"),
    Refused("mode", cue(URL, verification={"mode": "strict"}), 422, "validation_error", "require_external_id"),
    Refused("no time", cue(URL, delivery={"timeout_seconds": 0}), 422, "validation_error", "delivery.timeout_seconds"),
    Refused("over 15 minutes", cue(URL, delivery={"timeout_seconds": 901}), 422, "validation_error", "at most 900"),
    Refused("over an hour", cue(URL, delivery={"timeout_seconds": 3_601}), 422, "validation_error", "equal to 3600"),
    Refused("deadline 0", cue(URL, delivery={"outcome_deadline_seconds": 0}), 422, "validation_error", "deadline"),
    Refused("a week", cue(URL, delivery={"outcome_deadline_seconds": 604_801}), 422, "validation_error", "604800"),
    Refused("alert at 0", cue(URL, alerts={"consecutive_failures": 0}), 422, "validation_error", "body.alerts"),
    Refused("at 101", cue(URL, alerts={"consecutive_failures": 101}), 422, "validation_error", "equal to 100"),
    Refused("windows 0", cue(URL, alerts={"missed_window_multiplier": 0}), 422, "validation_error", "body.alerts"),
    Refused("windows 101", cue(URL, alerts={"missed_window_multiplier": 101}), 422, "validation_error", "to 100"),
    Refused("no object", [cue(URL)], 422, "validation_error", "body: must be a JSON object"),
    Refused("both forms", cue(URL, cron="@daily"), 422, "validation_error", "either schedule or the short form (cron)"),
    Refused("two zones", cue(URL, timezone="Asia/Tokyo"), 422, "validation_error", "body.timezone: contradicts"),
    Refused("an empty url", cue(""), 422, "validation_error", "needs a callback URL"),
    Refused("both urls", cue(URL, callback_url=URL), 422, "validation_error", "either callback or the short form"),
    Refused("a webhook worker", cue(URL, transport="webhook", worker=True), 422, "validation_error", "body.worker"),
]

SCHEDULES = [
    Refused("none", without("schedule"), 400, "invalid_schedule", '"cron": "0 9 * * *"'),
    Refused("an empty one", cue(URL, schedule={}), 400, "invalid_schedule", "0 9 * * *"),
    Refused("neither type", scheduled(type="daily", cron="0 9 * * *"), 400, "invalid_schedule", "'daily'"),
    Refused("an empty type", scheduled(type="", cron="0 9 * * *"), 400, "invalid_schedule", "'recurring' or 'once'"),
    Refused("no cron", scheduled(type="recurring"), 400, "invalid_schedule", "for example '0 9 * * *'"),
    Refused("at instead", scheduled(type="recurring", at="2090-01-01T00:00:00Z"), 400, "invalid_schedule", "needs"),
    Refused("an empty cron", scheduled(type="recurring", cron=""), 400, "invalid_schedule", "for example"),
    Refused("words", scheduled(type="recurring", cron="every day"), 400, "invalid_schedule", "Valid are for example"),
    Refused("four fields", scheduled(type="recurring", cron="0 9 * *"), 400, "invalid_schedule", "has 4 fields"),
    Refused("seconds", scheduled(type="recurring", cron="0 0 9 * * *"), 400, "invalid_schedule", "no seconds"),
    Refused("question mark", scheduled(type="recurring", cron="0 9 ? * 1"), 400, "invalid_schedule", "write '*'"),
    Refused("minute 60", scheduled(type="recurring", cron="60 9 * * *"), 400, "invalid_schedule", "only 0 to 59"),
    Refused("reboot", scheduled(type="recurring", cron="@reboot"), 400, "invalid_schedule", "'@reboot'"),
    Refused("never", scheduled(type="recurring", cron="0 0 31 2 *"), 400, "invalid_schedule", "never comes"),
    Refused("no at", scheduled(type="once"), 400, "invalid_schedule", "'2030-05-01T09:00:00Z'"),
    Refused("cron instead", scheduled(type="once", cron="0 9 * * *"), 400, "invalid_schedule", "needs schedule.at"),
    Refused("the past", scheduled(type="once", at="2020-01-01T00:00:00Z"), 400, "invalid_schedule", "in the future"),
    Refused("a word", scheduled(type="once", at="tomorrow"), 400, "invalid_schedule", "'tomorrow' is no ISO 8601"),
    Refused("an empty at", scheduled(type="once", at=""), 400, "invalid_schedule", "Valid are for example"),
    Refused("no time of day", scheduled(type="once", at="2090-05-01"), 400, "invalid_schedule", "no time of day"),
    Refused("no such day", scheduled(type="once", at="2090-02-30T09:00:00Z"), 400, "invalid_schedule", "calendar"),
    Refused("no such zone", scheduled(cron="@daily", timezone="Mars/Olympus"), 422, "invalid_timezone", "Mars/Olympus"),
    Refused("an empty zone", scheduled(cron="@daily", timezone=""), 422, "invalid_timezone", "'Europe/London'"),
    Refused("an offset", scheduled(cron="@daily", timezone="+02:00"), 422, "invalid_timezone", "for example"),
    Refused("small", scheduled(cron="@daily", timezone="europe/london"), 422, "invalid_timezone", "did you mean"),
    Refused("a path", scheduled(cron="@daily", timezone="../../etc/passwd"), 422, "invalid_timezone", "no IANA"),
]

URLS = {
    "no URL": ("your-agent", "http:// or https://"),
    "another scheme": ("ftp://93.184.215.14/", "http:// or https://"),
    "no host": ("https:///run", "needs a host"),
    "user info": ("https://user:secret@93.184.215.14/", "user name or password"),
    "port 0": ("https://93.184.215.14:0/", "port"),
    "port 65536": ("https://93.184.215.14:65536/", "1 to 65535"),
    "a space": ("https://93.184.215.14/a b", "space"),
    "too long": ("https://93.184.215.14/" + "a" * 2_048, "2,048 characters"),
    "a zone id": ("http://[fe80::1%25eth0]/", "zone id"),
    "localhost": ("http://localhost:9999/run", "CALLBACK_ALLOW=localhost"),
    "localhost with a dot": ("http://LOCALHOST./run", "private address"),
    "a name below localhost": ("http://agent.localhost/", "private address"),
    "Google's metadata": ("http://metadata.google.internal/", "private address"),
    "metadata": ("http://metadata.internal/", "private address"),
    "loopback": ("http://127.0.0.1:8000/", "127.0.0.1 is a private address"),
    "loopback in short": ("http://127.1/", "private address"),
    "loopback as a number": ("http://2130706433/", "private address"),
    "loopback in octal": ("http://0177.0.0.1/", "private address"),
    "loopback in hex": ("http://0x7f.1/", "private address"),
    "10": ("http://10.0.0.1/", "private address"),
    "172.16": ("https://172.16.0.1/", "private address"),
    "192.168": ("https://192.168.1.1/", "private address"),
    "cloud metadata": ("http://169.254.169.254/latest/", "private address"),
    "unspecified": ("http://0.0.0.0/", "private address"),
    "carrier-grade": ("http://100.64.0.1/", "private address"),
    "multicast": ("http://224.0.0.1/", "private address"),
    "IPv6 loopback": ("http://[::1]/", "private address"),
    "IPv6 mapped": ("http://[::ffff:10.0.0.1]/", "private address"),
    "IPv6 local": ("http://[fd00::1]/", "private address"),
}

CALLBACKS = [Refused(why, cue(url), 400, "invalid_callback_url", telling) for why, (url, telling) in URLS.items()]
FAILURE_WEBHOOKS = [
    Refused(why, cue(on_failure={"webhook": url}), 400, "invalid_callback_url", telling)
    for why, (url, telling) in URLS.items()
]


RETRIES = [
    ({}, (4, [1, 5, 15])),
    ({"backoff_minutes": [2]}, (2, [2])),
    ({"backoff_minutes": [1] * 10}, (11, [1] * 10)),
    ({"max_attempts": 1}, (1, [1, 5, 15])),
    ({"max_attempts": 6, "backoff_minutes": [0]}, (6, [0])),
]


async def test_what_a_field_cannot_hold_is_refused_by_its_name(api: Api) -> None:
    with trio.fail_after(20):
        found = await surprises(api, "POST", "/v1/cues", INVALID)
        total = (await api.get("/v1/cues"))["total"]

    assert found == {}
    assert total == 0


async def test_a_schedule_that_cannot_be_is_refused_with_a_valid_example(api: Api) -> None:
    with trio.fail_after(20):
        found = await surprises(api, "POST", "/v1/cues", SCHEDULES)
        total = (await api.get("/v1/cues"))["total"]

    assert found == {}
    assert total == 0


async def test_a_url_that_leads_inside_is_refused_when_it_is_stored(settings: Settings) -> None:
    with trio.fail_after(20):
        async with running(settings.model_copy(update={"callback_allow": ""})) as daemon:
            api = await daemon.api.register()
            found = await surprises(api, "POST", "/v1/cues", CALLBACKS)
            found_elsewhere = await surprises(api, "POST", "/v1/cues", FAILURE_WEBHOOKS)

    assert found == {}
    assert found_elsewhere == {}


async def test_in_production_a_callback_must_be_https(settings: Settings) -> None:
    with trio.fail_after(20):
        async with running(settings.model_copy(update={"env": "production", "callback_allow": ""})) as daemon:
            api = await daemon.api.register()
            refused = await api.refused("POST", "/v1/cues", cue("http://93.184.215.14/run"))
            made = await api.post("/v1/cues", cue(URL))

    assert refused[:2] == (400, "invalid_callback_url")
    assert "must begin with https://" in refused[2]
    assert made["callback"]["url"] == URL


async def test_every_wrong_field_is_named_and_the_first_is_spelled_out(api: Api) -> None:
    body = cue(URL, name="", retry={"max_attempts": 0}, schedule={"type": 5})
    with trio.fail_after(HANG):
        response = await api.ask("POST", "/v1/cues", body)

    error = response.json()["error"]
    assert (response.status_code, error["code"], error["status"]) == (422, "validation_error", 422)
    assert [detail["field"] for detail in error["details"]] == [
        "body.name",
        "body.schedule.type",
        "body.retry.max_attempts",
    ]
    assert error["message"] == f"{error['details'][0]['field']}: {error['details'][0]['message']}"


async def test_a_cue_that_says_the_least_gets_every_default(api: Api) -> None:
    body = {"name": "least", "schedule": {"type": "recurring", "cron": "0 9 * * *"}, "callback": {"url": URL}}
    with trio.fail_after(HANG):
        response = await api.ask("POST", "/v1/cues", body)
        made = response.json()
        shown = await api.get(f"/v1/cues/{made['id']}")

    assert response.status_code == 201
    assert made == {
        "id": made["id"],
        "name": "least",
        "description": None,
        "group": None,
        "status": "active",
        "status_changed": None,
        "transport": "webhook",
        "schedule": {
            "type": "recurring",
            "timezone": "UTC",
            "cron": "0 9 * * *",
            "catchup": "latest",
            "overlap": "allow",
        },
        "callback": {"url": URL, "method": "POST", "headers": {}},
        "payload": {},
        "retry": {"max_attempts": 4, "backoff_minutes": [1, 5, 15]},
        "on_failure": {"email": True, "webhook": None, "pause": False},
        "verification": {"mode": "none"},
        "delivery": None,
        "alerts": None,
        "budget": None,
        "budget_use": None,
        "next_run": made["next_run"],
        "last_run": None,
        "run_count": 0,
        "fired_count": 0,
        "held_count": 0,
        "target_state": "closed",
        "warning": None,
        "created_at": made["created_at"],
        "updated_at": made["created_at"],
    }
    assert CUE_ID.fullmatch(made["id"])
    assert MOMENT.fullmatch(made["created_at"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT09:00:00Z", made["next_run"])
    assert {name: shown[name] for name in made} == made


async def test_a_cue_that_says_everything_is_shown_as_it_was_said(api: Api) -> None:
    said = {
        "name": "Zoë's brief \N{SUNRISE}",
        "description": "every\nmorning",
        "transport": "webhook",
        "schedule": {
            "type": "once",
            "timezone": "America/New_York",
            "at": "2090-07-01T09:00:00.250000Z",
            "catchup": "none",
            "overlap": "skip",
        },
        "callback": {"url": URL, "method": "PUT", "headers": {"X-Team": "a", "Authorization": "Bearer x"}},
        "payload": {"task": "brief", "ratio": 0.1, "big": 2**53, "none": None, "deep": [{"ä": "\N{SUNRISE}"}]},
        "retry": {"max_attempts": 11, "backoff_minutes": [0, 1440]},
        "on_failure": {"email": False, "webhook": "https://93.184.215.14/failed", "pause": True},
        "verification": {"mode": "require_artifacts"},
        "delivery": {"timeout_seconds": 900, "outcome_deadline_seconds": 604_800},
        "alerts": {"consecutive_failures": 100, "missed_window_multiplier": 1},
    }
    with trio.fail_after(HANG):
        made = await api.post("/v1/cues", said)

    assert {name: made[name] for name in said} == said
    assert made["next_run"] == said["schedule"]["at"]
    assert made["warning"] is None


async def test_a_worker_cue_takes_an_empty_url_for_none(api: Api) -> None:
    with trio.fail_after(20):
        short = await api.post("/v1/cues", {"name": "w", "cron": "@daily", "worker": True, "callback_url": ""})
        nested = await api.post("/v1/cues", {"name": "v", "cron": "@daily", "worker": True, "callback": {"url": URL}})
        changed = await api.patch(f"/v1/cues/{nested['id']}", {"callback": {"url": ""}})

    assert [one["callback"]["url"] for one in (short, nested, changed)] == [None, URL, None]


async def test_a_worker_cue_needs_no_callback_and_shows_one_all_the_same(api: Api) -> None:
    with trio.fail_after(HANG):
        made = await api.post("/v1/cues", {"name": "w", "transport": "worker", "schedule": {"cron": "@daily"}})
        await api.post("/v1/worker/heartbeat", {"handlers": ["w"]})
        served = await api.get(f"/v1/cues/{made['id']}")

    assert made["transport"] == "worker"
    assert made["callback"] == {"url": None, "method": "POST", "headers": {}}
    assert made["retry"] == {"max_attempts": 4, "backoff_minutes": [1, 5, 15]}
    assert made["verification"] == {"mode": "none"}
    assert (made["payload"], made["schedule"]["type"]) == ({}, "recurring")
    assert "worker" in made["warning"]
    assert served["warning"] is None


async def test_the_short_form_says_the_same_as_the_long_one(api: Api) -> None:
    with trio.fail_after(HANG):
        short = await api.post(
            "/v1/cues", {"name": "a", "cron": "0 9 * * MON", "timezone": "Europe/Paris", "callback_url": URL}
        )
        long = await api.post(
            "/v1/cues",
            {
                "name": "b",
                "schedule": {"type": "recurring", "cron": "0 9 * * MON", "timezone": "Europe/Paris"},
                "callback": {"url": URL},
            },
        )
        short_worker = await api.post("/v1/cues", {"name": "c", "at": "2090-01-01T00:00:00Z", "worker": True})
        bare_callback = await api.post("/v1/cues", {"name": "d", "cron": "@daily", "callback": {"url": URL}})
        refused = await api.refused("POST", "/v1/cues", {"name": "e", "cron": "0 9 31 2 *", "worker": True})

    differing = {"id", "name", "created_at", "updated_at"}
    assert {name: short[name] for name in short.keys() - differing} == {
        name: long[name] for name in long.keys() - differing
    }
    assert short["warning"] is None
    assert short_worker["transport"] == "worker"
    assert short_worker["schedule"] == {
        "type": "once",
        "timezone": "UTC",
        "at": "2090-01-01T00:00:00Z",
        "catchup": "latest",
        "overlap": "allow",
    }
    assert bare_callback["callback"]["url"] == URL
    assert refused[:2] == (400, "invalid_schedule")


async def test_unknown_keys_are_named_and_ignored(api: Api) -> None:
    body = cue(
        URL,
        colour="red",
        retries=3,
        schedule={"type": "recurring", "cron": "@daily", "tz": "UTC"},
        callback={"url": URL, "timeout": 5, "headers": {"X-Anything": "goes"}},
        on_failure={"slack": "#ops"},
        delivery={"timeout_seconds": 5, "retries": 2},
        payload={"anything": "goes"},
    )
    with trio.fail_after(HANG):
        made = await api.post("/v1/cues", body)
        shown = await api.get(f"/v1/cues/{made['id']}")

    named = set(re.findall(r"[a-z_.]+", made["warning"].partition(": ")[2].rstrip(".")))
    assert named == {"colour", "retries", "schedule.tz", "callback.timeout", "on_failure.slack", "delivery.retries"}
    assert made["on_failure"] == {"email": True, "webhook": None, "pause": False}
    assert made["delivery"] == {"timeout_seconds": 5}
    assert set(made["schedule"]) == {"type", "timezone", "cron", "catchup", "overlap"}
    assert shown["warning"] is None


@pytest.mark.parametrize(
    ("given", "warning"),
    [
        (
            {"schedule": {"type": "recurring", "cron": "@daily", "at": "2030-01-01T00:00:00Z"}},
            "Of no use in a schedule of type recurring: schedule.at.",
        ),
        (
            {"schedule": {"type": "once", "at": "2190-01-01T00:00:00Z", "cron": "@daily"}},
            "Of no use in a schedule of type once: schedule.cron.",
        ),
        (
            {"callback": {"url": URL, "headers": {"Host": "other", "X-Mine": "1", "webhook-id": "7"}}},
            "Headers that only we set are not sent: Host, webhook-id.",
        ),
    ],
    ids=["a time", "a cron", "headers"],
)
async def test_what_is_given_and_does_nothing_is_named(api: Api, given: dict[str, Any], warning: str) -> None:
    with trio.fail_after(HANG):
        made = await api.post("/v1/cues", cue(URL, **given))

    assert made["warning"] == warning


async def test_a_host_that_does_not_resolve_yet_is_taken_with_a_warning(api: Api) -> None:
    with trio.fail_after(20):
        callback = await api.post("/v1/cues", cue("https://agent.invalid/run", colour="red"))
        shown = await api.get(f"/v1/cues/{callback['id']}")
        failure = await api.post("/v1/cues", cue(URL, on_failure={"webhook": "https://ops.invalid/"}))

    assert re.search(r"agent\.invalid (does|did) not resolve", callback["warning"])
    assert "colour" in callback["warning"]
    assert re.search(r"agent\.invalid (does|did) not resolve", shown["warning"])
    assert re.search(r"ops\.invalid (does|did) not resolve", failure["warning"])


async def test_tries_are_one_more_than_pauses_where_they_are_not_said(api: Api) -> None:
    with trio.fail_after(HANG):
        made = [await api.post("/v1/cues", cue(URL, retry=said)) for said, _ in RETRIES]

    assert [one["retry"] for one in made] == [
        {"max_attempts": tries, "backoff_minutes": pauses} for _, (tries, pauses) in RETRIES
    ]


async def test_a_one_time_cue_without_an_offset_means_its_timezone(api: Api) -> None:
    with trio.fail_after(HANG):
        local = await api.post("/v1/cues", scheduled(type="once", at="2090-07-01T09:00:00", timezone="Europe/London"))
        offset = await api.post(
            "/v1/cues", scheduled(type="once", at="2090-07-01T09:00:00+02:00", timezone="Europe/London")
        )
        recurring = await api.post("/v1/cues", scheduled(cron="0 9 * * *", timezone="Asia/Kolkata"))

    assert (local["schedule"]["at"], local["next_run"]) == ("2090-07-01T08:00:00Z", "2090-07-01T08:00:00Z")
    assert offset["schedule"]["at"] == "2090-07-01T07:00:00Z"
    assert recurring["next_run"].endswith("T03:30:00Z")
    assert datetime.fromisoformat(recurring["next_run"]) - datetime.now(UTC) <= timedelta(days=1)


async def test_a_payload_may_have_a_mebibyte_in_the_form_in_which_it_is_sent(api: Api) -> None:
    # {"a": "…"} is 9 bytes around its text, and each ä is sent as six.
    largest = {"a": "ä" * ((LIMIT - 9) // 6) + "x" * ((LIMIT - 9) % 6)}
    one_more = {"a": largest["a"] + "x"}
    with trio.fail_after(20):
        bodies = [json.dumps(cue(URL, payload=payload), ensure_ascii=False) for payload in (largest, one_more)]
        taken, refused = [
            await api.client.post("/v1/cues", content=body.encode(), headers={"Authorization": f"Bearer {api.key}"})
            for body in bodies
        ]

    assert len(json.dumps(largest)) == LIMIT
    assert taken.status_code == 201
    assert taken.json()["payload"] == largest
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_payload_size")
    assert "1,048,577 bytes" in refused.json()["error"]["message"]


async def test_a_name_belongs_to_one_cue_of_a_user_until_it_is_deleted(api: Api) -> None:
    with trio.fail_after(HANG):
        first = await api.post("/v1/cues", cue(URL, name="brief"))
        again = await api.refused("POST", "/v1/cues", cue(URL, name="brief"))
        await api.post("/v1/cues", cue(URL, name="Brief"))
        await (await api.register("other@example.com")).post("/v1/cues", cue(URL, name="brief"))
        await api.ask("DELETE", f"/v1/cues/{first['id']}")
        await api.post("/v1/cues", cue(URL, name="brief"))

    assert again[:2] == (409, "duplicate_cue_name")
    assert "'brief'" in again[2]


async def test_a_worker_cue_cannot_ask_for_evidence(api: Api) -> None:
    modes = ("require_external_id", "require_result_url", "require_artifacts")
    with trio.fail_after(HANG):
        refused = [await api.ask("POST", "/v1/cues", cue(verification={"mode": mode})) for mode in modes]
        taken = [await api.post("/v1/cues", cue(verification={"mode": mode})) for mode in ("none", "manual")]

    assert [response.status_code for response in refused] == [400] * 3
    errors = [response.json()["error"] for response in refused]
    assert {error["code"] for error in errors} == {"unsupported_verification_for_transport"}
    assert {error["transport"] for error in errors} == {"worker"}
    assert [error["verification_mode"] for error in errors] == list(modes)
    assert all(error["supported_worker_modes"] == ["none", "manual"] for error in errors)
    assert "WORKER_EVIDENCE=true" in errors[0]["message"]
    assert [made["verification"]["mode"] for made in taken] == ["none", "manual"]


async def test_a_worker_cue_can_ask_for_evidence_where_the_operator_lets_it(settings: Settings) -> None:
    with trio.fail_after(20):
        async with running(settings.model_copy(update={"worker_evidence": True})) as daemon:
            api = await daemon.api.register()
            made = await api.post("/v1/cues", cue(verification={"mode": "require_artifacts"}))

    assert made["verification"] == {"mode": "require_artifacts"}


async def statuses_of_many(api: Api, bodies: list[dict[str, Any]]) -> list[int]:
    """The statuses of creations that go out at once."""
    statuses = []

    async def create(body: dict[str, Any]) -> None:
        statuses.append((await api.ask("POST", "/v1/cues", body)).status_code)

    async with trio.open_nursery() as nursery:
        for body in bodies:
            nursery.start_soon(create, body)
    return sorted(statuses)


async def test_no_more_cues_are_made_than_the_plan_has_however_many_are_made_at_once(settings: Settings) -> None:
    rounds = []
    with trio.fail_after(40):
        async with running(settings.model_copy(update={"active_cue_limit": 5})) as daemon:
            api = await daemon.api.register()
            for _ in range(5):
                statuses = await statuses_of_many(api, [cue(URL) for _ in range(16)])
                made = (await api.get("/v1/cues"))["cues"]
                rounds.append((statuses, len(made), (await api.get("/v1/auth/me"))["active_cues"]))
                ids = [one["id"] for one in made]
                await api.post("/v1/cues/bulk-delete", {"ids": ids}, X_Confirm_Destructive="true")

    assert rounds == [([201] * 5 + [403] * 11, 5, 5)] * 5


async def test_paused_cues_count_and_deleted_ones_do_not(settings: Settings) -> None:
    with trio.fail_after(20):
        async with running(settings.model_copy(update={"active_cue_limit": 1})) as daemon:
            api = await daemon.api.register()
            made = await api.post("/v1/cues", cue(URL))
            await api.patch(f"/v1/cues/{made['id']}", {"status": "paused"})
            refused = await api.refused("POST", "/v1/cues", cue(URL))
            await (await api.register("other@example.com")).post("/v1/cues", cue(URL))
            await api.ask("DELETE", f"/v1/cues/{made['id']}")
            await api.post("/v1/cues", cue(URL))

    assert refused[:2] == (403, "cue_limit_exceeded")
    assert "1 active and paused cues" in refused[2]


async def test_of_many_cues_of_one_name_at_once_one_is_made(daemon: RunningDaemon) -> None:
    with trio.fail_after(20):
        api = await daemon.api.register()
        rounds = [await statuses_of_many(api, [cue(URL, name=f"brief {turn}")] * 8) for turn in range(5)]

    assert rounds == [[201] + [409] * 7] * 5


@pytest.mark.parametrize("part", ["delivery", "alerts"])
async def test_an_empty_part_is_none_and_an_unknown_key_of_it_is_named(api: Api, part: str) -> None:
    empty = await api.post("/v1/cues", cue(**{part: {}}))
    strange = await api.post("/v1/cues", cue(**{part: {"odd": 1}}))
    changed = await api.patch(f"/v1/cues/{empty['id']}", {part: {}})

    assert (empty[part], strange[part], changed[part]) == (None, None, None)
    assert f"{part}.odd" in strange["warning"]


async def test_a_time_beyond_all_planning_is_refused(api: Api) -> None:
    body = {"name": "far", "at": "9999-12-31T23:59:59.999999Z", "worker": True}

    assert (await api.refused("POST", "/v1/cues", body))[:2] == (400, "invalid_schedule")


CATCH_UP = {"run_once_if_missed": "latest", "skip_missed": "none", "replay_all": "all"}


async def test_a_policy_may_be_given_in_the_words_of_catch_up(api: Api) -> None:
    with trio.fail_after(20):
        top = [await api.post("/v1/cues", cue(catch_up=word)) for word in CATCH_UP]
        below = [await api.post("/v1/cues", cue(**scheduled(cron="@daily", catch_up=word))) for word in CATCH_UP]
        short = await api.post("/v1/cues", {"name": "s", "cron": "@daily", "worker": True, "catch_up": "skip_missed"})
        both = await api.post("/v1/cues", cue(catch_up="skip_missed", **scheduled(cron="@daily", catchup="none")))
        contrary = await api.refused(
            "POST", "/v1/cues", cue(catch_up="skip_missed", **scheduled(cron="@daily", catchup="all"))
        )
        strange = await api.refused("POST", "/v1/cues", cue(catch_up="latest"))

    assert [one["schedule"]["catchup"] for one in top] == [*CATCH_UP.values()]
    assert [one["schedule"]["catchup"] for one in below] == [*CATCH_UP.values()]
    assert [one["schedule"]["catchup"] for one in (short, both)] == ["none", "none"]
    assert {one["warning"] for one in (*top, *below)} == {top[0]["warning"]}
    assert (contrary[0], contrary[2].partition(":")[0]) == (422, "body.catch_up")
    assert (strange[0], strange[2].partition(":")[0]) == (422, "body.catch_up")
