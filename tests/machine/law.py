"""Which steps an execution may take: the diagram of its states told a second time, condition by condition."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

from tests.machine.seen import FINAL, WAITING, Row, Transition, moment

UNCLAIMED = 900
"""Seconds for which work waits for a worker."""

Condition: TypeAlias = Callable[[Row, Row], bool]


def begins_a_try(before: Row, after: Row) -> bool:
    """Claimed when its time has come, and counted."""
    due = moment(before["ready_at"]) <= moment(after["last_attempt_at"])
    counted = after["attempts"] == before["attempts"] + 1
    return due and counted and before["claim"] is None and after["claim"] is not None


def is_held_until_a_moment(before: Row, after: Row) -> bool:
    """A worker has a lease and a deadline; a daemon's lease stands in the outbox."""
    terms = [after["claimed_by_worker"], after["lease_until"]]
    if before["transport"] == "worker":
        return None not in terms and after["outcome_deadline_at"] is not None
    return terms == [None, None]


def gives_the_claim_up(_before: Row, after: Row) -> bool:
    """Nobody holds it any more."""
    return after["claim"] is None and after["lease_until"] is None


def keeps_the_claim(before: Row, after: Row) -> bool:
    """Whoever held it holds it."""
    return bool(after["claim"] == before["claim"])


def counts_nothing(before: Row, after: Row) -> bool:
    """No try begins, none is handed back."""
    return bool(after["attempts"] == before["attempts"])


def hands_the_try_back(before: Row, after: Row) -> bool:
    """The same try will begin again."""
    returned = after["attempts"] == before["attempts"] - 1
    return bool(returned and after["lost_claims"] - before["lost_claims"] in {0, 1} and not _reported(before, after))


def hands_back_or_fails(before: Row, after: Row) -> bool:
    """A try that failed counts; one that is handed back was not the first: that would be pending."""
    if after["attempts"] == before["attempts"]:
        return not after["lost_claims"]
    return hands_the_try_back(before, after) and after["attempts"] > 0


def is_a_workers(before: Row, _after: Row) -> bool:
    """Only workers may fail to come."""
    return bool(before["transport"] == "worker")


def is_a_webhook(before: Row, _after: Row) -> bool:
    """Only a webhook can be delivered, and its outcome unknown."""
    return bool(before["transport"] == "webhook")


def is_past_its_deadline(before: Row, after: Row) -> bool:
    """An outcome was due for this try, and none came."""
    due = before["outcome_deadline_at"] is not None
    late = due and moment(before["outcome_deadline_at"]) <= moment(after["updated_at"])
    return late and is_unreported(before) and not _reported(before, after)


def is_let_go_for_a_reason(before: Row, after: Row) -> bool:
    """A live worker keeps what it has, until a deadline."""
    if before["transport"] == "webhook" or _reported(before, after) or after["attempts"] < before["attempts"]:
        return True
    now, reason = moment(after["updated_at"]), after["error_message"]
    return (
        ("did not report in time" in reason and moment(before["lease_until"]) <= now)
        or ("does not run it" in reason and (now - moment(before["claimed_at"])).total_seconds() >= 60)
        or is_past_its_deadline(before, after)
    )


def has_waited_long(before: Row, after: Row) -> bool:
    """A worker had time to come."""
    return (moment(after["updated_at"]) - moment(before["ready_at"])).total_seconds() >= UNCLAIMED


def is_reported_a_success(before: Row, after: Row) -> bool:
    """Somebody said so."""
    return _reported(before, after) and after["outcome_success"] is True


def is_reported_a_failure(before: Row, after: Row) -> bool:
    """Somebody said so."""
    return _reported(before, after) and after["outcome_success"] is False


def is_not_reported(before: Row, after: Row) -> bool:
    """No outcome comes with it."""
    return not _reported(before, after)


def is_no_reported_failure(before: Row, after: Row) -> bool:
    """A failed try is no success."""
    return not is_reported_a_failure(before, after)


def is_no_reported_success(before: Row, after: Row) -> bool:
    """A success ends in success."""
    return not is_reported_a_success(before, after)


