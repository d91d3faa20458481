"""Rows become answers as the models say, and users' JSON comes out as it went in."""

import json
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import trio
from pydantic import Field

from cueapi.api.models.rendering import Column, Columns, Computed, Rendered, json_in, written
from tests.conftest import Api, cue

HUGE = {"big": 2**70, "small": -(2**64), "float": 1e300}
DEEP = json.loads('{"a":' * 90 + "[]" + "}" * 90)


class Part(Rendered):
    """A nested model."""

    columns: ClassVar[Columns] = {"id": Column("part_id")}

    id: int | None
    note: str | None = Field(default=None)


class Whole(Rendered):
    """A model with one of everything."""

    columns: ClassVar[Columns] = {"payload": json_in("payload"), "twice": Computed("half", lambda half: 2 * half)}

    name: str
    payload: dict[str, Any] | None
    twice: int
    part: Part
    perhaps: Part | None


ROW = {"name": "n", "payload": '{"b": 1, "a": 2}', "half": 4, "part_id": 5, "note": "x"}


def rendered(**changed: Any) -> Any:
    """What a row becomes on the wire."""
    return json.loads(written(Whole.render(SimpleNamespace(**ROW | changed))))


def test_a_field_comes_from_the_column_of_its_name_or_from_the_one_that_is_named() -> None:
    part = {"id": 5, "note": "x"}

    assert rendered() == {"name": "n", "payload": {"b": 1, "a": 2}, "twice": 8, "part": part, "perhaps": part}
    assert [*rendered()] == [*Whole.model_fields]


def test_null_leaves_out_a_field_with_a_default_and_empties_a_part_that_may_be_null() -> None:
    assert rendered(note=None)["part"] == {"id": 5}
    assert rendered(part_id=None)["perhaps"] == {"id": None, "note": "x"}
    assert rendered(part_id=None, note=None)["perhaps"] is None
    assert rendered(part_id=None, note=None)["part"] == {"id": None}
    assert rendered(payload=None)["payload"] is None


@pytest.mark.parametrize("payload", [HUGE, DEEP, {"ä": "😀\n\u2028"}, {}], ids=["huge", "deep", "signs", "empty"])
async def test_a_payload_comes_back_as_it_was_sent_wherever_it_is_shown(api: Api, payload: dict[str, Any]) -> None:
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue(payload=payload), Idempotency_Key="k")
        again = await api.ask("POST", "/v1/cues", cue(payload=payload) | {"name": made["name"]}, Idempotency_Key="k")
        shown = await api.get(f"/v1/cues/{made['id']}")
        listed = await api.get("/v1/cues")
        changed = await api.patch(f"/v1/cues/{made['id']}", {"description": "x"})
        await api.post(f"/v1/cues/{made['id']}/fire", {"payload_override": {"x": 1}})
        claimable = await api.get("/v1/executions/claimable")
        claimed = await api.post("/v1/worker/heartbeat", {"claim": 1})

    assert [one["payload"] for one in (made, again.json(), shown, listed["cues"][0], changed)] == [payload] * 5
    assert [one["executions"][0]["payload"] for one in (claimable, claimed)] == [payload | {"x": 1}] * 2


async def test_metadata_artifacts_and_echoes_come_back_as_they_were_sent(api: Api) -> None:
    token = "/v1/echo/" + "t" * 20
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue())
        one = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]
        evidence = {"metadata": HUGE, "artifacts": [HUGE, DEEP]}
        await api.post(f"/v1/executions/{one}/outcome", {"success": True, **evidence})
        shown = await api.get(f"/v1/executions/{one}")
        listed = (await api.get("/v1/executions"))["executions"][0]
        await api.post(token, [HUGE, DEEP])
        echo = await api.get(token)

    assert shown["outcome"]["metadata"] == listed["outcome"]["metadata"] == HUGE
    assert shown["evidence"]["artifacts"] == listed["evidence"]["artifacts"] == [HUGE, DEEP]
    assert echo["payload"] == [HUGE, DEEP]
