"""What a key may do, checked before anything of a request is answered: its scope, and the groups it is limited to."""

from collections.abc import Mapping

from cueapi.api.http.operations import Operation
from cueapi.domain.errors import Refusal
from cueapi.domain.ids import is_cue_id, parse_uuid
from cueapi.storage import key_groups
from cueapi.storage.accounts import Account
from cueapi.storage.database import Executor

NOT_FOUND = {
    "cue_id": ("cue_not_found", "There is no such cue."),
    "execution_id": ("execution_not_found", "There is no such execution."),
    "alert_id": ("alert_not_found", "There is no such alert."),
    "incident_id": ("incident_not_found", "There is no such incident."),
}
"""The parts of paths that name something of a cue, and how it is refused where that cue does not exist for a key."""


async def check_grant(
    db: Executor, account: Account, described: Operation | None, named: Mapping[str, str] | None
) -> None:
    """
    Refuse what the key may not do; *named* are the parts of the path.

    To a key that is limited to groups, what a path names of other groups does not exist. Where a path names nothing,
    the operation looks to the groups itself, and says so; any other one is closed to such a key.
    """
    grant = account.grant
    if described is None:
        grant.check(None)
        return
    if described.scope is not None and described.or_scope is not None:
        grant.check_any(described.scope, described.or_scope)
    else:
        grant.check(described.scope, own=described.own)
    if grant.groups is None:
        return
    found = [(name, text) for name, text in (named or {}).items() if name in NOT_FOUND]
    if not found and not described.in_groups:
        grant.check_whole()
    for name, text in found:
        if not await _exists(db, account.id, grant.groups, name, text):
            raise Refusal(*NOT_FOUND[name])


async def _exists(db: Executor, user: int, groups: tuple[str, ...], name: str, text: str) -> bool:
    """Whether what a path names is of a cue in *groups*. What is not well-formed names nothing."""
    if name == "cue_id":
        return is_cue_id(text) and await key_groups.has_cue(db, user=user, groups=groups, cue_id=text)
    identity = parse_uuid(text)
    return identity is not None and await key_groups.has(db, user=user, groups=groups, named=name, identity=identity)
