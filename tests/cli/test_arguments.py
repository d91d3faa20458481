"""What a command takes as an argument."""

import pytest
from click.testing import CliRunner

from cueapi.cli.main import main

# As Python reads the byte 0xFF of an argument.
ODD = "\udcff"


@pytest.mark.parametrize(
    "arguments",
    [
        *(["user", command, f"{ODD}@example.com"] for command in ("add", "key", "verify", "link", "limits", "revoke")),
        ["hold", ODD],
        ["hold", "you@example.com", "--reason", ODD],
        ["hold", "you@example.com", "--until", ODD],
        ["release", ODD],
    ],
    ids=" ".join,
)
def test_bytes_that_are_not_utf_8_are_a_wrong_argument_like_any_other(arguments: list[str]) -> None:
    ended = CliRunner().invoke(main, arguments)

    assert ended.exit_code == 2
    assert ended.output.rstrip().endswith("it is not UTF-8.")
