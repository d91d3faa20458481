"""The body of a PATCH follows from the body that creates."""

from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError

from cueapi.api.models.requests.bodies import NULL_CLEARS, ONLY_ON_CREATE, Open, optional, patch_of
from cueapi.api.models.requests.cues import CueBody, CuePatch


class PartBody(Open):
    """A nested object."""

    size: Annotated[int, Field(ge=1)] | None = optional("How large.", 1)
    note: Annotated[str | None, NULL_CLEARS] = optional("What of it.", left_out="nothing")


class ThingBody(Open):
    """A thing."""

    name: Annotated[str, Field(min_length=1)] = Field(description="Its name.")
    part: PartBody | None = optional("Its part.")
    kind: Annotated[str | None, ONLY_ON_CREATE] = optional("Its kind.")


ThingPatch = patch_of(ThingBody, status=(str, optional("Its state.")))


def given(patch: dict[str, Any]) -> dict[str, Any]:
    """What the body of a PATCH comes to."""
    return ThingPatch.model_validate(patch).model_dump(exclude_unset=True)


@pytest.mark.parametrize(
    "patch",
    [{}, {"name": "x"}, {"status": "y"}, {"part": {}}, {"part": {"size": 2}}, {"part": {"note": None}}],
    ids=str,
)
def test_every_field_may_be_left_out_and_only_what_was_given_counts(patch: dict[str, Any]) -> None:
    assert given(patch) == patch


@pytest.mark.parametrize(
    "patch",
    [
        {"name": None}, {"name": ""}, {"part": None}, {"part": {"size": None}}, {"part": {"size": 0}},
        {"part": {"size": "2"}}, {"part": {"strange": 1}}, {"kind": "k"}, {"strange": 1},
    ],
    ids=str,
)  # fmt: skip
def test_null_what_is_out_of_bounds_and_what_is_unknown_is_refused(patch: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        given(patch)


def test_what_holds_for_a_field_that_is_left_out_is_told_of_the_creation_alone() -> None:
    create = PartBody.model_json_schema()["properties"]
    patch = ThingPatch.model_json_schema()["$defs"]["PartPatch"]["properties"]

    assert (create["size"]["default"], "default" in patch["size"]) == (1, False)
    assert create["note"]["description"] == "What of it. Left out: nothing."
    assert patch["note"]["description"] == "What of it."


def test_a_cue_s_patch_has_its_fields_but_for_the_transport_and_the_short_form() -> None:
    only_on_create = {"transport", "cron", "at", "timezone", "callback_url", "worker"}

    assert set(CuePatch.model_fields) == set(CueBody.model_fields) - only_on_create | {"status"}
