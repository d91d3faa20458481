"""Operations on many cues or executions: begin, list, show, cancel."""

from typing import ClassVar
from uuid import UUID

from attrs import field, frozen
from quart import Blueprint, Response, g

from cueapi.api.by_hand import BRAKED, FORCE, forced
from cueapi.api.http.acting import REASON, act, act_of_body
from cueapi.api.http.body import read
from cueapi.api.http.cursors import CURSOR, Cursor
from cueapi.api.http.idempotency import idempotent
from cueapi.api.http.identities import identity_in
from cueapi.api.http.operations import operation
from cueapi.api.http.parameters import IDEMPOTENCY_KEY, IDEMPOTENT, Choice, Confirmation, page_limit
from cueapi.api.models.rendering import answer
from cueapi.api.models.requests.bodies import ReasonBody
from cueapi.api.models.requests.operations import OperationBody, OperationFields
from cueapi.api.models.responses import operations as responses
from cueapi.api.operation_answers import dry_run, shown
from cueapi.api.operation_scopes import Matched, OperationScopes, Scope
from cueapi.domain import bulk
from cueapi.domain.errors import Invalid, Problem, Refusal
from cueapi.domain.hold import account_held
from cueapi.security.vault import Vault
from cueapi.storage import holds, key_groups, operations
from cueapi.storage.clock import Clock
from cueapi.storage.database import Database
from cueapi.storage.operations import NewOperation, OperationFilter, OperationRow
from cueapi.wakeups.hub import WakeupHub

KIND = Choice("kind", "Only operations of this kind.", bulk.Kind)
STATUS = Choice("status", "Only operations in this status.", bulk.OperationStatus)
LIMIT = page_limit(20)
RATE = 50
"""How many a second, where a body does not say it."""


@frozen
class ConfirmationOfSome(Confirmation):
    """The confirming header of a call that destroys only where its body says so."""

    required: ClassVar[bool] = False


CONFIRMED_DELETE = ConfirmationOfSome(
    "X-Confirm-Destructive", "Must be `true` to delete (but for a dry run): it cannot be undone."
)


