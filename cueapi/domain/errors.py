"""
Everything the product can refuse, and why.

* Refusal            a code of the contract, a sentence for a person, extra keys for a program
  x Invalid          one or more fields of the request are wrong: `validation_error` with details
  x NotSignedIn      the request does not say who sends it
"""

from attrs import frozen


class Refusal(Exception):
    """A client asked for what cannot be; *code* is the contract's, *extra* goes beside it in the answer."""

    def __init__(self, code: str, message: str, **extra: object) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.extra = extra


@frozen
class Problem:
    """One field that is wrong, and in which way."""

    field: str
    message: str


class Invalid(Refusal):
    """The request's fields do not validate; the first problem is spelled out in the message."""

    def __init__(self, *problems: Problem) -> None:
        first = problems[0]
        super().__init__(
            "validation_error",
            f"{first.field}: {first.message}",
            details=[{"field": problem.field, "message": problem.message} for problem in problems],
        )


class NotSignedIn(Refusal):
    """The key, session or token does not say who asks."""
