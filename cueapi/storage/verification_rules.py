"""What a cue asks of success reports, from its columns."""

import json
from typing import Protocol

from cueapi.domain.assertion import read_assertions
from cueapi.domain.verification import VerificationRules


class VerificationColumns(Protocol):
    """The columns; *assertions* is a JSON list, null where there are none."""

    @property
    def verification(self) -> str:
        """The mode."""

    @property
    def assertions(self) -> str | None:
        """As they are stored."""

    @property
    def verification_on_failed(self) -> str:
        """What a report is that fails its verification."""


def to_rules(row: VerificationColumns) -> VerificationRules:
    """The rules in a row."""
    assertions = () if row.assertions is None else read_assertions(json.loads(row.assertions))
    return VerificationRules(row.verification, assertions, row.verification_on_failed)
