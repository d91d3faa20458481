"""What a person or a program fires by hand: refused while a brake is on, unless it is forced."""

from quart import g

from cueapi.api.http.parameters import Flag
from cueapi.domain.budget import budget_reached
from cueapi.domain.hold import account_held
from cueapi.storage import fires
from cueapi.storage.database import Executor
from cueapi.storage.fires import FiredExecution, ManualFire

FORCE = Flag("force", "`true`: fire although the account is held; also delivered while everything is held.")
BRAKED = ("account_held", "budget_reached", "insufficient_scope", "invalid_filter")
"""How a brake refuses what is fired by hand."""


async def fire_by_hand(db: Executor, cue_id: str, manual_fire: ManualFire) -> FiredExecution | None:
    """The new execution of a cue of this account; None where it has no such cue. Refuses where a brake is on."""
    made = await fires.fire(
        db, cue_id=cue_id, user=g.account.id, manual_fire=manual_fire, monthly=g.account.limits.monthly_executions
    )
    if made.id is not None:
        return made
    if not made.known:
        return None
    if made.hold_mode is not None:
        raise account_held(made.hold_mode, made.hold_reason, made.hold_until)
    raise budget_reached(made.budget_reached or "", made.budget_ends)


def forced() -> bool:
    """Whether the request fires in spite of a hold. Refuses a key without the scopes `fire` and `admin`."""
    if not FORCE.read():
        return False
    g.account.grant.check_all("fire", "admin")
    return True
