"""Tokens of attempts: what was written is read, and nothing else is."""

from random import Random
from string import ascii_letters, digits
from uuid import UUID

import pytest

from cueapi.domain.ids import new_uuid7
from cueapi.security.report_tokens import ReportTokens

TOKENS = ReportTokens.of("a session secret for the tests, long enough", "https://cue.example.com/base/")
EXECUTION = UUID("01985f3a-7c00-7b1e-9d42-5a6f0c8e2b17")
SIGNS = ascii_letters + digits + "-_"


@pytest.mark.parametrize("attempt", [0, 1, 11, 255, 256, 1000, 65_535])
def test_a_token_says_which_attempt_of_which_execution_it_was_written_for(attempt: int) -> None:
    execution = new_uuid7()

    assert TOKENS.read(TOKENS.write(execution, attempt)) == (execution, attempt)


def test_a_report_url_is_the_address_of_the_server_and_the_token() -> None:
    url = TOKENS.url(EXECUTION, 2)

    assert url == f"https://cue.example.com/base/v1/report/{TOKENS.write(EXECUTION, 2)}"
    assert TOKENS.write(EXECUTION, 2).startswith("run_")


def mutated(token: str, chance: Random) -> str:
    """*token* with one sign changed, left out, added, or two exchanged."""
    place = chance.randrange(4, len(token) - 1)
    sign = chance.choice(SIGNS.replace(token[place], ""))
    match chance.randrange(4):
        case 0:
            return token[:place] + sign + token[place + 1 :]
        case 1:
            return token[:place] + token[place + 1 :]
        case 2:
            return token[:place] + sign + token[place:]
        case _:
            return token[:4] + token[place:] + token[4:place]


def test_of_ten_thousand_mutated_tokens_none_is_taken() -> None:
    chance, token = Random(1), TOKENS.write(EXECUTION, 1)

    others: set[str] = set()
    while len(others) < 10_000:
        others |= {mutated(mutated(token, chance), chance), mutated(token, chance)} - {token}

    assert {other for other in others if TOKENS.read(other) is not None} == set()


def test_each_sign_of_a_token_counts() -> None:
    token = TOKENS.write(EXECUTION, 1)

    taken = [
        changed
        for place in range(len(token))
        for sign in SIGNS
        if (changed := token[:place] + sign + token[place + 1 :]) != token and TOKENS.read(changed) is not None
    ]
    assert taken == []


@pytest.mark.parametrize(
    "text",
    ["", "run_", "run_" + "A" * 48, "RUN_" + "A" * 48, "run_" + "A" * 47 + "=", "run_" + "é" * 48, "x" * 10_000],
)
def test_what_has_the_form_of_no_token_or_is_not_signed_is_not_read(text: str) -> None:
    assert TOKENS.read(text) is None


def test_the_parts_of_two_tokens_make_no_third() -> None:
    first, second = TOKENS.write(EXECUTION, 1), TOKENS.write(new_uuid7(), 2)

    mixed = [first[:cut] + second[cut:] for cut in range(5, len(first))]
    assert [one for one in mixed if TOKENS.read(one) is not None and one not in {first, second}] == []


def test_a_token_of_another_secret_or_with_white_space_around_it_is_not_read() -> None:
    token = ReportTokens.of("another session secret, long enough, too", "https://cue.example.com").write(EXECUTION, 1)
    own = TOKENS.write(EXECUTION, 1)

    assert [TOKENS.read(one) for one in (token, f"{own} ", f"{own}\n", f" {own}", f"{own}=")] == [None] * 5


def test_neither_the_key_nor_a_token_stands_in_the_text_of_what_holds_them() -> None:
    assert "key" not in repr(TOKENS)
