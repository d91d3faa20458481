"""What a cue must be, by its executions; what of it may fire; and what waits in the outbox."""

from collections.abc import Iterator

from tests.machine.law import alert_of, is_unreported
from tests.machine.seen import FINAL, Row, Seen, brief, moment


def wrong_cue(cue: Row, seen: Seen) -> Iterator[str]:
    """Its counters, its schedule, and what it makes of its executions."""
    made = seen.of(cue["id"])
    if cue["run_count"] != sum(one["status"] in FINAL for one in made):
        yield f"run_count of {[one['status'] for one in made]}"
    if cue["fired_count"] < len(made):
        yield f"fired_count of {len(made)}"
    scheduled = [one["scheduled_for"] for one in made if one["triggered_by"] == "scheduled"]
    if len(set(scheduled)) < len(scheduled):
        yield f"fired twice: {scheduled}"
    if cue["next_run"] is not None and cue["status"] != "active":
        yield "only what is active has a next run"
    if cue["next_run"] is None:
        yield from _wrong_end(cue, made)


def _wrong_end(cue: Row, made: list[Row]) -> Iterator[str]:
    """A one-time cue whose time has come is what its execution is."""
    if cue["schedule_type"] == "recurring":
        if cue["status"] != "paused":
            yield "a recurring cue goes on until it is paused"
        return
    own = [one for one in made if one["triggered_by"] == "scheduled" and one["scheduled_for"] == cue["schedule_at"]]
    if not own:
        expected = {"paused"}
    elif own[0]["status"] in FINAL:
        expected = {"completed" if own[0]["status"] == "success" else "failed"}
    else:
        expected = {"active", "paused"}
    if cue["status"] not in expected:
        yield f"its execution is {own and own[0]['status']}"


def wrong_queue(seen: Seen) -> Iterator[str]:
    """The outbox holds each unfinished webhook execution of a live cue, and what is under way of deleted ones."""
    for execution in seen.executions.values():
        row, under_way = seen.outbox.get(execution["id"]), execution["status"] == "delivering"
        waits = execution["status"] not in FINAL and (seen.lives(execution) or under_way)
        if (row is not None) != (waits and execution["transport"] == "webhook"):
            yield f"outbox {row}: {brief(execution)}"
        if row is not None and (row["claimed_by"] is not None) != under_way:
            yield f"claimed in one place: {row}, {brief(execution)}"
        if row is not None and not under_way and row["ready_at"] != execution["ready_at"]:
            yield f"two moments: {row}, {brief(execution)}"
    if orphans := seen.outbox.keys() - seen.executions:
        yield f"outbox without executions: {orphans}"


def wrong_way(cue: Row, before: Seen, seen: Seen) -> Iterator[str]:
    """What has become of a cue since the look *before*."""
    former = before.cues[cue["id"]]
    steps = [step for step in seen.steps if step.after["cue_id"] == cue["id"]]
    fired = [step.after for step in steps if step.before is None and step.after["triggered_by"] == "scheduled"]
    rests = former["deleted_at"] is not None or former["status"] != "active"
    if fired and rests and former["revision"] == cue["revision"] and former["status"] == cue["status"]:
        yield f"fired while {former['status']}"
    if former["overlap"] == cue["overlap"]:
        yield from _wrong_overlap(former, fired, before, {step.after["id"] for step in steps})
    lost = any(alert_of(step) not in {None, "verification_failed"} for step in steps)
    pauses = all(one["on_failure_pause"] and one["schedule_type"] == "recurring" for one in (former, cue))
    stayed = former["status"] == "active" and former["revision"] == cue["revision"] and cue["deleted_at"] is None
    if lost and pauses and stayed:
        yield "a failure was to pause it"


def _wrong_overlap(former: Row, fired: list[Row], before: Seen, moved: set[str]) -> Iterator[str]:
    """What overlaps is skipped, nothing else is. *moved* are the executions that took a step meanwhile."""
    for one in fired:
        said = one["error_message"] or ""
        running = [row for row in before.of(former["id"]) if row["id"] not in moved and _runs(row, before)]
        if running and former["overlap"] == "skip" and one["status"] == "pending":
            yield f"fired while {brief(running[0])} runs"
        if "is still running" in said and not moved - {one["id"]} and not running:
            yield f"nothing runs: {brief(one)}"


def _runs(row: Row, seen: Seen) -> bool:
    """Begun and not final, or an outcome may still come."""
    if row["status"] not in FINAL:
        return bool(row["attempts"])
    return (
        is_unreported(row) and row["outcome_deadline_at"] is not None and moment(row["outcome_deadline_at"]) > seen.now
    )
