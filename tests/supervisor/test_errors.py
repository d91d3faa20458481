"""An error is told in one line."""

import pytest

from supervisor.errors import RestartsExhausted, describe


@pytest.mark.parametrize(
    ("error", "told"),
    [
        pytest.param(ValueError("no"), "ValueError: no", id="plain"),
        pytest.param(ValueError(), "ValueError", id="without words"),
        pytest.param(ValueError("one\ntwo"), "ValueError: one", id="several lines"),
        pytest.param(ExceptionGroup("g", [KeyError("a")]), "KeyError: 'a'", id="group of one"),
        pytest.param(
            ExceptionGroup("g", [ExceptionGroup("h", [OSError("x")]), OSError("y")]),
            "OSError: x (and 1 more)",
            id="nested group",
        ),
    ],
)
def test_an_error_is_told_in_one_line(error: Exception, told: str) -> None:
    assert describe(error) == told


def test_exhausted_restarts_name_the_sibling_how_often_and_the_last_error() -> None:
    error = RestartsExhausted("poller", 6, 60.0, ValueError("bad\nrow"))

    assert str(error) == "sibling 'poller' failed 6 times within 60 s, at last with ValueError: bad"
    assert isinstance(error.__cause__, ValueError)
