"""Ids in paths."""

from uuid import UUID

from cueapi.domain.errors import Refusal
from cueapi.domain.ids import parse_uuid


def identity_in(path: str, not_found: Refusal) -> UUID:
    """The id that a part of a *path* is. What is not well-formed is refused as what is not there."""
    identity = parse_uuid(path)
    if identity is None:
        raise not_found
    return identity
