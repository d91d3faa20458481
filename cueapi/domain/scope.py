"""What a key may do: its scopes, of which each route states one, the groups that it knows, and its end."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Literal, NoReturn, TypeAlias, get_args

from attrs import frozen

from cueapi.domain.clock import iso
from cueapi.domain.errors import Refusal

Scope: TypeAlias = Literal["read", "fire", "work", "write", "admin"]
"""None of them includes another."""

SCOPES: tuple[Scope, ...] = get_args(Scope)

OWN = "own"
"""Stands beside the scopes in a refusal: what only the account's own key and sessions may do."""

ALL_GROUPS = "all groups"
"""Stands there likewise: what no key may do that is limited to groups."""


@frozen
class Grant:
    """
    What a key may do. A session, and the account's *own* key, may do everything; the text that its own key had before,
    while it serves beside the new one, is a key with all scopes that ends.

    *groups* are those whose cues exist for it; None: all cues. *until* is when it ends; None: never.
    """

    scopes: tuple[str, ...] = SCOPES
    groups: tuple[str, ...] | None = None
    until: datetime | None = None
    own: bool = False

    @property
    def _is_whole(self) -> bool:
        """Not where it was replaced, and serves for a while beside the new one."""
        return self.own and self.until is None

    def check(self, scope: Scope | None, *, own: bool = False) -> None:
        """Refuse what needs *scope* without it, or *own* to any but the account's own key and sessions."""
        if self._is_whole:
            return
        # What states no scope is open to no key that has only some.
        if own or scope is None:
            self._refuse("Only the account's own key, or a person who has signed in, may do this.", OWN)
        self.check_all(scope)

    def check_all(self, *needed: Scope) -> None:
        """Refuse where one of the scopes is missing."""
        if not set(needed) <= set(self.scopes):
            self._refuse_scopes(", ", needed)

    def check_any(self, *enough: Scope) -> None:
        """Refuse where none of the scopes is there, of which the body says which one is needed."""
        if not self._is_whole and not set(enough) & set(self.scopes):
            self._refuse_scopes(" or ", enough)

    def check_whole(self) -> None:
        """Refuse what is of the whole account to a key that is limited to groups."""
        if self.groups is not None:
            self._refuse("This is of the whole account; this key is limited to groups.", ALL_GROUPS)

    def knows(self, group: str | None) -> bool:
        """Whether a cue of that *group* exists for it."""
        return self.groups is None or group in self.groups

    def check_group(self, group: str | None) -> None:
        """Refuse to make a cue of that *group*, or to move one there."""
        if not self.knows(group):
            groups = ", ".join(self.groups or ())
            self._refuse(f"This key is limited to groups: a cue that it writes needs a group of {groups}.", ALL_GROUPS)

    def check_named(self, group: str | None, what: str) -> None:
        """Refuse *what*, which names a *group*, or none where one is needed, unless the key is limited to it."""
        if not self.knows(group):
            self._refuse(
                f"This key is limited to groups: {what} must be one of {', '.join(self.groups or ())}.", ALL_GROUPS
            )

    def check_key(self, wanted: "Grant") -> None:
        """Refuse to make a key that is wider than this one, or lives longer."""
        if self._is_whole:
            return
        if wanted.own:
            self._refuse("Only the account's own key, or a person who has signed in, may replace that key.", OWN)
        self._check_scopes(wanted.scopes)
        if self.groups is not None and not (wanted.groups and set(wanted.groups) <= set(self.groups)):
            message = f"A key makes no wider one: give groups of {', '.join(self.groups)}."
            self._refuse(message, ALL_GROUPS)
        if self.until is not None and (wanted.until is None or wanted.until > self.until):
            self._refuse(f"A key makes none that lives longer: give expires_at, {iso(self.until)} at the latest.", OWN)

    def _check_scopes(self, wanted: Collection[str]) -> None:
        missing = [scope for scope in wanted if scope not in self.scopes]
        if missing:
            self._refuse(f"A key makes no wider one: this one lacks {', '.join(missing)}.", *missing)

    def _refuse_scopes(self, between: str, wanted: Sequence[Scope]) -> NoReturn:
        granted = ", ".join(self.scopes)
        self._refuse(f"This needs a key with the scope {between.join(wanted)}; this one has {granted}.", *wanted)

    def _refuse(self, message: str, *required: str) -> NoReturn:
        extra = {} if self.groups is None else {"groups": list(self.groups)}
        raise Refusal("insufficient_scope", message, required=list(required), granted=list(self.scopes), **extra)


WHOLE = Grant(own=True)
"""What the account's own key and sessions may do."""
