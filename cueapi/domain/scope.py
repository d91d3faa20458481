"""What a key may do: its scopes, of which each route states one."""

from typing import Literal, TypeAlias, get_args

from attrs import frozen

from cueapi.domain.errors import Refusal

Scope: TypeAlias = Literal["read", "fire", "work", "write", "admin"]
"""None of them includes another."""

SCOPES: tuple[Scope, ...] = get_args(Scope)

OWN = "own"
"""Stands beside the scopes in a refusal: what only the account's own key and sessions may do."""


@frozen
class Grant:
    """What a key may do. A session, and the account's *own* key, may do everything."""

    scopes: tuple[Scope, ...] = SCOPES
    own: bool = True

    def check(self, scope: Scope | None, *, own: bool = False) -> None:
        """Refuse what needs *scope* without it, or *own* to any but the account's own key and sessions."""
        if self.own:
            return
        # What states no scope is open to no key that has only some.
        if own or scope is None:
            message = "Only the account's own key, or a person who has signed in, may do this."
            raise Refusal("insufficient_scope", message, required=[OWN], granted=list(self.scopes))
        self.check_all(scope)

    def check_all(self, *needed: Scope) -> None:
        """Refuse where one of the scopes is missing."""
        if not set(needed) <= set(self.scopes):
            wanted, granted = ", ".join(needed), ", ".join(self.scopes)
            message = f"This needs a key with the scope {wanted}; this one has {granted}."
            raise Refusal("insufficient_scope", message, required=list(needed), granted=list(self.scopes))


WHOLE = Grant()
"""What the account's own key and sessions may do."""
