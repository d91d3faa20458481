"""Who a test of the API is: a user at a daemon that many share, or at one of its own."""

from tests.standing import api, guest, owner, standing

__all__ = ["api", "guest", "owner", "standing"]
