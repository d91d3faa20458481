"""Named parameters of a statement become numbers, and nothing else is taken for one."""

import pytest

from cueapi.storage.statements import numbered_parameters

RESOLVED = {
    "one": ("select :user", ["user"], "select $1"),
    "in the order in which they are named": ("select :b, :a", ["a", "b"], "select $2, $1"),
    "one used twice": ("select :a + :a", ["a"], "select $1 + $1"),
    "one that begins as another does": ("select :host, :host_limit", ["host", "host_limit"], "select $1, $2"),
    "a cast": ("select :a::int, b::text, '1'::json", ["a"], "select $1::int, b::text, '1'::json"),
    "a quoted text": ("select ':a', 'it''s :a', :a", ["a"], "select ':a', 'it''s :a', $1"),
    "a quoted name": ('select ":a"."b:a"', [], 'select ":a"."b:a"'),
    "a comment": ("-- of :a, don't\nselect :b -- :a", ["b"], "-- of :a, don't\nselect $1 -- :a"),
    "none": ("select 1", [], "select 1"),
}


@pytest.mark.parametrize(("text", "names", "resolved"), RESOLVED.values(), ids=RESOLVED.keys())
def test_a_name_becomes_the_number_of_its_parameter(text: str, names: list[str], resolved: str) -> None:
    assert numbered_parameters(text, names) == resolved


@pytest.mark.parametrize("names", [[], ["a", "b"], ["b"]], ids=["none", "one too many", "another"])
def test_a_name_that_is_unknown_or_not_used_is_refused(names: list[str]) -> None:
    with pytest.raises(ValueError, match="The statement uses"):
        numbered_parameters("select :a", names)
