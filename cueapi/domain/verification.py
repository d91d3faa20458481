"""How far a report is believed: by the evidence that it brings, by what it asserts, by a person."""

from enum import StrEnum
from typing import Any

from attrs import frozen

from cueapi.domain.assertion import Assertion, first_unmet
from cueapi.domain.errors import Refusal
from cueapi.domain.outcome import Mode, OutcomeState, Report


class OnFailed(StrEnum):
    """What a success report is that fails its verification: a success all the same, or a failed attempt."""

    KEEP = "keep"
    FAIL = "fail"


REQUIRED_EVIDENCE = {
    Mode.EXTERNAL_ID: "external_id",
    Mode.RESULT_URL: "result_url",
    Mode.ARTIFACTS: "artifacts",
}


@frozen
class VerificationRules:
    """What a success report must bring: the evidence of its *mode*, and what the *assertions* say."""

    mode: str = Mode.NONE
    assertions: tuple[Assertion, ...] = ()
    on_failed: str = OnFailed.KEEP


@frozen
class Verification:
    """
    The state that a report leads to; where verification failed, what was *missing*, or which assertion is *unmet*.

    *fails* where a success report that fails its verification is a failed attempt.
    """

    state: OutcomeState
    validation: str | None = None
    missing: str | None = None
    unmet: str | None = None
    fails: bool = False

    @property
    def lack(self) -> str | None:
        """What the report lacks, in a sentence; None where it lacks nothing."""
        return self.unmet or (self.missing and f"{self.missing} is required and was not given")


NO_RULES = VerificationRules()
"""Nothing is asked for."""


def verify(rules: VerificationRules, report: Report, duration_ms: int | None = None) -> Verification:
    """The table of verification modes, and beside it the assertions, of an attempt that took *duration_ms*."""
    if not report.success:
        return Verification(OutcomeState.REPORTED_FAILURE)
    needed, fails = REQUIRED_EVIDENCE.get(Mode(rules.mode)), rules.on_failed == OnFailed.FAIL
    if needed is not None and not _is_given(getattr(report.evidence, needed)):
        return Verification(OutcomeState.VERIFICATION_FAILED, "missing", needed, fails=fails)
    unmet = first_unmet(rules.assertions, report.facts(duration_ms)) if rules.assertions else None
    if unmet is not None:
        return Verification(OutcomeState.VERIFICATION_FAILED, "missing", unmet=unmet, fails=fails)
    if rules.mode == Mode.MANUAL:
        return Verification(OutcomeState.VERIFICATION_PENDING)
    if needed is None:
        return Verification(OutcomeState.REPORTED_SUCCESS)
    return Verification(OutcomeState.VERIFIED_SUCCESS, "valid")


def _is_given(evidence: str | list[Any] | None) -> bool:
    """Whether there is more of it than white space."""
    return bool(evidence.strip() if isinstance(evidence, str) else evidence)


def completed(
    rules: VerificationRules, state: str, validation: str | None, report: Report, duration_ms: int | None = None
) -> Verification | None:
    """What a failed verification has come to by later evidence, which *report* has; None where it changes nothing."""
    asks = rules.assertions or Mode(rules.mode) in REQUIRED_EVIDENCE
    if state != OutcomeState.VERIFICATION_FAILED or validation != "missing" or not asks:
        return None
    verification = verify(rules, report, duration_ms)
    if verification.state == OutcomeState.VERIFICATION_FAILED:
        return None
    if verification.state == OutcomeState.REPORTED_SUCCESS:
        return Verification(OutcomeState.VERIFIED_SUCCESS, "valid")
    return verification


VERIFIABLE = (OutcomeState.REPORTED_SUCCESS, OutcomeState.VERIFICATION_PENDING)
REJECTABLE = (*VERIFIABLE, OutcomeState.VERIFIED_SUCCESS, OutcomeState.REPORTED_FAILURE)


def manual_verdict(state: str | None, *, valid: bool) -> Verification:
    """The verification that follows from a person's verdict. Refuses a state that cannot be verified or rejected."""
    if state in (VERIFIABLE if valid else REJECTABLE):
        if valid:
            return Verification(OutcomeState.VERIFIED_SUCCESS, "valid")
        return Verification(OutcomeState.VERIFICATION_FAILED, "rejected")
    word = "accepted" if valid else "rejected"
    raise Refusal("invalid_state", f"An outcome in state {state or 'none'} cannot be {word}.")