@frozen
class BulkOperations:
    """`/v1/operations`."""

    database: Database
    vault: Vault
    clock: Clock
    hub: WakeupHub
    scopes: OperationScopes = field(init=False)

    @scopes.default
    def _make_scopes(self) -> OperationScopes:
        return OperationScopes(self.database, self.clock)

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("operations", __name__, url_prefix="/v1/operations")
        routes.post("")(self.begin)
        routes.get("")(self.list)
        routes.get("/<operation_id>")(self.show)
        routes.post("/<operation_id>/cancel")(self.cancel)
        return routes

    @operation(
        responses.BulkOperation,
        scope="write",
        or_scope="fire",
        status=202,
        body=OperationBody,
        parameters=(CONFIRMED_DELETE, IDEMPOTENCY_KEY, FORCE, REASON),
        refuses=(
            *BRAKED,
            "confirmation_required",
            "scope_changed",
            "too_many_times",
            "cue_not_found",
            *IDEMPOTENT,
        ),
        also=((200, responses.DryRun),),
        in_groups=True,
    )
    async def begin(self) -> Response:
        """
        Begin an operation on many cues or executions, or see what it would do (`dry_run`).

        Works in batches of at most 100, each with the cursor behind it in one transaction: a daemon that is killed
        neither skips nor repeats any. Three of an account run at once; a further one is `queued`, and so is one that a
        hold keeps from firing. Where more than 1,000 match, `expected` must be the number that a dry run has shown,
        within 1 %. A key that is limited to groups names one of them in its filter.
        """
        body = await read(OperationBody)
        await self._check_groups(body)
        kind = bulk.Kind(body.kind)
        _check_scope(kind)
        if forced() and kind not in bulk.FIRING:
            raise Invalid(Problem("query.force", f"is of no use to {kind}: it fires nothing"))
        if body.dry_run:
            # It is made anew each time: an Idempotency-Key is for what changes something.
            matched = await self.scopes.matched(kind, await self.scopes.read(body))
            return answer(dry_run(matched, body.rate_per_second or RATE))
        async with idempotent(self.database, self.vault) as once:
            if kind is bulk.Kind.DELETE:
                CONFIRMED_DELETE.require()
            scope = await self.scopes.read(body)
            matched = await self.scopes.matched(kind, scope)
            _check_expected(matched, body.expected)
            new = _new(body, kind, await self._unheld(kind, scope), matched)
            row = await operations.add(await once.begin(), new)
            return once.keep(answer(shown(row), 202), then=self.hub.operation_ready)

    async def _check_groups(self, body: OperationFields) -> None:
        """Refuse a key that is limited to groups what is not of one of them."""
        grant = g.account.grant
        if grant.groups is None:
            return
        if bulk.Kind(body.kind) is not bulk.Kind.BACKFILL:
            grant.check_named(body.filter and body.filter.group, "`filter.group`")
        elif body.cue_id is not None and not await key_groups.has_cue(
            self.database, user=g.account.id, groups=grant.groups, cue_id=body.cue_id
        ):
            raise Refusal("cue_not_found", "There is no such cue.")

    async def _unheld(self, kind: bulk.Kind, scope: Scope) -> Scope:
        """The scope of an operation that may fire; refuses one while the account is held, unless it is forced."""
        if kind not in bulk.FIRING:
            return scope
        if forced():
            return {**scope, "forced": True}
        if (hold := await holds.show(self.database, g.account.id)) is not None:
            raise account_held(hold.mode, hold.reason, hold.until)
        return scope

    @operation(
        responses.OperationList,
        scope="read",
        in_groups=True,
        parameters=(KIND, STATUS, LIMIT, CURSOR),
        refuses=("invalid_filter",),
    )
    async def list(self) -> Response:
        """List operations, newest first."""
        kind, status = KIND.read(), STATUS.read()
        cursor = Cursor.over(kind=kind, status=status)
        behind = cursor.read()
        wanted = OperationFilter(g.account.id, kind, status, g.account.grant.groups)
        page = await operations.page(
            self.database, wanted, before=None if behind is None else behind[1], limit=LIMIT.read()
        )
        last = page.rows[-1] if page.rows and page.more else None
        return answer(
            {
                "operations": [shown(row) for row in page.rows],
                "has_more": page.more,
                "next_cursor": last and cursor.write(last.as_of, last.id),
            }
        )

    @operation(responses.BulkOperation, scope="read", in_groups=True, refuses=("operation_not_found",))
    async def show(self, operation_id: str) -> Response:
        """Show an operation and how far it has come."""
        return answer(shown(await self._find(_identity(operation_id))))

    @operation(
        responses.BulkOperation,
        scope="write",
        or_scope="fire",
        in_groups=True,
        body=ReasonBody,
        parameters=(REASON,),
        refuses=("operation_not_found", "invalid_state"),
    )
    async def cancel(self, operation_id: str) -> Response:
        """
        Cancel an operation that is queued or runs.

        The batch under way is finished; the rest is counted in `skipped.cancelled`. What was done stays done.
        """
        said = await act_of_body()
        identity = _identity(operation_id)
        _check_scope(bulk.Kind((await self._find(identity)).kind))
        async with self.database.transaction() as db:
            is_cancelled = await operations.cancel(db, identity, user=g.account.id, act=said)
        row = await self._find(identity)
        if not is_cancelled:
            raise Refusal("invalid_state", f"The operation has ended already: it is {row.status}.")
        # A queued one may begin.
        self.hub.operation_ready()
        return answer(shown(row))

    async def _find(self, identity: UUID) -> OperationRow:
        row = await operations.show(self.database, identity, user=g.account.id, groups=g.account.grant.groups)
        if row is None:
            raise _not_found()
        return row


def _check_scope(kind: bulk.Kind) -> None:
    """To replay and to backfill is to fire; the rest changes what is there."""
    g.account.grant.check_all("fire" if kind in bulk.FIRING else "write")


def _identity(operation_id: str) -> UUID:
    return identity_in(operation_id, _not_found())


def _not_found() -> Refusal:
    """The same for an operation of another account and for an id that is not well-formed."""
    return Refusal("operation_not_found", "There is no such operation.")


def _check_expected(matched: Matched, expected: int | None) -> None:
    if bulk.is_expected(matched.counted, expected):
        return
    number = f"{matched.counted:,}{' or more' if matched.is_capped else ''}"
    said = "send that number as `expected`" if expected is None else f"not {expected:,} as expected; look again"
    raise Refusal("scope_changed", f"{number} match: {said}.", matched=matched.counted)


def _new(body: OperationFields, kind: bulk.Kind, scope: Scope, matched: Matched) -> NewOperation:
    return NewOperation(
        g.account.id, kind, scope, body.rate_per_second or RATE, act(body.reason), matched.counted, matched.is_capped
    )
