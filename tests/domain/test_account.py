"""Which texts are an e-mail address."""

import time

import pytest

from cueapi.domain.account import EMAIL_LIMIT, checked_email, folded
from cueapi.domain.errors import Invalid

REFUSED = {
    "an encoded word": "=?utf-8?q?victim?=@example.org",
    "an encoded word in base64": "=?utf-8?B?dmljdGlt?=@example.org",
    "an encoded domain": "victim@=?utf-8?q?example?=.org",
    "a display name": "Victim <victim@example.org>",
    "a quoted display name": '"victim@example.org" <me@example.org>',
    "a group": "all: victim@example.org;",
    "a comment": "me(victim@example.org)@example.org",
    "two of them": "me@example.org, victim@example.org",
    "a header": "me@example.org\r\nBcc: victim@example.org",
    "a tab": "me@example.org\t",
    "a null": "me\x00@example.org",
    "too long": "me@" + "a" * EMAIL_LIMIT + ".org",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_what_mail_would_read_otherwise_is_no_address(text: str) -> None:
    with pytest.raises(Invalid):
        checked_email(text)


def test_the_longest_text_is_refused_before_anything_parses_it() -> None:
    marks = "\u0301\u0316" * 60_000
    begun = time.process_time()

    with pytest.raises(Invalid):
        checked_email(f'"{marks}" <me@example.org>')

    assert time.process_time() - begun < 0.05


def test_an_address_is_normalised() -> None:
    assert checked_email("Me+agents@Example.ORG") == "Me+agents@example.org"


def test_addresses_are_compared_without_the_case_of_a_to_z_and_of_no_other_letter() -> None:
    assert folded("Me+Agents@Example.org") == "me+agents@example.org"
    assert folded("m\u0130ke\u00dc@example.com") == "m\u0130ke\u00dc@example.com"
