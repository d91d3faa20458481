"""The page that makes up for past times: a look with their number, then an operation, once."""

import trio

from tests.conftest import Api, cue
from tests.dashboard.browsing import Browser, target, text_of
from tests.dashboard.test_bulk_cues import ended, fields_of

HOURLY = {"schedule": {"type": "recurring", "cron": "0 * * * *", "timezone": "UTC"}}
FROM, TO = "2026-01-31T00:00", "2026-01-31T02:30"


async def test_past_times_are_made_up_for_after_a_look_and_a_second_click_makes_none_again(
    api: Api, person: Browser
) -> None:
    with trio.fail_after(30):
        made = await api.post("/v1/cues", cue(transport="worker", callback=None, **HOURLY))
        path = f"/ui/cues/{made['id']}/backfill"
        look = await person.post(f"{path}/look", {"from": FROM, "to": TO, "only_missing": "1"})
        before = await api.get(f"/v1/executions?cue_id={made['id']}")
        begun = [await person.post(f"{path}/begin", fields_of(look)) for _ in range(2)]
        shown = await ended(api, begun[0])
        after = await api.get(f"/v1/executions?cue_id={made['id']}")
        again = await person.post(f"{path}/look", {"from": FROM, "to": TO, "only_missing": "1"})

    assert "3 times" in text_of(look)
    assert target(begun[1]) == target(begun[0])
    assert (shown["kind"], shown["matched"], shown["done"]) == ("backfill", 3, 3)
    assert (before["total"], after["total"]) == (0, 3)
    assert "Each of its times there has an execution." in text_of(again)


async def test_what_lies_in_the_future_is_refused_beside_its_field_and_what_was_typed_stays(
    api: Api, person: Browser
) -> None:
    made = await api.post("/v1/cues", cue(transport="worker", callback=None, **HOURLY))

    refused = await person.post(f"/ui/cues/{made['id']}/backfill/look", {"from": FROM, "to": "2199-01-31T00:00"})

    assert refused.status_code == 422
    assert 'id="to-problem"' in refused.text
    assert f'value="{FROM}"' in refused.text


async def test_a_number_of_thousands_of_digits_is_refused_and_nothing_is_begun(api: Api, person: Browser) -> None:
    made = await api.post("/v1/cues", cue(transport="worker", callback=None, **HOURLY))
    path, typed = f"/ui/cues/{made['id']}/backfill", {"from": FROM, "to": TO}

    for name in ("rate", "expected"):
        refused = await person.post(f"{path}/begin", typed | {name: "9" * 5_000, "nonce": name})
        assert refused.status_code in {409, 422}

    assert (await api.get("/v1/operations"))["operations"] == []