MOVES: dict[tuple[str, str], tuple[Condition, ...]] = {
    ("pending", "delivering"): (begins_a_try, is_held_until_a_moment, is_not_reported),
    ("retrying", "delivering"): (begins_a_try, is_held_until_a_moment, is_not_reported),
    ("delivering", "pending"): (gives_the_claim_up, hands_the_try_back),
    ("delivering", "retrying"): (
        gives_the_claim_up,
        hands_back_or_fails,
        is_let_go_for_a_reason,
        is_no_reported_success,
    ),
    ("delivering", "success"): (gives_the_claim_up, counts_nothing, is_no_reported_failure),
    ("delivering", "failed"): (gives_the_claim_up, counts_nothing, is_let_go_for_a_reason, is_no_reported_success),
    ("delivering", "outcome_timeout"): (gives_the_claim_up, counts_nothing, is_a_workers, is_past_its_deadline),
    ("pending", "success"): (counts_nothing, is_reported_a_success),
    ("retrying", "success"): (counts_nothing, is_reported_a_success),
    ("pending", "failed"): (counts_nothing, is_reported_a_failure),
    ("retrying", "failed"): (counts_nothing, is_reported_a_failure),
    ("pending", "missed"): (counts_nothing, is_a_workers, has_waited_long, is_not_reported),
    ("retrying", "missed"): (counts_nothing, is_a_workers, has_waited_long, is_not_reported),
    ("success", "retrying"): (counts_nothing, is_a_webhook, is_past_its_deadline),
    ("success", "outcome_timeout"): (counts_nothing, is_a_webhook, is_past_its_deadline),
}

JUDGED = {
    ("reported_success", "verified_success"),
    ("verification_pending", "verified_success"),
    ("verification_failed", "verified_success"),
    ("reported_success", "verification_failed"),
    ("verification_pending", "verification_failed"),
    ("verified_success", "verification_failed"),
    ("reported_failure", "verification_failed"),
}
"""What becomes of an outcome without a new report; besides, a person may always look at it."""


def breaches(step: Transition) -> Iterator[str]:
    """What is wrong with *step*, taken by itself."""
    after, before = step.after, step.before
    if before is None:
        if after["status"] not in {"pending", "missed"} or after["attempts"] or after["claim"]:
            yield "an execution begins as pending, or is missed at once"
        return
    move = before["status"], after["status"]
    if move[0] == move[1]:
        conditions: tuple[Condition, ...] = (counts_nothing, keeps_the_claim)
    elif move in MOVES:
        conditions = MOVES[move]
    else:
        yield f"{move[0]} cannot become {move[1]}"
        return
    yield from (condition.__name__ for condition in conditions if not condition(before, after))
    yield from _wrong_report(before, after) if step.reported else _wrong_belief(before, after)


def _wrong_report(before: Row, after: Row) -> Iterator[str]:
    if not is_unreported(before):
        yield "one report counts for each try"
    if after["outcome_attempt"] != before["attempts"]:
        yield "a report is for the try that was begun last"
    if before["status"] in FINAL and after["status"] != before["status"]:
        yield "a report on what has ended leaves the status"
    if before["status"] not in FINAL and after["outcome_success"] and after["status"] != "success":
        yield "a success report is final"
    if before["status"] == "delivering" and not after["outcome_success"] and after["status"] == "delivering":
        yield "a failure report ends the try"


def _wrong_belief(before: Row, after: Row) -> Iterator[str]:
    for name in ("outcome_success", "outcome_attempt", "outcome_result"):
        if after[name] != before[name]:
            yield f"{name} changes with a report only"
    was, now = before["outcome_state"], after["outcome_state"]
    if was != now and (was, now) not in JUDGED and (was is None or now != "verification_pending"):
        yield f"an outcome that is {was} cannot become {now}"
    if was != now and before["status"] != after["status"]:
        yield "a person's word leaves the status"


def _reported(before: Row, after: Row) -> bool:
    return bool(after["outcome_recorded_at"] != before["outcome_recorded_at"])


def is_unreported(row: Row) -> bool:
    """True where the try that was begun last has no report."""
    return row["outcome_attempt"] is None or row["outcome_attempt"] < row["attempts"]


def effect_of(step: Transition) -> int | None:
    """What a step does to its cue's row of failures: 1 adds one, 0 ends it."""
    if step.reported and step.after["outcome_success"]:
        return None if step.after["outcome_state"] == "verification_failed" else 0
    before, now = (step.before or {}).get("status"), step.after["status"]
    late = step.reported and before == "success"
    timed_out = now == "outcome_timeout" != before
    return 1 if late or timed_out or (step.ends and now != "success") else None


def alert_of(step: Transition) -> str | None:
    """Why somebody has to be told of a step."""
    if step.reported and step.after["outcome_state"] == "verification_failed":
        return "verification_failed"
    if effect_of(step) != 1:
        return None
    return {"missed": "missed_run", "outcome_timeout": "outcome_timeout"}.get(step.after["status"], "execution_failed")


def standing(row: Row) -> Iterator[str]:
    """What is wrong with an execution as it stands."""
    if (row["claim"] is not None) != (row["status"] == "delivering"):
        yield "a claim is on what is delivering, and on nothing else"
    if row["status"] in WAITING and row["claimed_by_worker"] is not None:
        yield "no worker has what waits"
    if (row["finished_at"] is not None) != (row["status"] in FINAL):
        yield "what is final has ended, and nothing else"
    outcome = {row[f"outcome_{part}"] is None for part in ("attempt", "success", "state", "recorded_at")}
    if len(outcome) > 1:
        yield "an outcome is there as a whole or not at all"
